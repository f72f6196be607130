"""Operations on tensors that a model of Keras 2 holds as layers (`TFOpLambda`), as operations and layers of Keras 3.

``x / 127.5 - 1`` and what else `keras.applications` does to pixels is written by TensorFlow 2.4 to 2.15 as layers that
name a function. The functions of this table, and no others, are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from extend.core.errors import FormatError

Config: TypeAlias = dict[str, Any]
Made: TypeAlias = tuple[str, str, Config, list[Any]]
"""Module, class, config, and what the operation is called with."""

KINDS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod")
NUMPY, CORE, LAYERS = "keras.src.ops.numpy", "keras.src.ops.core", "keras.layers"


def operation(entry: Config, nodes: list[Any], tensor: Callable[[Any], Any]) -> Config | None:
    """Return the entry of Keras 3 for a layer that is an operation on tensors; None for any other layer.

    Parameters
    ----------
    entry
        The layer.
    nodes
        Its calls.
    tensor
        What Keras 3 has for a tensor, a constant, or a list of both.

    Raises
    ------
    FormatError
        If the operation is not one of the table; the message names it.
    """
    if entry["class_name"] not in KINDS:
        return None
    config = entry["config"]
    if entry["class_name"] == "TensorFlowOpLayer":
        function, nodes = _node_def(config, nodes)
    else:
        function = str(config.get("function"))
    name = config["name"]
    if function not in TABLE:
        raise FormatError(
            f"layer {name!r}: TensorFlow's {function[:80]} is not among the operations that are read; "
            "build the model without it, or give features as a function to extend.wrap"
        )
    calls, made = [], None
    for node in nodes:
        first = [tensor(part) for part in node]
        given = node[-1][3] if len(node[-1]) > 3 else {}
        arguments = {key: tensor(value) for key, value in given.items() if key != "name" and value is not None}
        made = TABLE[function](first if len(first) > 1 else first[0], arguments)
        calls.append({"args": made[3], "kwargs": {}})
    if made is None:
        raise FormatError(f"layer {name!r} is not called")
    module, kind, options, _ = made
    registered = None if module == LAYERS else kind
    config = options | {"name": name}
    return {
        "module": module,
        "class_name": kind,
        "config": config,
        "registered_name": registered,
        "inbound_nodes": calls,
    }


def _node_def(config: Config, nodes: list[Any]) -> tuple[str, list[Any]]:
    """The function and the calls of an operation as TensorFlow 1.13 to 2.3 writes it: with a graph node of its own."""
    text, constants = config.get("node_def"), config.get("constants") or {}
    kind = text.get("op") if isinstance(text, dict) else None
    if isinstance(text, str) and (found := re.search(r'^op: "(\w+)"', text, re.M)):
        kind = found[1]
    names = {"RealDiv": "truediv", "Sub": "subtract", "Mul": "multiply", "AddV2": "add", "Add": "add", "Relu": "relu"}
    for node in nodes:
        for place, value in sorted((int(place), value) for place, value in constants.items()):
            node.insert(place, ["_CONSTANT_VALUE", -1, value, {}])
    if kind == "BiasAdd":
        kind = "AddV2"
    turned = [[[*node[0][:3], {"y": node[1][:3] if node[1][1] >= 0 else node[1][2]}]] if len(node) == 2 else node
              for node in nodes]  # fmt: skip
    return f"math.{names.get(str(kind), kind)}", turned


def _binary(kind: str) -> Callable[[Any, Config], Made]:
    def made(first: Any, given: Config) -> Made:
        pair = first if _is_pair(first) else [first, given.get("y", given.get("bias"))]
        return NUMPY, kind, {}, [_array(part) if isinstance(part, list) else part for part in pair]

    return made


def _array(value: list[Any]) -> Config:
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and any(isinstance(part, dict) for part in value)


def _unary(kind: str) -> Callable[[Any, Config], Made]:
    return lambda first, given: (NUMPY, kind, {}, [first])


def _reduction(kind: str) -> Callable[[Any, Config], Made]:
    def made(first: Any, given: Config) -> Made:
        return NUMPY, kind, {"axis": given.get("axis"), "keepdims": bool(given.get("keepdims"))}, [first]

    return made


def _activation(name: str) -> Callable[[Any, Config], Made]:
    return lambda first, given: (LAYERS, "Activation", {"activation": name}, [given.get("features", first)])


def _softmax(first: Any, given: Config) -> Made:
    return LAYERS, "Softmax", {"axis": given.get("axis", -1)}, [first]


def _clip(first: Any, given: Config) -> Made:
    return NUMPY, "Clip", {"x_min": given["clip_value_min"], "x_max": given["clip_value_max"]}, [first]


def _cast(first: Any, given: Config) -> Made:
    return CORE, "Cast", {"dtype": given["dtype"]}, [first]


def _concat(first: Any, given: Config) -> Made:
    return LAYERS, "Concatenate", {"axis": given["axis"]}, [first]


def _resize(first: Any, given: Config) -> Made:
    height, width = given["size"]
    options = {"height": height, "width": width, "interpolation": given.get("method", "bilinear")}
    if given.get("antialias") or given.get("preserve_aspect_ratio"):
        raise FormatError("an operation resizes pictures with antialias or preserve_aspect_ratio, which is not read")
    return LAYERS, "Resizing", options, [first]


def _slice(first: Any, given: Config) -> Made:
    key = [_slice_part(part) for part in given["slice_spec"]]
    return NUMPY, "GetItem", {}, [first, key]


def _slice_part(part: Any) -> Any:
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(part, dict):
        return {"class_name": "__slice__", "config": {key: part.get(key) for key in ("start", "stop", "step")}}
    return part


TABLE: dict[str, Callable[[Any, Config], Made]] = {
    **dict.fromkeys(("math.truediv", "math.divide", "__operators__.truediv"), _binary("TrueDivide")),
    **dict.fromkeys(("math.add", "__operators__.add", "nn.bias_add"), _binary("Add")),
    **dict.fromkeys(("math.subtract", "__operators__.sub"), _binary("Subtract")),
    **dict.fromkeys(("math.multiply", "__operators__.mul"), _binary("Multiply")),
    **dict.fromkeys(("math.pow", "__operators__.pow"), _binary("Power")),
    "math.maximum": _binary("Maximum"),
    "math.minimum": _binary("Minimum"),
    **dict.fromkeys(("math.negative", "__operators__.neg"), _unary("Negative")),
    **dict.fromkeys(("math.abs", "abs"), _unary("Absolute")),
    "math.square": _unary("Square"),
    "math.sqrt": _unary("Sqrt"),
    "math.exp": _unary("Exp"),
    "math.log": _unary("Log"),
    "math.reduce_mean": _reduction("Mean"),
    "math.reduce_sum": _reduction("Sum"),
    "math.reduce_max": _reduction("Max"),
    "math.reduce_min": _reduction("Min"),
    **dict.fromkeys(("nn.relu", "math.relu"), _activation("relu")),
    "nn.relu6": _activation("relu6"),
    **dict.fromkeys(("nn.sigmoid", "math.sigmoid"), _activation("sigmoid")),
    **dict.fromkeys(("nn.tanh", "math.tanh"), _activation("tanh")),
    **dict.fromkeys(("identity", "stop_gradient"), _activation("linear")),
    "nn.softmax": _softmax,
    "clip_by_value": _clip,
    "cast": _cast,
    "concat": _concat,
    "image.resize": _resize,
    "__operators__.getitem": _slice,
}
"""TensorFlow's functions by the names in a file."""
