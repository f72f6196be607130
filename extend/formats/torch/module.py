"""A PyTorch module cut before its last dense layer: found by running it, not by the order of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import Input, digest

Ending = Literal["scores", "softmax", "log_softmax", "sigmoid"]
"""What a module makes of its last layer's output."""


class _Reached(BaseException):
    """Carries the head's input out of the forward pass; a model's own ``except Exception`` does not stop it."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A module in evaluation mode that this object owns, the path of its head, and what follows the head.

    The head is a ``Linear``, or a 1x1 ``Conv2d`` over one pixel.
    """

    module: Any
    path: str
    ending: Ending

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
        layer, found = self.layer, {}
        for part in ("weight", "bias"):
            tensor = getattr(layer, part)
            if tensor is None:
                continue
            found[part] = tuple(
                f"{path}.{name}".lstrip(".")
                for path, module in self.module.named_modules(remove_duplicate=False)
                for name, own in module.named_parameters(recurse=False, remove_duplicate=False)
                if own is tensor
            )
            owners = {id(self.module.get_submodule(name.rpartition(".")[0])) for name in found[part]}
            if owners != {id(layer)}:
                names = ", ".join(found[part]) or "no parameter"
                raise FormatError(
                    f"the {part} of the head {self.path!r} is {names}: it is shared or computed (weight norm, "
                    "parametrisation), and cannot be made wider; give the head a parameter of its own"
                )
        return found

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the kinds of the layers, their settings, and every tensor; the head left out."""
        own = {name for names in self.names.values() for name in names}
        kinds: list[tuple[str, Any]] = [
            (path, f"{type(layer).__name__}({layer.extra_repr()})")
            for path, layer in self.module.named_modules()
            if layer is not self.layer and next(layer.children(), None) is None
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
            features = reached.args[0].flatten(1)
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


def cut(module: Any, inputs: Input | Mapping[str, Input], head: str | None = None, *, fill: int = 0) -> Cut:
    """Find the head of a module by running it once on two small inputs (random numbers; integers are `fill`).

    The head is the last ``Linear`` (or 1x1 ``Conv2d`` over one pixel) *called* whose output is the module's output (its
    ``logits``, where it has such), or whose softmax, log_softmax or sigmoid is.

    Parameters
    ----------
    module
        The module in evaluation mode; its hooks are removed again.
    inputs
        What one input is, or each of several by name.
    head
        The path of the head, if it is known.
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
    >>> found.path, found.ending
    ('2', 'softmax')
    """
    name = type(module).__name__
    calls, output = _run(module, inputs, fill)
    scores = _scores(output, name)
    called = ", ".join(f"{call.path!r} {_shape(call.layer)}" for call in calls) or "no dense layer was called"
    if head is not None:
        chosen = [call for call in calls if call.path == head]
        if not chosen:
            raise FormatError(f"head={head!r} is not a dense layer that {name} calls; there are: {called}")
    else:
        chosen = [call for call in calls if _ending(call.output, scores) is not None]
        if len({call.path for call in chosen}) != 1:
            what = "several dense layers give" if chosen else "no dense layer gives"
            raise FormatError(
                f"{what} the output {list(scores.shape)} of {name}; called in this order: {called}; "
                "name the one meant with head=, if a linear layer's scores are all that its output is made of"
            )
    found = chosen[0]
    times = sum(call.path == found.path for call in calls)
    if times > 1:
        raise FormatError(f"the head {found.path!r} of {name} is called {times} times in one pass; expected once")
    if not found.reads_one_vector:
        raise FormatError(
            f"the head {found.path!r} of {name} reads {list(found.given.shape)} for two inputs: a vector for every "
            "token or pixel; expected one vector an input"
        )
    return Cut(module, found.path, _ending(found.output, scores) or "scores")


class _Call(NamedTuple):
    """What a dense layer was given, and what it made of it."""

    path: str
    layer: Any
    given: Any
    output: Any

    @property
    def reads_one_vector(self) -> bool:
        """Whether it was given one vector, or one pixel, for each input."""
        from torch import nn

        return self.given.ndim == 2 if isinstance(self.layer, nn.Linear) else _is_pixel(self.given)


def _run(module: Any, inputs: Input | Mapping[str, Input], fill: int) -> tuple[list[_Call], Any]:
    """The calls of dense layers in one pass over two small inputs, in their order, and the module's output."""
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


def _scores(output: Any, name: str) -> Any:
    """The tensor of scores in what a module returns."""
    import torch

    scores = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if not isinstance(scores, torch.Tensor):
        raise FormatError(f"{name} returns a {type(output).__name__}; expected a tensor, or an output with logits")
    return scores


def describe(cut: Cut) -> dict[str, str]:
    """Describe the backbone and the head in words."""
    count = sum(parameter.numel() for parameter in cut.module.parameters())
    follows = "" if cut.ending == "scores" else f", then {cut.ending}"
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
    from torch import nn

    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
    )


def _is_pixel(tensor: Any) -> bool:
    return tensor.ndim == 4 and tensor.shape[2:] == (1, 1)


def _shape(layer: Any) -> str:
    k, d = layer.weight.shape[:2]
    return f"{d} -> {k}"


def _ending(made: Any, scores: Any) -> Ending | None:
    """How the scores come from a layer's output, if they do."""
    import torch

    if made.numel() != scores.numel() or len(made) != len(scores):
        return None
    made, scores = (tensor.flatten(1).float().nan_to_num() for tensor in (made, scores))
    if torch.equal(made, scores):
        return "scores"
    endings: dict[Ending, Any] = {
        "softmax": torch.softmax(made, 1),
        "log_softmax": torch.log_softmax(made, 1),
        "sigmoid": torch.sigmoid(made),
    }
    return next((name for name, value in endings.items() if torch.allclose(value, scores, 1e-5, 1e-6)), None)


def _example(module: Any, inputs: Input | Mapping[str, Input], fill: int) -> Any:
    if isinstance(inputs, Input):
        return _placed(module, _sample(inputs, fill))
    return {
        name: _placed(module, _sample(one, 1 if "mask" in name else 0 if "type" in name else fill))
        for name, one in inputs.items()
    }


def _sample(one: Input, fill: int) -> Any:
    import torch

    shape = (2, *(size or (64 if len(one.shape) == 3 else 8) for size in one.shape))
    if one.dtype.kind in "iub":
        return _tensor(np.full(shape, fill), one.dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


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
