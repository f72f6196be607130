"""A scoring function of JAX as an ONNX model: it is traced, and each operation becomes one ONNX node or a few.

The file takes batches of any size and gives "logits" and "probabilities"; the names of the classes are in its metadata,
under "classes", as JSON. An operation that `extend.formats.jax_export._onnx_operations` has no rule for is an error
that names it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core

from extend.core.errors import FormatError, MissingExtraError
from extend.data import InputSpec
from extend.formats.base import replace_file
from extend.formats.jax_export._onnx_builder import Graph, Value, known
from extend.formats.jax_export._onnx_operations import RULES
from extend.formats.jax_export.stablehlo_writer import Score, batched

OPSET, IR = 18, 8
"""Versions of ONNX's operators and of its files that runtimes since 2023 read."""

CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
)
"""Operations that only run another jaxpr."""


def to_onnx(score: Score, spec: InputSpec, classes: Sequence[str], path: Path) -> None:
    """Write a scoring function as an ONNX file.

    Parameters
    ----------
    score
        The function; it closes over its parameters, which become constants.
    spec
        What one input is. For an `Image` the model takes uint8 "pictures" ``[b, height, width, channels]`` and
        normalises them itself; else it takes what the backbone takes, as "inputs" (or one input a name, or "inputs_0",
        ...).
    classes
        The names of the function's columns.
    path
        Where to write, ending in ``.onnx``.

    Raises
    ------
    FormatError
        If the suffix is another one, JAX cannot trace the function, an operation of it is not supported (the message
        names it), or the number of names is not that of the columns.
    MissingExtraError
        If onnx is not installed.

    Examples
    --------
    >>> import tempfile, onnx
    >>> from extend.data import Array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "some.onnx")
    ...     to_onnx(lambda x: (2 * x, jax.nn.sigmoid(x)), Array((2,)), ["a", "b"], path)
    ...     [node.op_type for node in onnx.load(path).graph.node]
    ['Mul', 'Sigmoid', 'Identity', 'Identity']
    """
    if path.suffix != ".onnx":
        raise FormatError(f"{path}: an ONNX model is written as .onnx")
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("an ONNX model", "onnx", error) from error
    function, argument = batched(score, spec, classes)
    closed: Any
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(argument)
    inputs = [
        Value(name, tuple(var.aval.shape), np.dtype(var.aval.dtype))
        for name, var in zip(spec.names(), closed.jaxpr.invars, strict=True)
    ]
    graph = Graph(onnx, inputs[0].name)
    made = _lower(graph, closed.jaxpr, [*map(known, closed.consts), *inputs])
    outputs = []
    for name, value, shape in zip(sorted(shapes), made, (shapes[key].shape for key in sorted(shapes)), strict=True):
        whole = graph.whole(value, shape)
        graph.nodes.append(onnx.helper.make_node("Identity", [graph.use(whole)], [name], name=f"node_{name}"))
        outputs.append(Value(name, shape, whole.dtype))
    try:
        content = _model(graph, inputs, outputs, classes)
    except Exception as error:  # The checker's and protobuf's own; a model of 2 GB is too large for one file.
        raise FormatError(f"{path}: the model that was made is not valid: {error}") from error
    replace_file(path, content)


def _model(graph: Graph, inputs: Sequence[Value], outputs: Sequence[Value], classes: Sequence[str]) -> bytes:
    onnx, described = graph.onnx, []
    for values in (inputs, outputs):
        shapes = [[dim if isinstance(dim, int) else str(dim) for dim in value.shape] for value in values]
        described.append(
            [
                onnx.helper.make_tensor_value_info(value.name, graph.named(value.dtype), shape)
                for value, shape in zip(values, shapes, strict=True)
            ]
        )
    made = onnx.helper.make_graph(graph.nodes, "classifier", *described, list(graph.constants.values()))
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opsets, ir_version=IR, producer_name="class-extend")
    onnx.helper.set_model_props(model, {"classes": json.dumps(list(classes), ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _lower(graph: Graph, jaxpr: Any, arguments: Sequence[Value]) -> list[Value]:
    """The values of a jaxpr's outputs; `arguments` are those of its constants and inputs."""
    values: dict[Any, Value] = dict(zip((*jaxpr.constvars, *jaxpr.invars), arguments, strict=True))

    def read(atom: Any) -> Value:
        if isinstance(atom, core.Literal):
            aval: Any = atom.aval
            return known(np.asarray(atom.val, aval.dtype))
        return values[atom]

    for equation in _needed(jaxpr):
        given = [read(atom) for atom in equation.invars]
        name = equation.primitive.name
        if name in CALLS:
            inner = next(p for p in equation.params.values() if isinstance(p, (core.ClosedJaxpr, core.Jaxpr)))
            body, constants = (inner.jaxpr, inner.consts) if isinstance(inner, core.ClosedJaxpr) else (inner, ())
            results = _lower(graph, body, [*map(known, constants), *given])
        elif _constant(equation, given):
            shapes = (atom.aval.shape for atom in equation.invars)
            wide = [np.broadcast_to(np.asarray(v.array), shape) for v, shape in zip(given, shapes, strict=True)]
            folded = equation.primitive.bind(*map(jax.numpy.asarray, wide), **equation.params)
            results = [known(part) for part in (folded if equation.primitive.multiple_results else [folded])]
        elif name in RULES:
            made = RULES[name](graph, equation, given)
            results = made if isinstance(made, list) else [made]
        else:
            raise FormatError(f"JAX's operation {name!r} is not supported in ONNX files; a .stablehlo file holds any")
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _needed(jaxpr: Any) -> list[Any]:
    """The equations that an output depends on, in order."""
    wanted = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if any(var in wanted for var in equation.outvars):
            kept.append(equation)
            wanted.update(atom for atom in equation.invars if not isinstance(atom, core.Literal))
    return kept[::-1]


def _constant(equation: Any, given: Sequence[Value]) -> bool:
    """Whether it can be computed now: nothing in it depends on the inputs, their number included."""
    sizes = [dim for var in (*equation.invars, *equation.outvars) for dim in var.aval.shape]
    symbols = any(not isinstance(dim, int) for dim in sizes)
    return not symbols and all(value.array is not None for value in given)
