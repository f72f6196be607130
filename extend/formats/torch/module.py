"""A PyTorch module cut before its last dense layer: found by running it, not by the order of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import Input, digest
from extend.formats.torch._outputs import Follows, Made, chosen, outputs


class _Reached(BaseException):
    """Carries the head's input out of the forward pass; a model's own ``except Exception`` does not stop it."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A module in evaluation mode that this object owns, the path of its head, and what follows the head.

    The head is a ``Linear``, or a convolution over single pixels.

    Parameters
    ----------
    module, path
        The module, and its head.
    follows
        What the module makes of the head's output.
    siblings
        The paths of other heads for the same classes, which only training uses (GoogLeNet's, Inception's).
    single
        Whether the module as it was given has one unit, which stands for two classes.
    """

    module: Any
    path: str
    follows: Follows
    siblings: tuple[str, ...] = ()
    single: bool = False

    @property
    def layer(self) -> Any:
        """The head."""
        return self.module.get_submodule(self.path)

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """What `state_dict` calls the head's "weight" and "bias" (several names where modules share them).

        Raises
        ------
        FormatError
            If the weight belongs to another layer too, or is computed from other parameters.
        """
        return self.names_of(self.path)

    def names_of(self, path: str) -> dict[str, tuple[str, ...]]:
        """Return the same of the head or one of its siblings; it raises as `names` does."""
        layer, found = self.module.get_submodule(path), {}
        for part in ("weight", "bias"):
            tensor = getattr(layer, part)
            if tensor is None:
                continue
            found[part] = tuple(
                f"{owner}.{name}".lstrip(".")
                for owner, module in self.module.named_modules(remove_duplicate=False)
                for name, own in module.named_parameters(recurse=False, remove_duplicate=False)
                if own is tensor
            )
            owners = {id(self.module.get_submodule(name.rpartition(".")[0])) for name in found[part]}
            if owners != {id(layer)}:
                names = ", ".join(found[part]) or "no parameter"
                raise FormatError(
                    f"the {part} of the head {path!r} is {names}: it is shared or computed (weight norm, "
                    "parametrisation), and cannot be made wider; give the head a parameter of its own "
                    "(torch.nn.utils.parametrize.remove_parametrizations makes one) and save again"
                )
        return found

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the kinds of the layers, their settings, and every tensor; the head left out."""
        heads = [self.path, *self.siblings]
        own = {name for path in heads for names in self.names_of(path).values() for name in names}
        layers = {id(self.module.get_submodule(path)) for path in heads}
        kinds: list[tuple[str, Any]] = [
            (path, f"{type(layer).__name__}({layer.extra_repr()})")
            for path, layer in self.module.named_modules()
            if id(layer) not in layers and next(layer.children(), None) is None
        ]
        tensors = [
            (name, to_numpy(tensor))
            for name, tensor in sorted(self.module.state_dict().items())
            if name not in own and hasattr(tensor, "numpy")
        ]
        return digest([*kinds, *tensors])

    def features(self, batch: Any, inputs: Input | Mapping[str, Input]) -> np.ndarray:
        """Return the head's input; a dict of arrays is passed by name.

        Raises
        ------
        FormatError
            If the module does not take such inputs.
        """
        import torch

        handle = self.layer.register_forward_pre_hook(_stop, with_kwargs=True)
        try:
            with torch.inference_mode():
                _call(self.module, self._tensors(batch, inputs))
        except _Reached as reached:
            features = reached.args[0]
            if self.follows.pooled:
                features = features.mean(_axes(self.layer, features))
            features = features.flatten(1)
            return to_numpy(features.float() if features.element_size() < 4 else features)
        except Exception as error:  # Whatever the user's module raises.
            raise FormatError(f"{type(self.module).__name__} fails on these inputs: {error}") from error
        finally:
            handle.remove()
        raise FormatError(f"{type(self.module).__name__} did not call its head {self.path!r} on these inputs")

    def _tensors(self, batch: Any, inputs: Input | Mapping[str, Input]) -> Any:
        if isinstance(inputs, Input):
            return _placed(self.module, _tensor(batch, inputs.dtype))
        if not isinstance(batch, Mapping):
            raise FormatError(f"a {type(batch).__name__} given; expected a dict of arrays: {', '.join(inputs)}")
        given = {name: np.asarray(array) for name, array in batch.items()}
        dtypes = {name: inputs[name].dtype if name in inputs else array.dtype for name, array in given.items()}
        return {name: _placed(self.module, _tensor(array, dtypes[name])) for name, array in given.items()}


def cut(
    module: Any,
    inputs: Input | Mapping[str, Input],
    head: str | None = None,
    *,
    output: str | int | None = None,
    fill: int = 0,
) -> Cut:
    """Find the head of a module by running it once on three small inputs (random numbers; integers are `fill`).

    The head is the ``Linear`` (or convolution over single pixels) *called* whose output is the module's output, or
    whose multiple, softmax, log_softmax or sigmoid is, perhaps after an average over pixels or tokens.

    Parameters
    ----------
    module
        The module in evaluation mode; its hooks are removed again.
    inputs
        What one input is, or each of several by name.
    head
        The path of the head, if it is known.
    output
        The key or the place of the scores in what the module returns; by default the only part that comes from a dense
        layer, or its ``logits``.
    fill
        What inputs of integers are filled with.

    Raises
    ------
    FormatError
        If the module fails, no layer fits or several do (they are listed), or the head reads one vector a token.

    Examples
    --------
    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3), torch.nn.Softmax(-1))
    >>> found = cut(net, Input((4,), np.dtype("float32")))
    >>> found.path, found.follows.ending
    ('2', 'softmax')
    """
    name = type(module).__name__
    calls, returned = _run(module, inputs, fill)
    given = outputs(returned)
    scores = chosen(given, output, name, [call.made for call in calls])
    called = _said(calls)
    fitting = [call for call in calls if call.made.gives(scores) is not None]
    if head is not None:
        if all(call.path != head for call in calls):
            raise FormatError(f"head={head!r} is not a dense layer that {name} calls; there are: {called}")
        fitting = [call for call in fitting if call.path == head]
        if not fitting:
            raise FormatError(
                f"head={head!r} does not decide the output {list(scores.shape)} of {name}: other layers or functions "
                "change its scores, so that a wider head would give other answers (fold a BatchNorm into the layer)"
            )
    if len({call.path for call in fitting}) != 1:
        what = "several dense layers give" if fitting else "no dense layer gives"
        raise FormatError(
            f"{what} the output {list(scores.shape)} of {name}; called in this order: {called}; expected one whose "
            "scores are all that the output is made of" + ("; name it with head=" if fitting else "")
        )
    found = fitting[0]
    times = sum(call.path == found.path for call in calls)
    if times > 1:
        raise FormatError(f"the head {found.path!r} of {name} is called {times} times in one pass; expected once")
    how = found.made.gives(scores)
    assert how is not None  # As it is among those that fit.
    if not (found.reads_one_vector or how.pooled):
        raise FormatError(
            f"the head {found.path!r} of {name} reads {list(found.given.shape)} for {len(scores)} inputs: a vector for "
            "every token or pixel; expected one vector an input"
        )
    beside = {one.path for one in calls if any(one.made.gives(part) is not None for part in given.values())}
    place = next(key for key, tensor in given.items() if tensor is scores)
    siblings = tuple(
        path
        for path in _alike(module, found.layer, {call.path for call in calls} - beside)
        if not {place, *(given if path not in beside else ())} & _reached(module, path, inputs, fill)
    )
    return Cut(module, found.path, how, siblings, len(found.layer.weight) == 1)


def _alike(module: Any, head: Any, others: set[str]) -> list[str]:
    """The dense layers of as many units as the head, without the head and the others."""
    from torch.nn.parameter import is_lazy

    left_out = {id(head), *(id(module.get_submodule(path)) for path in others)}
    return [
        path
        for path, layer in module.named_modules()
        if _is_dense(layer) and id(layer) not in left_out
        if not is_lazy(layer.weight) and len(layer.weight) == len(head.weight)
    ]


def _reached(module: Any, path: str, inputs: Input | Mapping[str, Input], fill: int) -> set[str]:
    """The outputs that depend on a layer's numbers: some functions read them without calling the layer."""
    import torch

    weight = module.get_submodule(path).weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(torch.nan)
        try:
            found = outputs(_run(module, inputs, fill)[1])
        finally:
            weight.copy_(kept)
    return {name for name, tensor in found.items() if tensor.is_floating_point() and bool(tensor.isnan().any())}


def _said(calls: list[_Call]) -> str:
    """The dense layers that were called, for a message: the last ten."""
    shown = [f"{call.path!r} {_shape(call.layer)}" for call in calls]
    more = f"({len(shown) - 10} more), " if len(shown) > 10 else ""
    return more + ", ".join(shown[-10:]) or "no dense layer was called"


class _Call(NamedTuple):
    """What a dense layer was given, and what it made of it."""

    path: str
    layer: Any
    given: Any
    output: Any

    @property
    def reads_one_vector(self) -> bool:
        """Whether it was given one vector, or one pixel, for each input."""
        return self.given.ndim > 1 and all(self.given.shape[axis] == 1 for axis in _axes(self.layer, self.given))

    @property
    def made(self) -> Made:
        """What it made."""
        even = not hasattr(self.layer, "stride") or {*self.layer.stride} | {0} == {1, 0}
        even = even and not any(getattr(self.layer, "padding", ()))
        return Made(self.path, self.output, _axes(self.layer, self.output) if even else ())


def _run(module: Any, inputs: Input | Mapping[str, Input], fill: int) -> tuple[list[_Call], Any]:
    """The calls of dense layers in one pass over three small inputs, in their order, and the module's output."""
    import torch

    calls: list[_Call] = []

    def record(path: str) -> Any:
        def hook(layer: Any, args: Any, kwargs: Any, output: Any) -> None:
            given = args[0] if args else kwargs.get("input")
            calls.append(_Call(path, layer, given, output.detach().clone()))

        return hook

    handles = [
        layer.register_forward_hook(record(path), with_kwargs=True)
        for path, layer in module.named_modules()
        if _is_dense(layer)
    ]
    try:
        with torch.inference_mode():
            return calls, _call(module, _example(module, inputs, fill))
    except Exception as error:  # Whatever the user's module raises.
        raise FormatError(f"{type(module).__name__} fails on inputs {_shapes(inputs)}: {error}") from error
    finally:
        for handle in handles:
            handle.remove()


def describe(cut: Cut) -> dict[str, str]:
    """Describe the backbone and the head in words."""
    count = sum(parameter.numel() for parameter in cut.module.parameters())
    how = cut.follows
    steps = ["the mean over pixels or tokens"] * how.pooled + [f"times {how.scale:.4g}"] * (how.scale != 1)
    steps += [how.ending] * (how.ending != "scores")
    follows = f", then {', '.join(steps)}" if steps else ""
    return {
        "backbone": f"{type(cut.module).__name__}, {count:,} parameters",
        "head": f"{cut.path!r}, {type(cut.layer).__name__} {_shape(cut.layer)}{follows}",
    }


def to_numpy(tensor: Any) -> np.ndarray:
    """Return a tensor's values in its dtype; bfloat16 as `ml_dtypes` has it."""
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _stop(layer: Any, args: Any, kwargs: Any) -> None:
    raise _Reached(args[0] if args else kwargs["input"])


def _call(module: Any, batch: Any) -> Any:
    return module(**batch) if isinstance(batch, dict) else module(batch)


def _is_dense(layer: Any) -> bool:
    """A ``Linear``, or a convolution over single pixels."""
    from torch import nn

    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) and set(layer.kernel_size) == {1} and layer.groups == 1
    )


def _axes(layer: Any, tensor: Any) -> tuple[int, ...]:
    """The axes of pixels or tokens in what a dense layer reads or makes."""
    return tuple(range(2, tensor.ndim)) if hasattr(layer, "kernel_size") else tuple(range(1, tensor.ndim - 1))


def _shape(layer: Any) -> str:
    k, d = layer.weight.shape[:2]
    return f"{d} -> {k}"


def _example(module: Any, inputs: Input | Mapping[str, Input], fill: int) -> Any:
    if isinstance(inputs, Input):
        return _placed(module, _sample(inputs, fill))
    return {
        name: _placed(module, _sample(one, 1 if "mask" in name else 0 if "type" in name else fill))
        for name, one in inputs.items()
    }


def _sample(one: Input, fill: int) -> Any:
    import torch

    shape = (3, *(size or (64 if len(one.shape) == 3 else 8) for size in one.shape))
    if one.dtype.kind in "iub":
        return _tensor(np.full(shape, fill), one.dtype)
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return drawn * torch.tensor([1.0, 3.0, 0.3]).reshape(3, *[1] * len(one.shape))  # Small and large scores.


def _tensor(array: Any, dtype: np.dtype[Any]) -> Any:
    import torch

    return torch.from_numpy(np.array(array, dtype, order="C"))


def _placed(module: Any, tensor: Any) -> Any:
    """On the module's device; numbers with a fraction in its dtype."""
    first = next(module.parameters(), None)
    if first is None:
        return tensor
    return tensor.to(first.device, first.dtype if tensor.is_floating_point() else None)


def _shapes(inputs: Input | Mapping[str, Input]) -> str:
    if isinstance(inputs, Input):
        return f"{list(inputs.shape)} {inputs.dtype}"
    return ", ".join(f"{name} {_shapes(one)}" for name, one in inputs.items())
