"""The head of a PyTorch module as numbers, and other numbers as its head."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, check_width, same_columns
from extend.formats.torch._outputs import Follows
from extend.formats.torch.module import Cut, to_numpy


def head_arrays(weight: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel ``[d, k]`` and the bias ``[k]`` (zeros, where there is none) of a layer's tensors, in their own
    dtype.
    """
    kernel = np.ascontiguousarray(to_numpy(weight).reshape(len(weight), -1).T)
    return kernel, np.zeros(len(weight), kernel.dtype) if bias is None else to_numpy(bias)


def dense_head(weight: Any, bias: Any, follows: Follows, *, single: bool = False) -> DenseHead:
    """Return a layer's tensors as a head; one unit for two classes is read as `DenseHead.from_single_unit` says.

    Parameters
    ----------
    weight, bias
        The tensors.
    follows
        What the module makes of the layer's output; the head is scaled as its scores are.
    single
        Whether the units stand beside one that told two classes apart, so that classes exclude each other.

    Raises
    ------
    FormatError
        If the layer's numbers are integers, NaN or infinite.
    """
    if not weight.is_floating_point():
        raise FormatError(f"the head's weight is {weight.dtype}; expected numbers with a fraction")
    kernel, offset = head_arrays(weight, bias)
    if follows.scale != 1:
        kernel, offset = (np.asarray(part * follows.scale, kernel.dtype) for part in (kernel, offset))
    if len(weight) == 1:
        return DenseHead.from_single_unit(kernel, offset)
    return DenseHead(kernel, offset, "sigmoid" if follows.ending == "sigmoid" and not single else "softmax")


def head_tensors(
    cut: Cut,
    head: DenseHead,
    own: Mapping[str, Any],
    *,
    columns: Sequence[int | None] = (),
    add_bias: bool = False,
) -> dict[str, Any]:
    """Return the "weight" and the "bias" that hold a head, in the dtypes of the tensors `own`.

    Parameters
    ----------
    cut
        The module.
    head
        The head.
    own
        The tensors that are there now.
    columns
        For each column of the head that of the opened one (see `same_columns`): such a one is taken from `own`.
    add_bias
        Whether a layer without bias gets one where the head has one; else such a head is refused.

    Raises
    ------
    FormatError
        If the head is of another width or of an activation that the module does not have, or needs a bias where the
        layer has none.
    """
    import torch

    check_width(head, own["weight"][0].numel())
    lone = len(own["weight"]) == 1
    unit = head.single_unit() if lone else None
    kernel, bias = unit or (head.kernel, head.bias)
    fits = "sigmoid" if cut.follows.ending == "sigmoid" and not cut.single else "softmax"
    if not lone and cut.follows.ending != "scores" and head.activation != fits:
        raise FormatError(
            f"{type(cut.module).__name__} ends in {cut.follows.ending}; the new head is {head.activation}"
        )
    weight = torch.from_numpy(np.array(kernel.T, np.float64) / cut.follows.scale)
    made = {"weight": weight.reshape(-1, *own["weight"].shape[1:]).to(own["weight"].dtype)}
    offset = torch.from_numpy(np.array(bias, np.float64) / cut.follows.scale)
    if "bias" in own or (add_bias and bias.any()):
        made["bias"] = offset.to(own["bias" if "bias" in own else "weight"].dtype)
    elif bias.any():
        raise FormatError(
            f"the head {cut.path!r} has no bias and the new one needs it; give the layer a bias of zeros and open again"
        )
    for unit_number, row in enumerate(_rows(columns, lone, one=unit is not None)):
        if row is not None:
            for part, tensor in made.items():
                tensor[unit_number] = own[part][row] if part in own else 0
    return {part: tensor.contiguous() for part, tensor in made.items()}


def _rows(columns: Sequence[int | None], lone: bool, one: bool) -> list[int | None]:
    """For each unit that is written its row in the opened layer, which may have one unit for two columns."""
    if not lone:
        return list(columns)
    rows = [None if was is None or was == 0 else was - 1 for was in columns]
    return rows[1:] if one else rows


def sibling_tensors(own: Mapping[str, Any], head: DenseHead, columns: Sequence[int | None]) -> dict[str, Any]:
    """Return the tensors of a head that reads other features: its own rows for old classes, zeros for new ones."""
    lone = len(own["weight"]) == 1
    rows = _rows(columns, lone, one=lone and head.single_unit() is not None)
    made = {}
    for part, tensor in own.items():
        made[part] = tensor.new_zeros((len(rows), *tensor.shape[1:]))
        for unit_number, row in enumerate(rows):
            if row is not None:
                made[part][unit_number] = tensor[row]
    return made


def resize(cut: Cut, path: str, k: int, *, bias: bool = False) -> None:
    """Give a head k units in place of its own, and a bias if it is to have one; a caller sets the values."""
    import torch

    layer = cut.module.get_submodule(path)
    for part, names in cut.names_of(path).items():
        old = getattr(layer, part)
        new = torch.nn.Parameter(old.new_zeros((k, *old.shape[1:])), requires_grad=False)
        for name in names:
            owner, _, own = name.rpartition(".")
            setattr(cut.module.get_submodule(owner), own, new)
    if bias and layer.bias is None:
        layer.bias = torch.nn.Parameter(layer.weight.new_zeros(k), requires_grad=False)
    setattr(layer, "out_features" if hasattr(layer, "out_features") else "out_channels", k)


def widened(cut: Cut, head: DenseHead, old: DenseHead) -> Any:
    """Return a copy of the module with this head, and its siblings as wide; it raises as `head_tensors` does."""
    columns = same_columns(old, head)
    copied = replace(cut, module=copy.deepcopy(cut.module))
    for path in (cut.path, *cut.siblings):
        layer = copied.module.get_submodule(path)
        own = {part: getattr(layer, part).detach().clone() for part in copied.names_of(path)}
        main = path == cut.path
        tensors = (
            head_tensors(cut, head, own, columns=columns, add_bias=True)
            if main
            else sibling_tensors(own, head, columns)
        )
        resize(copied, path, len(tensors["weight"]), bias="bias" in tensors)
        for part, tensor in tensors.items():
            getattr(layer, part).data.copy_(tensor)
    return copied.module
