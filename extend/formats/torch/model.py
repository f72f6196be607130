"""Classifiers of PyTorch: a `state_dict` for a module that the user passes, or any ``nn.Module`` object.

torchvision's and timm's classifiers are such modules; a Hugging Face folder goes to `extend.formats.transformers`.
A state_dict has no class names, unless a dict around it has ``"classes"`` or ``"class_to_idx"``.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import DenseHead, Input, check_names, check_replacement
from extend.formats.torch import module as torch_module
from extend.formats.torch.head import dense_head, head_tensors, resize, widened
from extend.formats.torch.module import Cut
from extend.formats.torch.state import PICKLED, SAFE, Weights, read

if TYPE_CHECKING:
    from extend.formats.transformers.model import HuggingFaceModel

FLOAT = np.dtype("float32")


@dataclass(frozen=True, eq=False)
class TorchModel:
    """An opened module and the weights file that it came from.

    `extend.formats.base.Foreign` says what its attributes and methods mean.

    Parameters
    ----------
    cut
        A copy of the user's module in evaluation mode, with the file's weights.
    input, head, classes, fingerprint
        As `Foreign` says.
    weights
        The file's content; the module's own state_dict where there was no file.
    prefix
        What stands before the module's names in the file, such as ``"module."``.
    from_file
        Whether there was a file.
    """

    cut: Cut
    input: Input | Mapping[str, Input]
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    weights: Weights
    prefix: str
    from_file: bool
    format: str = field(default="torch", init=False)

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads of a batch (an array, or a dict of arrays that are passed by name).

        Raises
        ------
        FormatError
            If the module does not take such inputs.
        """
        return self.cut.features(batch, self.input)

    def save(self, path: str | os.PathLike[str], head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write a state_dict with the same keys and this head; all else that the file held is kept.

        An optimiser's state in the file is kept as well, and no longer fits the head.

        Raises
        ------
        FormatError
            If the suffix is not that of the opened file's kind, or the module cannot have this head.
        """
        file = Path(path)
        check_replacement(head, self.head, classes, where=file)
        names = self._names()
        own = {part: self.weights.state[found[0]] for part, found in names.items()}
        tensors = head_tensors(self.cut, head, own)
        weights = self.weights
        if not self.from_file and file.suffix.lower() in SAFE:
            weights = replace(weights, metadata={})
        weights.write(file, {name: tensors[part] for part, found in names.items() for name in found}, classes)

    def module_with(self, head: DenseHead) -> Any:
        """Return a copy of the module with this head, for use in PyTorch.

        Raises
        ------
        FormatError
            If the module cannot have this head.
        """
        return widened(self.cut, head)

    def describe(self) -> dict[str, str]:
        """Describe the layers, where the head was found, and what is not kept."""
        limits = "a state_dict has no class names: keep them beside it" if self.classes is None else ""
        if self.cut.ending == "scores" and self.head.num_classes == 2 and len(self.cut.layer.weight) == 1:
            limits = "one unit for two classes: a wider file has one unit a class, to be read with softmax"
        return torch_module.describe(self.cut) | ({"limits": limits} if limits else {})

    def _names(self) -> dict[str, tuple[str, ...]]:
        """The head's tensors as the file calls them."""
        return {part: tuple(self.prefix + name for name in names) for part, names in self.cut.names.items()}


def open(
    source: Any,
    *,
    model: Any = None,
    input: tuple[int | None, ...] | Input | Mapping[str, Input] | None = None,
    head: str | None = None,
    classes: Sequence[str] | None = None,
    trust: bool = False,
) -> TorchModel | HuggingFaceModel:
    """Open weights (``.pt``, ``.pth``, ``.th``, ``.bin``, ``.safetensors``), a module, or a Hugging Face folder.

    The module is copied and never changed. A file whose head has another number of classes than the module's is taken
    as well, so that what `save` wrote opens with the same `model`.

    Parameters
    ----------
    source
        A path, or an ``nn.Module``.
    model
        For a file: the ``nn.Module`` whose weights it holds, or a function that makes it.
    input
        What one input is: its shape (float32; three axes are a picture ``[channels, height, width]``), an `Input`, or
        ``{name: Input}`` for a module that is called with arguments by name.
    head
        The path of the last layer, such as ``"fc"``; if None, it is found by running the module.
    classes
        The names of the head's units.
    trust
        For a Hugging Face folder whose model is defined by code in it: whether that code may run.

    Returns
    -------
    TorchModel or HuggingFaceModel
        The opened model.

    Raises
    ------
    FormatError
        If the file is damaged or holds more than weights, its names or shapes do not fit the module, or the head is not
        found, ambiguous, shared, or reads one vector a token.
    MissingExtraError
        If PyTorch is not installed.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> opened = open(net, input=(4,), classes=["a", "b", "c"])
    >>> opened.features(np.ones((5, 4))).shape, opened.head.num_classes
    ((5, 8), 3)
    """
    try:
        from torch import nn
    except ImportError as error:
        raise MissingExtraError("PyTorch", "torch", error) from error
    path = None if isinstance(source, nn.Module) else Path(source)
    if path is not None and path.is_dir():
        from extend.formats import transformers  # Which is made of what is here.

        return transformers.open(path, head=head, classes=classes, trust=trust)
    weights = None if path is None else read(path)
    module = _module(source if path is None else model, path)
    inputs = _inputs(input, module)
    where = "" if path is None else f"{path}: "
    try:
        cut = torch_module.cut(module, inputs, head)
        prefix = "" if weights is None or path is None else _load(path, weights.state, cut)
        own_weights = weights or Weights(_kept(module.state_dict()))
        opened = _opened(cut, inputs, own_weights, prefix, path is not None, classes)
    except FormatError as error:
        raise FormatError(f"{where}{error}") from error
    return opened


def _opened(
    cut: Cut,
    inputs: Input | Mapping[str, Input],
    weights: Weights,
    prefix: str,
    from_file: bool,
    classes: Sequence[str] | None,
) -> TorchModel:
    own = {part: weights.state[prefix + names[0]] for part, names in cut.names.items()}
    head = dense_head(own["weight"], own.get("bias"), cut.ending)
    names = weights.classes(head.num_classes) if classes is None else tuple(classes)
    if names is not None:
        check_names(names, head.num_classes)
    return TorchModel(cut, inputs, head, names, cut.fingerprint, weights, prefix, from_file)


def _module(model: Any, path: Path | None) -> Any:
    """A copy of the module in evaluation mode, or what the function makes."""
    from torch import nn

    if model is None:
        raise FormatError(f"{path}: weights alone are no network; pass the nn.Module, or its maker, as model=")
    made = model if isinstance(model, nn.Module) or not callable(model) else model()
    if not isinstance(made, nn.Module):
        raise FormatError(f"model= gave a {type(made).__name__}; expected an nn.Module or a function that makes it")
    module = made.module if isinstance(made, nn.DataParallel) else made
    try:
        module = copy.deepcopy(module) if made is model else module
    except Exception as error:  # Modules may hold what cannot be copied.
        raise FormatError(f"{type(module).__name__} cannot be copied ({error}); pass its maker as model=") from error
    return module.eval().requires_grad_(False)


def _inputs(given: Any, module: Any) -> Input | Mapping[str, Input]:
    if isinstance(given, (Input, Mapping)):
        return given
    if given is None:
        raise FormatError(
            f"{type(module).__name__}: the shape of one input is needed: pass inputs=jax.ShapeDtypeStruct((3, 224, "
            "224), 'float32'), or pixels= and size=224 for pictures"
        )
    shape = tuple(given)
    return Input(shape, FLOAT, channels_first=len(shape) == 3)


def _load(file: Path, state: Mapping[str, Any], cut: Cut) -> str:
    """Load the weights into the module; return the prefix of its names in the file."""
    wanted = cut.module.state_dict()
    prefix = _prefix(state, wanted)
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    # Files from before PyTorch 1.0 have no counter of batches.
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name.removeprefix(prefix) not in wanted or not name.startswith(prefix)]
    if missing or extra:
        parts = [f"missing: {_some(missing)}"] * bool(missing) + [f"unknown to it: {_some(extra)}"] * bool(extra)
        raise FormatError(f"the weights are not those of {type(cut.module).__name__}; {'; '.join(parts)}")
    heads = cut.names
    units = {len(found[name]) for names in heads.values() for name in names if found[name].ndim}
    if len(units) == 1 and (k := units.pop()) and k != len(cut.layer.weight):
        resize(cut, k)
        wanted = cut.module.state_dict()
    for name, own in wanted.items():
        given, expected = (list(getattr(value, "shape", ())) for value in (found.get(name, own), own))
        if given != expected:
            raise FormatError(f"{prefix + name!r} has shape {given}; {type(cut.module).__name__} expects {expected}")
    try:
        cut.module.load_state_dict(found, strict=False)
    except Exception as error:  # PyTorch's, or a module's own for its extra state.
        raise FormatError(f"{file.name} does not fit {type(cut.module).__name__}: {error}") from error
    return prefix


def _prefix(state: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What stands before most of the wanted names."""
    counts: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for start in range(min(len(parts), 8)):
            if ".".join(parts[start:]) in wanted:
                counts[name[: len(name) - len(".".join(parts[start:]))]] += 1
    if not counts:
        raise FormatError(f"the weights ({_some(list(state))}) are of another network: it has {_some(list(wanted))}")
    best = [prefix for prefix, count in counts.items() if count == max(counts.values())]
    if len(best) > 1:
        raise FormatError(f"the weights are there more than once, under {_some(best)}; keep one")
    return best[0]


def _kept(state: Any) -> Any:
    """A state_dict that does not change with the module."""
    kept = copy.copy(state)
    for name, value in state.items():
        kept[name] = value.detach().cpu().clone() if hasattr(value, "detach") else value
    return kept


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


SUFFIXES = PICKLED + SAFE
"""The files that `open` reads."""
