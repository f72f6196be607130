"""Run a model while chosen layers record what goes in and out; find the head that way. NNX and Linen.

A recorded NNX layer is an instance of a subclass made for the purpose, in a merged copy: no class is patched, and the
user's model is never changed. Linen offers `nn.intercept_methods`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

from extend.core.errors import ArgumentError

Call = tuple[Any, Any, int]
"""Input and output of one call of a layer, and its place among all recorded calls."""

_calls: ContextVar[dict[int, list[Call]] | None] = ContextVar("calls", default=None)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that could be the head: its path, kernel ``[d, k]`` and bias ``[k]``."""

    path: str
    kernel: jax.Array
    bias: jax.Array


def nnx_record(
    model: nnx.Module, paths: Sequence[str], run: Callable[[nnx.Module], Any]
) -> tuple[Any, list[list[Call]]]:
    """Run an NNX model (a copy that may be changed) and return its output and the calls of each layer in `paths`."""
    layers = dict(nnx_layers(model))
    recorded = [layers[path] for path in paths]
    for layer in {id(layer): layer for layer in recorded}.values():
        object.__setattr__(layer, "__class__", _recorder(type(layer)))
    with _recording() as calls:
        output = run(model)
    return output, [calls.get(id(layer), []) for layer in recorded]


def nnx_layers(model: nnx.Module) -> Iterator[tuple[str, nnx.Module]]:
    """Every submodule with its path, names joined by dots; the first name where a module has several."""
    for path, module in nnx.iter_modules(model):
        if path:
            yield ".".join(map(str, path)), module


def nnx_heads(model: nnx.Module, num_classes: int | None) -> list[Layer]:
    """The layers with a dense kernel ``[d, num_classes]`` (of any width where that is None)."""
    found = []
    for path, module in nnx_layers(model):
        kernel, bias = _value(getattr(module, "kernel", None)), _value(getattr(module, "bias", None))
        if kernel is not None and kernel.ndim == 2 and num_classes in (None, kernel.shape[1]):
            found.append(Layer(path, kernel, _bias(bias, kernel)))
    return found


def linen_record(run: Callable[[], Any], paths: Sequence[str]) -> tuple[Any, list[list[Call]]]:
    """Run a Linen model's ``apply`` and return its output and the calls of each layer in `paths`."""
    calls: dict[str, list[Call]] = {path: [] for path in paths}

    def intercept(call: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        path = ".".join(context.module.path)
        if context.method_name == "__call__" and path in calls:
            calls[path].append((args[0] if args else None, output, sum(map(len, calls.values()))))
        return output

    with nn.intercept_methods(intercept):
        output = run()
    return output, [calls[path] for path in paths]


def linen_heads(params: Any, num_classes: int | None) -> list[Layer]:
    """The layers whose parameters hold a dense kernel ``[d, num_classes]``."""
    found: list[Layer] = []

    def walk(node: Any, path: tuple[str, ...]) -> None:
        kernel = node.get("kernel")
        if kernel is not None and np.ndim(kernel) == 2 and num_classes in (None, kernel.shape[1]):
            found.append(Layer(".".join(path), kernel, _bias(node.get("bias"), kernel)))
        for name, child in node.items():
            if hasattr(child, "items"):
                walk(child, (*path, name))

    walk(params, ())
    return found


def choose_head(
    candidates: list[Layer], output: Any, calls: list[list[Call]], num_classes: int, wanted: str | None
) -> Layer:
    """The head: the candidate called once whose output *is* the model's output, or the one asked for by path.

    Raises
    ------
    ArgumentError
        None or several; the message lists the candidates.
    """
    listing = ", ".join(f"{c.path!r} {list(c.kernel.shape)}" for c in candidates) or "no dense layer at all"
    if wanted is not None:
        chosen = [c for c in candidates if c.path == wanted]
        if not chosen:
            raise ArgumentError(f"head={wanted!r} is not a dense layer of this model; there are: {listing}")
        if chosen[0].kernel.shape[1] != num_classes:
            raise ArgumentError(
                f"head {wanted!r} has kernel {list(chosen[0].kernel.shape)}, but there are {num_classes} classes"
            )
        return chosen[0]
    fitting = [c for c in candidates if c.kernel.shape[1] == num_classes]
    chosen = [
        c
        for c, made in zip(candidates, calls, strict=True)
        if c in fitting and len(made) == 1 and made[0][1] is output and np.ndim(made[0][0]) == 2
    ]
    if len(chosen) == 1:
        return chosen[0]
    raise ArgumentError(
        f"the head was not found: {len(chosen)} layers of width {num_classes} give the model's output "
        f'(a head is a dense layer, called once, whose output is what the model returns). Pass head="path" of one of: '
        f"{listing}"
    )


@contextmanager
def _recording() -> Iterator[dict[int, list[Call]]]:
    calls: dict[int, list[Call]] = {}
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


@cache
def _recorder(kind: type) -> type:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = kind.__call__(self, *args, **kwargs)
        calls = _calls.get()
        if calls is not None:
            place = sum(map(len, calls.values()))
            calls.setdefault(id(self), []).append((args[0] if args else None, output, place))
        return output

    return type(kind)(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})


def _value(variable: Any) -> Any:
    if isinstance(variable, nnx.Variable):
        variable = variable[...]
    return variable if hasattr(variable, "ndim") else None


def _bias(bias: Any, kernel: Any) -> Any:
    return np.zeros(kernel.shape[1], np.float32) if bias is None else bias
