"""Classifiers of PyTorch: a `state_dict` for a module that the user passes, or any ``nn.Module`` object.

torchvision's and timm's classifiers are such modules; a Hugging Face folder goes to `extend.formats.transformers`.
A state_dict has no class names, unless a dict around it has ``"classes"`` or ``"class_to_idx"``.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import DenseHead, Input, check_names, check_replacement, same_columns
from extend.formats.torch import module as torch_module
from extend.formats.torch._match import Found, find, load_weights, some, unknown
from extend.formats.torch.head import dense_head, head_tensors, sibling_tensors, widened
from extend.formats.torch.module import Cut
from extend.formats.torch.state import PICKLED, SAFE, Place, State, Weights, read

if TYPE_CHECKING:
    import torch

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
    found, copies
        Where the module's weights lie in it, and other copies of them, such as a moving average.
    extra
        Names beside the weights that are not the module's.
    from_file
        Whether there was a file.
    """

    cut: Cut
    input: Input | Mapping[str, Input]
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    weights: Weights
    found: Found
    copies: tuple[Found, ...]
    extra: tuple[str, ...]
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

        Every copy of the head in the file becomes as wide: in an average of the weights, columns of the file's own stay
        its own and others are those of this head; heads that only training uses get zeros. A head without bias gets one
        if it needs one. An optimiser's state in the file is kept as well, and no longer fits the head.

        Raises
        ------
        FormatError
            If the suffix is not that of the opened file's kind, or the module cannot have this head.
        """
        file = Path(path)
        check_replacement(head, self.head, classes, where=file)
        columns = same_columns(self.head, head)
        states = self.weights.states
        others: dict[Place, dict[Any, Any]] = {}
        for copied in (*self.copies, self.found):
            others.setdefault(copied.key, {}).update(self._tensors(states[copied.key], copied, head, columns))
        main = others.pop(self.found.key)
        for key, values in self.weights.lists().items():
            if changed := self._in_list(values, head, columns):
                others[key] = changed
        weights = self.weights
        if not self.from_file and file.suffix.lower() in SAFE:
            weights = replace(weights, metadata={})
        weights.write(file, main, classes, others)

    def _tensors(
        self, state: State, copied: Found, head: DenseHead, columns: Sequence[int | None]
    ) -> dict[str, torch.Tensor]:
        """The heads in one copy of the weights, by the names that the file gives them."""
        result: dict[str, torch.Tensor] = {}
        for path in (self.cut.path, *self.cut.siblings):
            names = {part: found for part, found in self.cut.names_of(path).items() if found[0] in copied.names}
            if "weight" not in names:
                continue
            own = {part: state[copied.names[found[0]]] for part, found in names.items()}
            if path == self.cut.path:
                made = head_tensors(self.cut, head, own, columns=columns, add_bias=True)
            else:
                made = sibling_tensors(own, head, columns)
            for part, tensor in made.items():
                for weight in names["weight"]:
                    name = f"{weight.removesuffix('weight')}{part}"
                    known = copied.names.get(name)
                    if known is not None or part == "bias":
                        result[known or f"{copied.names[weight].removesuffix('weight')}bias"] = tensor
        return result

    def _in_list(self, values: list[Any], head: DenseHead, columns: Sequence[int | None]) -> dict[int, torch.Tensor]:
        """The heads among the module's parameters in their order, as some keep an average of them."""
        own = dict(self.cut.module.named_parameters())
        if [value.shape for value in values] != [value.shape for value in own.values()]:
            return {}
        names = {name: name for name in own}
        found = self._tensors(dict(zip(own, values, strict=True)), Found((), "", names), head, columns)
        if extra := [name for name in found if name not in own]:
            raise FormatError(f"a list of the module's parameters in the file has no place for {extra[0]!r}; remove it")
        return {list(own).index(name): tensor for name, tensor in found.items()}

    def module_with(self, head: DenseHead) -> Any:
        """Return a copy of the module with this head, for use in PyTorch.

        Raises
        ------
        FormatError
            If the module cannot have this head.
        """
        return widened(self.cut, head, self.head)

    def describe(self) -> dict[str, str]:
        """Describe the layers, where the head was found, and what is not kept."""
        limits = ["a state_dict has no class names: keep them beside it"] * (self.classes is None)
        if self.cut.single and self.cut.follows.ending == "scores":
            limits.append("one unit for two classes: a wider file has one unit a class, to be read with softmax")
        if self.cut.single and self.cut.follows.ending == "sigmoid":
            limits.append(
                "one sigmoid unit for two classes: a wider file has one unit a class, whose sigmoids are in the order "
                "of the scores; take the softmax before the sigmoid for probabilities"
            )
        if self.cut.layer.bias is None:
            limits.append(
                "the head has no bias: a file that needs one gets it, so build the wider layer with bias=True"
            )
        if self.cut.siblings:
            heads = some(self.cut.siblings, 10)
            limits.append(f"heads that only training uses become as wide, new units zero: {heads}")
        if self.copies:
            limits.append(f"copies that become as wide: {some([copied.label for copied in self.copies], 10)}")
        if self.extra:
            limits.append(f"kept as they are, not the module's: {some(self.extra, 10)}")
        return torch_module.describe(self.cut) | ({"limits": "; ".join(limits)} if limits else {})


def open(
    source: Any,
    *,
    model: Any = None,
    input: tuple[int | None, ...] | Input | Mapping[str, Input] | None = None,
    head: str | None = None,
    key: str | None = None,
    output: str | int | None = None,
    classes: Sequence[str] | None = None,
    trust: bool = False,
) -> TorchModel | HuggingFaceModel:
    """Open weights (a file of ``torch.save`` or safetensors, whatever its suffix), a module, or a Hugging Face folder.

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
    key
        Where the weights lie in the file, if it holds several that fit: the keys, with dots, such as ``"model_ema"``,
        and the prefix of their names. By default the whole ones that are no average.
    output
        Which part of what the module returns are the scores: its place in a tuple, or its key; if None, it is found.
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
        If the file is damaged or holds no weights, its names or shapes do not fit the module, or the head is not
        found, ambiguous, shared, does not decide the output, or reads one vector a token.
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
        cut = torch_module.cut(module, inputs, head, output=output)
        return _opened(cut, inputs, weights, key, classes)
    except FormatError as error:
        raise FormatError(f"{where}{error}") from error


def _opened(
    cut: Cut,
    inputs: Input | Mapping[str, Input],
    weights: Weights | None,
    key: str | None,
    classes: Sequence[str] | None,
) -> TorchModel:
    """The module with the weights of the file, or with its own where there is none."""
    from_file, state = weights is not None, cut.module.state_dict()
    found = Found((), "", {name: name for name in state})
    copies: tuple[Found, ...] = ()
    if weights is None:
        weights = Weights(_kept(state))
    else:
        found, copies = find(weights, state, cut.names["weight"], type(cut.module).__name__, key)
        weights = weights.at(found.key)
        load_weights(cut, weights, found, copies)
    own = {part: weights.state[found.names[names[0]]] for part, names in cut.names.items()}
    head = dense_head(own["weight"], own.get("bias"), cut.follows, single=cut.single)
    names = weights.classes(head.num_classes) if classes is None else tuple(classes)
    if names is not None:
        check_names(names, head.num_classes)
    extra = tuple(unknown(found, copies, weights))
    return TorchModel(cut, inputs, head, names, cut.fingerprint, weights, found, copies, extra, from_file)


def _module(model: Any, path: Path | None) -> Any:
    """A copy of the module in evaluation mode, or what the function makes."""
    from torch import jit as torch_jit
    from torch import nn

    if model is None:
        raise FormatError(f"{path}: weights alone are no network; pass the nn.Module, or its maker, as model=")
    made = model if isinstance(model, nn.Module) or not callable(model) else model()
    if not isinstance(made, nn.Module):
        raise FormatError(f"model= gave a {type(made).__name__}; expected an nn.Module or a function that makes it")
    if isinstance(made, torch_jit.ScriptModule):
        raise FormatError(
            f"{type(made).__name__}: a TorchScript program has no layers that can be cut or made wider; give the "
            "nn.Module that it was made from, and its state_dict"
        )
    module = made.module if isinstance(made, nn.DataParallel | nn.parallel.DistributedDataParallel) else made
    module = getattr(module, "_orig_mod", module)  # What torch.compile wraps.
    try:
        module = copy.deepcopy(module) if made is model else module
    except Exception as error:  # Modules may hold what cannot be copied.
        raise FormatError(f"{type(module).__name__} cannot be copied ({error}); pass its maker as model=") from error
    return module.eval().requires_grad_(False)


def _inputs(given: Any, module: Any) -> Input | Mapping[str, Input]:
    if isinstance(given, Input) and given.channels_first and given.shape[0] is None:
        return replace(given, shape=(_channels(module), *given.shape[1:]))
    if isinstance(given, (Input, Mapping)):
        return given
    if given is None:
        raise FormatError(
            f"{type(module).__name__}: the shape of one input is needed: pass inputs=jax.ShapeDtypeStruct((3, 224, "
            "224), 'float32'), or pixels= and size=224 for pictures"
        )
    shape = tuple(given)
    return Input(shape, FLOAT, channels_first=len(shape) == 3)


def _channels(module: Any) -> int:
    """The colours of the pictures that the first convolution reads; 3 where there is none."""
    from torch import nn

    return next((part.in_channels for part in module.modules() if isinstance(part, nn.Conv2d)), 3)


def _kept(state: Any) -> Any:
    """A state_dict that does not change with the module."""
    kept = copy.copy(state)
    for name, value in state.items():
        kept[name] = value.detach().cpu().clone() if hasattr(value, "detach") else value
    return kept


SUFFIXES = PICKLED + SAFE
"""The files that `open` reads."""
