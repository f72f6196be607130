"""JAX's operations that move numbers, as ONNX nodes, for `extend.formats.jax_export._onnx_operations`.

Each is a `Rule`. Source: https://onnx.ai/onnx/operators/ (opset 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.jax_export._onnx_builder import Dim, Graph, Value, full, known, result, same


def broadcast_in_dim(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    value, kept = values[0], [int(axis) for axis in equation.params["broadcast_dimensions"]]
    new = [axis for axis in range(len(equation.params["shape"])) if axis not in kept]
    if value.array is not None:
        return known(np.expand_dims(value.array, tuple(new)))
    if not new:
        return value
    shape = [value.shape[kept.index(axis)] if axis in kept else 1 for axis in range(len(kept) + len(new))]
    return graph.add("Unsqueeze", [value, np.asarray(new, np.int64)], shape, value.dtype)


def reshape(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    shape = result(equation).shape
    if sum(not isinstance(dim, int) for dim in shape) > 1 or equation.params["dimensions"] is not None:
        raise FormatError(f"a reshape to {shape} is not supported: only one axis may depend on the batch")
    sizes = np.asarray([dim if isinstance(dim, int) else -1 for dim in shape], np.int64)
    return graph.add("Reshape", [full(graph, equation, values)[0], sizes], shape, values[0].dtype)


def squeeze(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    axes = np.asarray(equation.params["dimensions"], np.int64)
    shape = [dim for axis, dim in enumerate(values[0].shape) if axis not in axes]
    return graph.add("Squeeze", [values[0], axes], shape, values[0].dtype)


def transpose(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    return graph.transpose(values[0], equation.params["permutation"])


def concatenate(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    whole, axis = full(graph, equation, values), int(equation.params["dimension"])
    return graph.add("Concat", whole, result(equation).shape, values[0].dtype, axis=axis)


def _sliced(graph: Graph, value: Value, starts: Sequence[Any], sizes: Sequence[Any], steps: Sequence[int]) -> Value:
    """``value[start : start + size : step]`` on every axis; a size counts what is left of the axis."""
    axes, shape = [], list(value.shape)
    for axis, (start, size, step) in enumerate(zip(starts, sizes, steps, strict=True)):
        if not (same(size, value.shape[axis]) and step == 1):
            if not all(isinstance(number, (int, np.integer)) for number in (start, size)):
                raise FormatError("a slice of the batch is not supported: samples must not depend on each other")
            axes.append(axis)
            shape[axis] = -(-int(size) // step)
    if not axes:
        return value
    chosen = [
        np.asarray(part, np.int64)
        for part in ([starts[a] for a in axes], [starts[a] + sizes[a] for a in axes], axes, [steps[a] for a in axes])
    ]
    return graph.add("Slice", [value, *chosen], shape, value.dtype)


def slice_(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    p = equation.params
    sizes = [stop - start for start, stop in zip(p["start_indices"], p["limit_indices"], strict=True)]
    steps = p["strides"] or [1] * len(sizes)
    return _sliced(graph, full(graph, equation, values)[0], p["start_indices"], sizes, steps)


def dynamic_slice(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    value = full(graph, equation, values)[0]
    return _window(graph, value, [start.array for start in values[1:]], equation.params["slice_sizes"])


def _window(graph: Graph, value: Value, starts: Sequence[Any], sizes: Sequence[Dim]) -> Value:
    """A slice that begins at constants, moved inside as JAX does."""
    if any(start is None for start in starts):
        raise FormatError("a slice whose place is computed is not supported")
    places = [
        min(max(int(start), 0), dim - size) if isinstance(dim, int) else 0
        for start, dim, size in zip(starts, value.shape, sizes, strict=True)
    ]
    return _sliced(graph, value, places, sizes, [1] * len(sizes))


def gather(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (value, indices), p, out = full(graph, equation, values), equation.params, result(equation)
    names, sizes = p["dimension_numbers"], p["slice_sizes"]
    if indices.array is not None and indices.array.ndim == 1 and not names.operand_batching_dims:
        starts = [0] * len(sizes)
        for axis, start in zip(names.start_index_map, indices.array, strict=True):
            starts[axis] = int(start)
        window = _window(graph, value, starts, sizes)
        gone = np.asarray(names.collapsed_slice_dims, np.int64)
        return graph.add("Squeeze", [window, gone], out.shape, value.dtype) if len(gone) else window
    axes = [int(axis) for axis in names.start_index_map]
    own = [axis for axis in range(len(value.shape)) if axis not in axes]
    whole = all(same(sizes[axis], value.shape[axis]) for axis in own)
    if sorted(axes) != list(names.collapsed_slice_dims) or names.operand_batching_dims or not whole:
        raise FormatError("this kind of indexing is not supported; index single places along axes")
    batch, rest = indices.shape[:-1], [value.shape[axis] for axis in own]
    wide = graph.add("Cast", [indices], indices.shape, np.int64, to=graph.named(np.int64))
    found = graph.add("GatherND", [graph.transpose(value, [*axes, *own]), wide], [*batch, *rest], value.dtype)
    # JAX says where the value's own axes go; those of the indices fill the other places.
    own_axes, index_axes = iter(range(len(batch), len(batch) + len(rest))), iter(range(len(batch)))
    order = [next(own_axes if place in names.offset_dims else index_axes) for place in range(len(found.shape))]
    return graph.transpose(found, order)


def rev(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    axes = np.asarray(equation.params["dimensions"], np.int64)
    ends = np.full(len(axes), np.iinfo(np.int64).min)
    steps = np.full(len(axes), -1)
    return graph.add("Slice", [values[0], steps, ends, axes, steps], values[0].shape, values[0].dtype)


def pad(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    low, high, inside = zip(*equation.params["padding_config"], strict=True)
    if any(inside):
        raise FormatError("padding between elements is not supported")
    value = graph.whole(values[0], equation.invars[0].aval.shape)
    pads = np.asarray([*low, *high], np.int64)
    return graph.add("Pad", [value, pads, values[1]], result(equation).shape, value.dtype)


def split(graph: Graph, equation: Any, values: Sequence[Value]) -> list[Value]:
    (value,), axis = full(graph, equation, values), int(equation.params["axis"])
    edges = np.cumsum([0, *equation.params["sizes"]])
    cuts = [np.asarray([edge], np.int64) for edge in (*edges, axis)]
    return [
        graph.add("Slice", [value, cuts[i], cuts[i + 1], cuts[-1]], var.aval.shape, value.dtype)
        for i, var in enumerate(equation.outvars)
    ]


def tile(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    times = np.asarray(equation.params["reps"], np.int64)
    return graph.add("Tile", [*full(graph, equation, values), times], result(equation).shape, values[0].dtype)


def stack(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    axis, shape = int(equation.params["axis"]), result(equation).shape
    thin = (*shape[:axis], 1, *shape[axis + 1 :])
    place = np.asarray([axis], np.int64)
    layers = [graph.add("Unsqueeze", [value, place], thin, value.dtype) for value in full(graph, equation, values)]
    return graph.add("Concat", layers, shape, values[0].dtype, axis=axis)


def unstack(graph: Graph, equation: Any, values: Sequence[Value]) -> list[Value]:
    (value,), axis = full(graph, equation, values), int(equation.params["axis"])
    return [
        graph.add("Gather", [value, np.asarray(i, np.int64)], var.aval.shape, value.dtype, axis=axis)
        for i, var in enumerate(equation.outvars)
    ]
