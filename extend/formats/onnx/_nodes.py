"""An ONNX graph with its edges looked up, and its nodes and tensors read as plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extend.core.errors import FormatError


@dataclass
class View:
    """A graph with its edges looked up once."""

    graph: Any
    opset: int
    frozen_inputs: bool
    initializers: dict[str, Any] = field(default_factory=dict)
    producer: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    outputs: set[str] = field(default_factory=set)
    inputs: set[str] = field(default_factory=set)
    captures: dict[int, set[str]] = field(default_factory=dict)
    known: dict[tuple[str, int], np.ndarray | None] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> View:
        """The edges of a ModelProto's main graph; what a subgraph captures counts as consumed by its node."""
        opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        view = cls(model.graph, opset, model.ir_version < 4)
        view.outputs = {output.name for output in model.graph.output}
        view.inputs = {value.name for value in model.graph.input}
        view.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        for place, node in enumerate(model.graph.node):
            if inner := captured(node):
                view.captures[place] = inner
            for name in {*node.input, *inner} - {""}:
                view.consumers[name].append(place)
            for name in node.output:
                view.producer[name] = place
        return view

    def constant(self, name: str, deep: int = 8) -> np.ndarray | None:
        """The value of a tensor that does not depend on the inputs, looking through Identity and Transpose."""
        if (name, deep) not in self.known:
            self.known[name, deep] = self._constant(name, deep)
        return self.known[name, deep]

    def _constant(self, name: str, deep: int) -> np.ndarray | None:
        if name in self.initializers:
            return tensor_value(self.initializers[name])
        if name not in self.producer or deep == 0:
            return None
        node = self.graph.node[self.producer[name]]
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    return tensor_value(attribute.t)
            given = attributes(node)
            for key in ("value_float", "value_floats", "value_int", "value_ints"):
                if key in given:
                    return np.asarray(given[key], np.float32 if "float" in key else np.int64)
            strings = given.get("value_strings")
            return None if strings is None else np.asarray(strings, object)
        if node.op_type in ("Identity", "Transpose") and node.input:
            value = self.constant(node.input[0], deep - 1)
            if value is None or node.op_type == "Identity":
                return value
            order = attributes(node).get("perm", list(range(value.ndim))[::-1])
            return value.transpose(order) if sorted(order) == list(range(value.ndim)) else None
        return None

    def axes(self, node: Any) -> list[int] | None:
        """The axes of a Reduce or Squeeze, which are an attribute or, in newer opsets, an input."""
        given = attributes(node).get("axes")
        if given is None and len(node.input) > 1 and node.input[1]:
            value = self.constant(node.input[1])
            given = None if value is None else [int(v) for v in value.ravel()]
        return given

    def overridable(self, name: str) -> bool:
        """Whether a caller may give another value for an initialiser."""
        return not self.frozen_inputs and name in self.inputs


def called(node: Any) -> str:
    """Return how a message names a node."""
    return f"node {node.name or (node.output[0] if node.output else '?')!r} ({node.op_type})"


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's numbers, texts and lists of them; tensors and graphs are left out.

    Raises
    ------
    FormatError
        If an attribute is of no valid type.
    """
    from onnx import AttributeProto, helper

    plain = {AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING}
    plain |= {AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS}
    try:
        return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in plain}
    except (ValueError, TypeError) as error:
        raise FormatError(f"{called(node)}: an attribute cannot be read ({error})") from error


def tensor_value(tensor: Any) -> np.ndarray:
    """Return a TensorProto as an array; texts as an object array.

    Raises
    ------
    FormatError
        If its data do not fit its shape or type.
    """
    from onnx import numpy_helper

    try:
        value = numpy_helper.to_array(tensor)
        if tuple(value.shape) != tuple(tensor.dims):
            raise FormatError(f"shape {list(value.shape)}, declared {list(tensor.dims)}")
    except Exception as error:  # numpy_helper lets NumPy's and Python's own errors through.
        raise FormatError(f"tensor {tensor.name!r} cannot be read ({error})") from error
    return value


def graphs_of(node: Any) -> Iterator[Any]:
    """Yield the subgraphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(node: Any) -> set[str]:
    """Return the names that a node's subgraphs may read from outside."""
    names: set[str] = set()
    for graph in graphs_of(node):
        for inner in graph.node:
            names |= {*inner.input, *captured(inner)}
        names |= {output.name for output in graph.output}
    return names


def labels_of(node: Any, *names: str) -> tuple[int | str, ...]:
    """Return the first of these attributes that holds labels, or none."""
    given = attributes(node)
    for name in names:
        if values := given.get(name):
            return texts(node, values)
    return ()


def texts(node: Any, values: Any) -> tuple[int | str, ...]:
    """Return labels as Python's own integers and texts.

    Raises
    ------
    FormatError
        If a text is not UTF-8.
    """
    try:
        return tuple(v.decode() if isinstance(v, bytes) else v if isinstance(v, str) else int(v) for v in values)
    except (UnicodeDecodeError, ValueError, TypeError, OverflowError) as error:
        raise FormatError(f"{called(node)}: a label cannot be read ({error})") from error


def set_attributes(node: Any, **values: Any) -> None:
    """Replace attributes; an empty list removes one."""
    from onnx import helper

    for name, value in values.items():
        for at in reversed(range(len(node.attribute))):
            if node.attribute[at].name == name:
                del node.attribute[at]
        if value != []:
            node.attribute.append(helper.make_attribute(name, value))
