"""The head of a PyTorch module as numbers, and other numbers as its head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, check_width
from extend.formats.torch.module import Cut, Ending, to_numpy


def head_arrays(weight: Any, bias: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel ``[d, k]`` and the bias ``[k]`` (zeros, where there is none) of a layer's tensors, in their own
    dtype.
    """
    kernel = np.ascontiguousarray(to_numpy(weight).reshape(len(weight), -1).T)
    return kernel, np.zeros(len(weight), kernel.dtype) if bias is None else to_numpy(bias)


def dense_head(weight: Any, bias: Any, ending: Ending) -> DenseHead:
    """Return a layer's tensors as a head; one unit for two classes is read as `DenseHead.from_single_unit` says.

    Raises
    ------
    FormatError
        If the layer's numbers are integers, NaN or infinite.
    """
    if not weight.is_floating_point():
        raise FormatError(f"the head's weight is {weight.dtype}; expected numbers with a fraction")
    kernel, offset = head_arrays(weight, bias)
    if len(weight) == 1:
        return DenseHead.from_single_unit(kernel, offset)
    return DenseHead(kernel, offset, "sigmoid" if ending == "sigmoid" else "softmax")


def head_tensors(cut: Cut, head: DenseHead, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the "weight" and the "bias" that hold a head, in the dtypes of the tensors `own`.

    Raises
    ------
    FormatError
        If the head is of another width or of an activation that the module does not have, or needs a bias where the
        layer has none.
    """
    import torch

    check_width(head, own["weight"][0].numel())
    unit = head.single_unit() if len(own["weight"]) == 1 else None
    kernel, bias = unit or (head.kernel, head.bias)
    if len(own["weight"]) == 1 and unit is None and cut.ending == "sigmoid":
        raise FormatError(
            f"{type(cut.module).__name__} ends in a sigmoid of one unit, which holds two classes; give it a layer "
            "of two units, the first zero, and softmax, and open it again"
        )
    fits = "sigmoid" if cut.ending == "sigmoid" else "softmax"
    if len(own["weight"]) > 1 and cut.ending != "scores" and head.activation != fits:
        raise FormatError(f"{type(cut.module).__name__} ends in {cut.ending}; the new head is for {head.activation}")
    made = {"weight": torch.from_numpy(np.array(kernel.T, np.float64)).reshape(-1, *own["weight"].shape[1:])}
    if "bias" in own:
        made["bias"] = torch.from_numpy(np.array(bias, np.float64))
    elif bias.any():
        raise FormatError(
            f"the head {cut.path!r} has no bias and the new one needs it; give the layer a bias of zeros and open again"
        )
    return {part: tensor.to(own[part].dtype).contiguous() for part, tensor in made.items()}


def resize(cut: Cut, k: int) -> None:
    """Give the module's head k units in place of what it has; their values are left to whoever loads them."""
    import torch

    for part, names in cut.names.items():
        old = getattr(cut.layer, part)
        new = torch.nn.Parameter(old.new_zeros((k, *old.shape[1:])), requires_grad=False)
        for name in names:
            owner, _, own = name.rpartition(".")
            setattr(cut.module.get_submodule(owner), own, new)
    setattr(cut.layer, "out_features" if isinstance(cut.layer, torch.nn.Linear) else "out_channels", k)


def widened(cut: Cut, head: DenseHead) -> Any:
    """Return a copy of the module with this head; it raises as `head_tensors` does."""
    own = {part: getattr(cut.layer, part) for part in cut.names}
    tensors = head_tensors(cut, head, own)
    copied = Cut(copy.deepcopy(cut.module), cut.path, cut.ending)
    resize(copied, len(tensors["weight"]))
    for part, tensor in tensors.items():
        getattr(copied.layer, part).data.copy_(tensor)
    return copied.module
