"""The backbone that is any function from a batch of inputs to features."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from extend.backbone.base import BATCH_SIZE, Arrays, BaseBackbone, Outputs, Run
from extend.backbone.feature_space import Transform, Width, space_of
from extend.backbone.network import named_leaves, outline
from extend.core.errors import ArgumentError
from extend.data import Batch, InputSpec, input_spec
from extend.heads import LinearHead


@dataclass(frozen=True, eq=False)
class FunctionBackbone(BaseBackbone):
    """A function as a backbone; made by `FunctionBackbone.of`.

    Parameters
    ----------
    can_trace
        JAX can trace the function, so that it is compiled; any other one is called with NumPy arrays.
    trainable
        The names of the parameters that a gradient may move.
    """

    can_trace: bool = True
    trainable: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        inputs: Any,
        params: PyTree = None,
        head: LinearHead | None = None,
        transform: Transform | None = None,
        width: int | Width | None = None,
        batch_size: int = BATCH_SIZE,
        traceable: bool | None = None,
    ) -> FunctionBackbone:
        """Make a backbone of a function ``batch -> features [n, p]``, or ``(params, batch)`` with parameters.

        Parameters
        ----------
        function
            A function that JAX can trace is compiled; any other (PyTorch, ONNX Runtime) is called with NumPy arrays.
        inputs
            What one input is, in any form that `extend.wrap` takes.
        params
            A tree of arrays: dicts, lists and tuples, if it is to be the same when a checkpoint is restored.
        head
            The classifier's present head on these features, if there is one.
        transform, width
            What is appended to the features; see `extend.backbone.feature_space`.
        batch_size
            The size of every batch that the function is called with.
        traceable
            Whether JAX can trace the function; None: it is tried.

        Raises
        ------
        ArgumentError
            The result is not ``[n, p]``.

        Examples
        --------
        >>> FunctionBackbone.of(lambda x: x[:, :2], np.zeros((1, 4))).feature_dim
        2
        """
        spec = input_spec(inputs)
        names, leaves, structure = named_leaves(params)
        network = dict(zip(names, leaves, strict=True))

        def run(arrays: Arrays, x: Batch) -> Outputs:
            if params is None:
                return function(x), ()
            return function(jax.tree.unflatten(structure, [arrays[name] for name in names]), x), ()

        n = min(2, batch_size)
        traced = _traced_shape(run, network, spec, traceable, n)
        shape = host_shape(run, network, spec, n) if traced is None else traced
        if len(shape) != 2 or shape[0] != n:
            raise ArgumentError(f"the function returned shape {list(shape)} for {n} inputs; expected features [{n}, p]")
        space = replace(space_of((), transform, width), keep=head is not None)
        kind = {"kind": "function", "class": getattr(function, "__name__", type(function).__name__), "head": None}
        if params is not None:
            with suppress(TypeError):  # Then the function is given the flat dictionary when it is restored.
                kind["params"] = outline(params)
        return cls(
            run,
            {"network": network, "space": space.init(shape[1])},
            spec,
            (shape[1],),
            space,
            kind,
            head,
            batch_size,
            function,
            can_trace=traced is not None,
            trainable=_floating(network) if traced is not None else (),
        )


def host_shape(run: Run, network: Arrays, inputs: InputSpec, n: int = 2) -> tuple[int, ...]:
    """Return the shape of the features of n inputs of zeros, by calling the function with NumPy arrays.

    Raises
    ------
    ArgumentError
        The function takes one input at a time, and not n.
    """

    def shape_of(count: int) -> tuple[int, ...]:
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), inputs.structs(count))
        return np.shape(run(network, zeros)[0])

    try:
        return shape_of(n)
    except Exception as error:  # The user's function raises what it likes.
        if n > 1 and _succeeds(shape_of, 1):
            raise ArgumentError(
                f"the model takes a batch of 1 input, but fails on one of {n} ({error}): let it take batches, or pass "
                "extend.FunctionBackbone.of(function, inputs, batch_size=1) as the model"
            ) from error
        raise


def _succeeds(function: Callable[[int], Any], count: int) -> bool:
    try:
        function(count)
    except Exception:  # The user's function raises what it likes.
        return False
    return True


def _traced_shape(
    run: Run, network: Arrays, inputs: InputSpec, traceable: bool | None, n: int
) -> tuple[int, ...] | None:
    """The shape of the features of n inputs, as JAX traces them; None if it cannot, or is not to."""
    if traceable is False:
        return None
    try:
        shape: tuple[int, ...] = jax.eval_shape(lambda p, x: run(p, x)[0], network, inputs.structs(n)).shape
    except Exception:  # Foreign runtimes raise errors of their own when they meet a tracer.
        if traceable:
            raise
        return None
    return shape


def _floating(network: Arrays) -> tuple[str, ...]:
    return tuple(name for name, leaf in network.items() if jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
