"""Small ONNX files: heads and ends of every kind, label lists, and operators that can make much of a few bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from extend.formats.onnx import _loops
from extend.formats.onnx import model as onnx
from extend.formats.onnx.model import OnnxModel
from tests.formats.onnx_graphs import model, node, numbers, two_layers, zipped

__all__ = ["open", "write"]


def open(path: Path) -> OnnxModel:
    """Open it, and compute the features of one input of zeros, as `extend.load` does."""
    found = onnx.open(path)
    inputs = found.input if isinstance(found.input, dict) else {"": found.input}
    zeros = {name: np.zeros((1, *(size or 8 for size in one.shape)), one.dtype) for name, one in inputs.items()}
    found.features(zeros if isinstance(found.input, dict) else zeros[""])
    return found


def looped() -> ModelProto:
    """A loop of two rounds, one of as many as there are samples, and a sparse constant."""
    inner = [node("Identity", "c", "c2"), node("Relu", "v", "v2")]
    ends = [helper.make_tensor_value_info("c2", TensorProto.BOOL, []), helper.make_tensor_value_info("v2", 1, None)]
    given = [helper.make_tensor_value_info("i", TensorProto.INT64, [])]
    given += [helper.make_tensor_value_info("c", TensorProto.BOOL, []), helper.make_tensor_value_info("v", 1, None)]
    body = helper.make_graph(inner, "body", given, ends)
    made = model(
        [
            node("Loop", "two yes x", "a", body=body),
            node("Size", "x", "many"),
            node("Loop", "many yes a", "r", body=body),
            node("Add", "r sparse", "f"),
            node("MatMul", "f w", "z"),
        ],
        {"two": np.array(2), "yes": np.array(True), "w": numbers(4, 3)},
        {"x": ["n", 4]},
        {"z": ["n", 3]},
    )
    values = numpy_helper.from_array(numbers(2), "sparse")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([0, 2])), [4])
    made.graph.sparse_initializer.append(sparse)
    return made


def write(folder: Path) -> list[Path]:
    """Models of every kind of head and of operators that can do much for a few bytes."""
    labels = [
        node("ArgMax", "y", "best", axis=1, keepdims=0),
        node("ai.onnx.ml:LabelEncoder", "best", "label", keys_int64s=[0, 1, 2], values_strings=["a", "b", "c"]),
        node("ai.onnx.ml:ZipMap", "y", "map", classlabels_strings=["a", "b", "c"]),
    ]
    named = two_layers("gemm", "softmax", metadata={"names": "{0: 'a', 1: 'b', 2: 'c'}"})
    named.graph.node.extend(labels)
    del named.graph.output[:]
    named.graph.output.extend([helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]), zipped("map")])
    picture = model(
        [
            node("Conv", "x w0 b0", "h", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", "h", "f"),
            node("Conv", "f w b", "q", kernel_shape=[1, 1]),
            node("GlobalAveragePool", "q", "p"),
            node("Flatten", "p", "z"),
            node("Softmax", "z", "y", axis=1),
        ],
        {"w0": numbers(4, 3, 3, 3), "b0": numbers(4), "w": numbers(5, 4, 1, 1), "b": numbers(5)},
        {"x": [1, 3, 8, 8]},
        {"y": [1, 5]},
    )
    classifier = model(
        [
            node("ai.onnx.ml:Scaler", "x", "f", offset=[0.0] * 4, scale=[1.0] * 4),
            node(
                "ai.onnx.ml:LinearClassifier",
                "f",
                "label y",
                coefficients=numbers(12).tolist(),
                intercepts=numbers(3).tolist(),
                classlabels_strings=["a", "b", "c"],
                post_transform="SOFTMAX",
            ),
        ],
        {},
        {"x": ["n", 4]},
        {"label": ["n"], "y": ["n", 3]},
    )
    large = model(
        [
            node("ConstantOfShape", "shape", "ones"),
            node("Expand", "x shape", "big"),
            node("Tile", "big times", "tiled"),
            node("Add", "tiled ones", "added"),
            node("Pad", "added pads", "padded"),
            node("ReduceMean", "padded", "f", axes=[0], keepdims=0),
            node("MatMul", "f w", "p"),
            node("Add", "p b", "z"),
        ],
        {
            "shape": np.array([2, 1, 4], np.int64),
            "times": np.array([1, 1, 1], np.int64),
            "pads": np.zeros(6, np.int64),
            "w": numbers(4, 3),
            "b": numbers(3),
        },
        {"x": [1, 4]},
        {"z": [1, 3]},
        opset=13,
    )
    branch = two_layers("matmul", "written out", opset=13)
    inner = [
        helper.make_graph([node(op, "h", "r")], op, [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)])
        for op in ("Relu", "Abs")
    ]
    condition = node("Constant", "", "yes", value=helper.make_tensor("c", TensorProto.BOOL, [], [True]))
    branch.graph.node[1].CopyFrom(node("If", "yes", "f", then_branch=inner[0], else_branch=inner[1]))
    branch.graph.node.insert(1, condition)
    _loops.SECONDS = 5.0  # A loop that a mutant makes endless is to end before the fuzzer's own patience does.
    files = []
    for number, made in enumerate((named, picture, classifier, large, branch, looped())):
        files.append(folder / f"model-{number}.onnx")
        files[-1].write_bytes(made.SerializeToString())
    return files
