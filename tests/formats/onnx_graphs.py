"""Small ONNX classifiers, written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; its tensors are separated by blanks, its domain stands before a colon."""
    domain, _, name = op.rpartition(":")
    return helper.make_node(
        name, inputs.split(), outputs.split(), name=f"{name}_{outputs}", domain=domain, **attributes
    )


def model(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str] | None],
    opset: int = 17,
    dtype: str = "float32",
    ir: int = 8,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """A valid model; the output "label" is of texts, and one without a shape is ZipMap's."""
    made = []
    for name, shape in outputs.items():
        if shape is None:
            made.append(zipped(name))
        else:
            made.append(
                helper.make_tensor_value_info(name, TensorProto.STRING if name == "label" else TYPES[dtype], shape)
            )
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(name, TYPES[dtype], shape) for name, shape in inputs.items()],
        made,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    ops = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    result = helper.make_model(graph, opset_imports=ops, ir_version=ir)
    helper.set_model_props(result, metadata or {})
    return result


def zipped(name: str, key: int = TensorProto.STRING) -> onnx.ValueInfoProto:
    """ZipMap's output: a dict of floats a sample."""
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    return helper.make_value_info(name, helper.make_sequence_type_proto(helper.make_map_type_proto(key, number)))


def run(file: Any, batch: dict[str, np.ndarray], *tensors: str) -> dict[str, Any]:
    """All outputs of a file, or these tensors, by ONNX Runtime as anyone would run it."""
    content = onnx.load(file) if not isinstance(file, onnx.ModelProto) else file
    known = {value.name for value in content.graph.output}
    content.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, batch), strict=True))


SOFTMAXES: dict[str, list[onnx.NodeProto]] = {
    "none": [node("Identity", "z", "y")],
    "softmax": [node("Softmax", "z", "y", axis=1)],
    "log softmax": [node("LogSoftmax", "z", "y", axis=1)],
    "written out": [
        node("ReduceMax", "z", "m", axes=[1], keepdims=1),
        node("Sub", "z m", "c"),
        node("Exp", "c", "e"),
        node("ReduceSum", "e", "s", axes=[1], keepdims=1),
        node("Div", "e s", "y"),
    ],
    "without maximum": [
        node("Exp", "z", "e"),
        node("ReduceSum", "e", "s", axes=[1], keepdims=1),
        node("Div", "e s", "y"),
    ],
}
"""Ways from scores z to an output y; before opset 13, where ReduceSum's axes are an attribute (`axes_as_inputs`)."""


def axes_as_inputs(nodes: list[onnx.NodeProto], opset: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """The same nodes as this opset wants them, and the constants for it."""
    made, weights = [], {}
    for old in nodes:
        new = onnx.NodeProto.FromString(old.SerializeToString())
        if (new.op_type == "ReduceSum" and opset >= 13) or (new.op_type == "ReduceMax" and opset >= 18):
            new.input.append(f"axes_{new.op_type}")
            weights[new.input[-1]] = np.array([1], np.int64)
            kept = [a for a in new.attribute if a.name != "axes"]
            del new.attribute[:]
            new.attribute.extend(kept)
        made.append(new)
    return made, weights


HEADS: dict[str, list[onnx.NodeProto]] = {
    "gemm": [node("Gemm", "f w b", "z")],
    "gemm turned": [node("Gemm", "f wt b", "z", transB=1)],
    "gemm scaled": [node("Gemm", "f w b", "z", alpha=0.3, beta=1.7)],
    "gemm without bias": [node("Gemm", "f w", "z")],
    "matmul": [node("MatMul", "f w", "p"), node("Add", "p b", "z")],
    "matmul, bias first": [node("MatMul", "f w", "p"), node("Add", "b p", "z")],
    "matmul without bias": [node("MatMul", "f w", "z")],
    "constant": [node("Identity", "wt", "i"), node("Transpose", "i", "v", perm=[1, 0]), node("Gemm", "f v b", "z")],
    "conv": [
        node("Unsqueeze", "f", "u", axes=[2, 3]),
        node("Conv", "u wc b", "q", kernel_shape=[1, 1]),
        node("Flatten", "q", "z"),
    ],
}
"""Ways from features f ``[n, d]`` to scores z."""


def two_layers(
    head: str, softmax: str, d: int = 6, k: int = 3, opset: int = 12, dtype: str = "float32", **more: Any
) -> Any:
    """Inputs x ``[n, 4]``, hidden features f ``[n, d]`` behind a Relu, a head of `HEADS`, an end of `SOFTMAXES`."""
    end, axes = axes_as_inputs(SOFTMAXES[softmax], opset)
    nodes = [node("Gemm", "x w0 b0", "h"), node("Relu", "h", "f"), *HEADS[head], *end]
    weights = {"w0": numbers(4, d, dtype=dtype), "b0": numbers(d, dtype=dtype), "w": numbers(d, k, dtype=dtype)}
    weights |= {"b": numbers(k, dtype=dtype), **axes}
    weights |= {
        "wt": np.ascontiguousarray(weights["w"].T),
        "wc": np.ascontiguousarray(weights["w"].T)[:, :, None, None],
    }
    if head == "conv" and opset >= 13:
        nodes[2] = node("Unsqueeze", "f a", "u")
        weights["a"] = np.array([2, 3], np.int64)
    used = {name for made in nodes for name in made.input}
    weights = {name: value for name, value in weights.items() if name in used}
    return model(nodes, weights, {"x": ["n", 4]}, {"y": ["n", k]}, opset, dtype, **more)
