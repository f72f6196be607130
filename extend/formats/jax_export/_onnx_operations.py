"""JAX's operations that compute, as ONNX nodes, and the table of all, for `extend.formats.jax_export.onnx_writer`.

Source: https://onnx.ai/onnx/operators/ (opset 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.jax_export import _onnx_shapes as shapes
from extend.formats.jax_export._onnx_builder import Graph, Rule, Value, broadcast, full, result


def _elementwise(op: str, graph: Graph, equation: Any, values: Sequence[Value], **options: Any) -> Value:
    return graph.add(op, values, broadcast(values), result(equation).dtype, **options)


def _chain(*steps: str | tuple[str, float]) -> Rule:
    """Operators one after the other, each of the value alone or of the value and a number."""

    def rule(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        (value,) = values
        for step in steps:
            op, *numbers = (step,) if isinstance(step, str) else step
            parts: list[Value | np.ndarray] = [value, *(np.asarray(number, value.dtype) for number in numbers)]
            value = graph.add(op, parts, value.shape, value.dtype)
        return value

    return rule


def _max(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    for value, other in (values, values[::-1]):
        if value.array is not None and value.array.shape == () and value.array == 0 and other.dtype.kind == "f":
            return graph.add("Relu", [other], other.shape, other.dtype)
    return _elementwise("Max", graph, equation, values)


def _not_equal(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    equal = _elementwise("Equal", graph, equation, values)
    return graph.add("Not", [equal], equal.shape, bool)


def _logical(op: str) -> Rule:
    def rule(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        if values[0].dtype != bool:
            raise FormatError(f"the bits of {values[0].dtype} are not supported")
        return _elementwise(op, graph, equation, values)

    return rule


def _power(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (value,), exponent = values, equation.params.get("y", 2)
    if exponent in (2, 3):
        square = graph.add("Mul", [value, value], value.shape, value.dtype)
        return square if exponent == 2 else graph.add("Mul", [square, value], value.shape, value.dtype)
    return graph.add("Pow", [value, np.asarray(exponent, value.dtype)], value.shape, value.dtype)


def _round(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    if int(equation.params["rounding_method"]) != 1:
        raise FormatError("rounding halves away from zero is not supported; round to even")
    return _elementwise("Round", graph, equation, values)


def _select(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    if values[0].dtype != bool or len(values) != 3:
        raise FormatError("a choice between more than two values is not supported")
    return graph.add("Where", [values[0], values[2], values[1]], broadcast(values), values[1].dtype)


def _clamp(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    low, value, high = values
    raised = graph.add("Max", [value, low], broadcast([value, low]), value.dtype)
    return graph.add("Min", [raised, high], broadcast([raised, high]), value.dtype)


def _cast(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (value,), dtype = values, np.dtype(equation.params["new_dtype"])
    return value if value.dtype == dtype else graph.add("Cast", [value], value.shape, dtype, to=graph.named(dtype))


def _reduce(op: str) -> Rule:
    def rule(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        axes = [int(axis) for axis in equation.params["axes"]]
        value = graph.whole(values[0], equation.invars[0].aval.shape)
        return graph.add(op, [value, np.asarray(axes, np.int64)], result(equation).shape, value.dtype, keepdims=0)

    return rule


def _arg(op: str) -> Rule:
    def rule(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        (value,), out, (axis,) = full(graph, equation, values), result(equation), equation.params["axes"]
        place = graph.add(op, [value], out.shape, np.int64, axis=int(axis), keepdims=0)
        return graph.add("Cast", [place], out.shape, out.dtype, to=graph.named(out.dtype))

    return rule


def _cumsum(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (value,), p = full(graph, equation, values), equation.params
    axis = np.asarray(p["axis"], np.int64)
    return graph.add("CumSum", [value, axis], value.shape, value.dtype, reverse=int(p["reverse"]))


def _dot(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (left, right), out = full(graph, equation, values), result(equation)
    (over_left, over_right), (batch_left, batch_right) = equation.params["dimension_numbers"]
    if left.dtype != out.dtype:
        raise FormatError(f"a product of {left.dtype} that gives {out.dtype} is not supported")
    plain = not batch_left and list(over_left) == [len(left.shape) - 1] and len(right.shape) == 2
    if plain and (list(over_right) == [0] or right.array is not None):
        kernel = right if list(over_right) == [0] else graph.transpose(right, (1, 0))
        return graph.add("MatMul", [left, kernel], out.shape, out.dtype)
    letters = iter(ascii_letters)
    one, two = [next(letters) for _ in left.shape], [next(letters) for _ in right.shape]
    for places in (zip(over_left, over_right, strict=True), zip(batch_left, batch_right, strict=True)):
        for here, there in places:
            two[there] = one[here]
    free_one = [name for axis, name in enumerate(one) if axis not in (*over_left, *batch_left)]
    free_two = [name for axis, name in enumerate(two) if axis not in (*over_right, *batch_right)]
    kept = [one[axis] for axis in batch_left] + free_one + free_two
    formula = f"{''.join(one)},{''.join(two)}->{''.join(kept)}"
    return graph.add("Einsum", [left, right], out.shape, out.dtype, equation=formula)


def _conv(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    (value, kernel), p, out = full(graph, equation, values), equation.params, result(equation)
    names, padding = p["dimension_numbers"], p["padding"]
    if p["batch_group_count"] != 1 or any(step != 1 for step in p["lhs_dilation"]):
        raise FormatError("transposed convolutions are not supported")
    if any(side < 0 for pair in padding for side in pair) or value.dtype != out.dtype:
        raise FormatError("a convolution with negative padding, or of mixed dtypes, is not supported")
    made = graph.add(
        "Conv",
        [graph.transpose(value, names.lhs_spec), graph.transpose(kernel, names.rhs_spec)],
        [out.shape[axis] for axis in names.out_spec],
        out.dtype,
        strides=list(p["window_strides"]),
        pads=[pair[0] for pair in padding] + [pair[1] for pair in padding],
        dilations=list(p["rhs_dilation"]),
        group=p["feature_group_count"],
    )
    return graph.transpose(made, np.argsort(names.out_spec))


def _pool(op: str) -> Rule:
    def rule(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
        (value,), p, out = full(graph, equation, values), equation.params, result(equation)
        window, steps, padding = p["window_dimensions"], p["window_strides"], p["padding"]
        settled = zip(window, steps, padding, strict=True)
        fixed = [axis for axis, (size, step, pad) in enumerate(settled) if (size, step, *pad) == (1, 1, 0, 0)][:2]
        moved = [axis for axis in range(len(window)) if axis not in fixed]
        dilated = any(step != 1 for step in p["window_dilation"])
        if len(fixed) != 2 or len(moved) > 3 or any(step != 1 for step in p["base_dilation"]):
            raise FormatError(f"a window of {list(window)} is not supported: two axes must stay as they are")
        if op == "AveragePool" and (dilated or value.dtype.kind != "f"):
            raise FormatError("sums over windows with holes, or of integers, are not supported")
        options: dict[str, Any] = {"count_include_pad": 1} if op == "AveragePool" else {}
        if op == "MaxPool":
            options["dilations"] = [p["window_dilation"][axis] for axis in moved]
        order = [*fixed, *moved]
        pooled = graph.add(
            op,
            [graph.transpose(value, order)],
            [out.shape[axis] for axis in order],
            out.dtype,
            kernel_shape=[window[axis] for axis in moved],
            strides=[steps[axis] for axis in moved],
            pads=[padding[axis][0] for axis in moved] + [padding[axis][1] for axis in moved],
            **options,
        )
        if op == "AveragePool":
            pooled = graph.add("Mul", [pooled, np.asarray(prod(window), out.dtype)], pooled.shape, out.dtype)
        return graph.transpose(pooled, np.argsort(order))

    return rule


def _itself(graph: Graph, equation: Any, values: Sequence[Value]) -> Value:
    return values[0]


RULES: dict[str, Rule] = {
    **{
        name: partial(_elementwise, op)
        for name, op in {
            "add": "Add",
            "add_any": "Add",
            "sub": "Sub",
            "mul": "Mul",
            "div": "Div",
            "min": "Min",
            "pow": "Pow",
            "eq": "Equal",
            "lt": "Less",
            "le": "LessOrEqual",
            "gt": "Greater",
            "ge": "GreaterOrEqual",
            "abs": "Abs",
            "neg": "Neg",
            "sign": "Sign",
            "exp": "Exp",
            "log": "Log",
            "sqrt": "Sqrt",
            "tanh": "Tanh",
            "sin": "Sin",
            "cos": "Cos",
            "tan": "Tan",
            "sinh": "Sinh",
            "cosh": "Cosh",
            "atan": "Atan",
            "erf": "Erf",
            "floor": "Floor",
            "ceil": "Ceil",
            "logistic": "Sigmoid",
        }.items()
    },
    **{name: _logical(op) for name, op in {"and": "And", "or": "Or", "xor": "Xor", "not": "Not"}.items()},
    **dict.fromkeys(("stop_gradient", "copy", "copy_p", "optimization_barrier"), _itself),
    "max": _max,
    "ne": _not_equal,
    "rsqrt": _chain("Sqrt", "Reciprocal"),
    "square": _power,
    "integer_pow": _power,
    "exp2": _chain(("Mul", float(np.log(2))), "Exp"),
    "log1p": _chain(("Add", 1), "Log"),
    "expm1": _chain("Exp", ("Sub", 1)),
    "erfc": _chain("Erf", "Neg", ("Add", 1)),
    "round": _round,
    "select_n": _select,
    "clamp": _clamp,
    "convert_element_type": _cast,
    "broadcast_in_dim": shapes.broadcast_in_dim,
    "reshape": shapes.reshape,
    "squeeze": shapes.squeeze,
    "transpose": shapes.transpose,
    "concatenate": shapes.concatenate,
    "slice": shapes.slice_,
    "dynamic_slice": shapes.dynamic_slice,
    "gather": shapes.gather,
    "rev": shapes.rev,
    "pad": shapes.pad,
    "split": shapes.split,
    "tile": shapes.tile,
    "stack": shapes.stack,
    "unstack": shapes.unstack,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_prod": _reduce("ReduceProd"),
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "cumsum": _cumsum,
    "dot_general": _dot,
    "conv_general_dilated": _conv,
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool"),
}
"""What is supported, by the name of JAX's operation."""
