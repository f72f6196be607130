"""An ONNX graph as it is collected, for `extend.formats.jax_export.onnx_writer`.

A broadcast writes no node: ONNX's element-wise operators broadcast by themselves, so a tensor may be of size 1 along an
axis where JAX's value is longer, and is expanded where an operation needs it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import digest

Dim = Any
"""An int, or JAX's symbol for the size of the batch."""


@dataclass(frozen=True)
class Value:
    """A tensor: its name in the graph, the shape that it has there, its dtype; and its values if it is constant."""

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype[Any]
    array: np.ndarray | None = None


@dataclass
class Graph:
    """Nodes and constants as they are collected; `onnx` is the module, `batch` a tensor that begins with the batch."""

    onnx: Any
    batch: str
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    numbers: Any = field(default_factory=count)
    size: Value | None = None

    def add(
        self, op: str, inputs: Sequence[Value | np.ndarray], shape: Sequence[Dim], dtype: Any, **options: Any
    ) -> Value:
        """A node of one output, of this shape and dtype."""
        self.named(dtype)
        name = f"{op.lower()}_{next(self.numbers)}"
        names = [self.constant(part) if isinstance(part, np.ndarray) else self.use(part) for part in inputs]
        self.nodes.append(self.onnx.helper.make_node(op, names, [name], name=f"node_{name}", **options))
        return Value(name, tuple(shape), np.dtype(dtype))

    def use(self, value: Value) -> str:
        """The name of a value in the graph."""
        return value.name if value.array is None else self.constant(value.array)

    def constant(self, array: np.ndarray) -> str:
        """The name of a constant; equal ones are kept once."""
        self.named(array.dtype)
        key = digest([("constant", array)])
        if key not in self.constants:
            name = f"constant_{next(self.numbers)}"
            self.constants[key] = self.onnx.numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape), name
            )
        return self.constants[key].name

    def named(self, dtype: Any) -> int:
        """ONNX's number for a dtype."""
        if np.dtype(dtype).kind not in "biuf":
            raise FormatError(
                f"{np.dtype(dtype).name} is not supported in ONNX files: give the model float32 parameters"
            )
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def whole(self, value: Value, shape: Sequence[Dim]) -> Value:
        """The value with every axis as long as in JAX."""
        if all(same(*pair) for pair in zip(value.shape, shape, strict=True)):
            return value
        if value.array is not None and all(isinstance(dim, int) for dim in shape):
            return known(np.broadcast_to(value.array, shape))
        if self.size is None:
            self.size = self.add("Shape", [Value(self.batch, (), np.dtype(np.int64))], (1,), np.int64, start=0, end=1)
        parts: list[Value | np.ndarray] = []
        for dim in shape:
            if not isinstance(dim, int) and str(dim) != "b":
                raise FormatError(f"an axis of length {dim}, of a batch of b, is not supported")
            parts.append(np.asarray([dim], np.int64) if isinstance(dim, int) else self.size)
        target = self.add("Concat", parts, (len(shape),), np.int64, axis=0)
        return self.add("Expand", [value, target], shape, value.dtype)

    def transpose(self, value: Value, order: Sequence[int] | np.ndarray) -> Value:
        """The axes in another order."""
        order = [int(axis) for axis in order]
        if order == list(range(len(order))):
            return value
        if value.array is not None:
            return known(value.array.transpose(order))
        return self.add("Transpose", [value], [value.shape[axis] for axis in order], value.dtype, perm=order)


Rule = Callable[[Graph, Any, Sequence[Value]], Value | list[Value]]
"""The nodes of one equation of a jaxpr: its operation's parameters are ``equation.params``.

A list is of several results."""


def known(array: Any) -> Value:
    """A constant."""
    array = np.asarray(array)
    return Value("", array.shape, array.dtype, array)


def same(one: Dim, two: Dim) -> bool:
    """Whether two sizes are the same number or the same symbol."""
    return isinstance(one, int) == isinstance(two, int) and bool(one == two)


def result(equation: Any) -> Any:
    """Shape and dtype of an equation's first result."""
    return equation.outvars[0].aval


def full(graph: Graph, equation: Any, values: Sequence[Value]) -> list[Value]:
    """An equation's inputs, whole."""
    return [graph.whole(value, var.aval.shape) for value, var in zip(values, equation.invars, strict=True)]


def broadcast(values: Sequence[Value]) -> list[Dim]:
    """The shape that ONNX gives what is computed of them element by element."""
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + value.shape for value in values]
    return [next((dim for dim in dims if not same(dim, 1)), 1) for dims in zip(*shapes, strict=True)]
