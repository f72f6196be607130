"""ONNX: heads found and widened in graphs of every origin; ONNX Runtime is the judge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import extend
from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.onnx import _file
from extend.formats.onnx import model as onnx_
from extend.formats.onnx.model import OnnxModel
from extend.heads import LinearHead
from tests.formats.onnx_graphs import HEADS, SOFTMAXES, model, node, numbers, run, two_layers, zipped
from tests.formats.text_lines import SEEN, UNSEEN, WORDS, model_file, turned_lines
from tests.fuzz.run import fuzz


def write(folder: Path, content: onnx.ModelProto, name: str = "model.onnx") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content.SerializeToString())
    return folder / name


def wider(head: DenseHead, count: int = 2, seed: int = 1) -> DenseHead:
    """The same columns and others, whose scores are of the same size."""
    d, dtype = head.kernel.shape[0], head.kernel.dtype
    kernel = np.concatenate([head.kernel, numbers(d, count, seed=seed, dtype=dtype.name)], axis=1)
    return DenseHead(kernel, np.append(head.bias, numbers(count, seed=seed).astype(dtype)), head.activation)


def names(opened: OnnxModel, *new: str) -> tuple[str, ...]:
    return (*(opened.classes or map(str, range(opened.head.num_classes))), *new)


def batch(opened: OnnxModel, n: int = 7, seed: int = 3) -> np.ndarray:
    assert not isinstance(opened.input, dict)
    return numbers(n, *(size or 8 for size in opened.input.shape), seed=seed, dtype=opened.input.dtype.name)


def scores(file: Path, opened: OnnxModel, x: np.ndarray) -> np.ndarray:
    """The logits in ONNX Runtime, as the whole graph computes them, ``[n, k]``, or ``[n, height, width, k]``."""
    found = run(file, {onnx.load(file).graph.input[0].name: x}, opened.place.scores)[opened.place.scores]
    found = np.moveaxis(found, 1, -1)
    return found if found[0].size > found.shape[-1] else found.reshape(len(found), -1)


def check(file: Path, new: tuple[str, ...] = ("new", "newer"), n: int = 7) -> tuple[OnnxModel, OnnxModel]:
    """Open, widen, open again: old logits have the old bits, and the engine's features give the new logits."""
    opened = onnx_.open(file)
    head, out, x = wider(opened.head, len(new)), file.with_name("wider.onnx"), batch(opened, n)
    before = scores(file, opened, x)
    content = file.read_bytes()
    opened.save(out, head, names(opened, *new))
    assert file.read_bytes() == content
    again = onnx_.open(out)
    after = scores(out, again, x)
    k = before.shape[-1]
    if opened.place.single:
        assert k == 1 and not after[..., 0].any()
        np.testing.assert_array_equal(after[..., 1:2], before)
    else:
        assert k == opened.head.num_classes
        np.testing.assert_array_equal(after[..., :k], before)
    after = after.reshape(len(x), -1, after.shape[-1]).mean(axis=1)
    by_features = again.features(x) @ again.head.kernel + again.head.bias
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[head.kernel.dtype.name]
    np.testing.assert_allclose(after, by_features, rtol=tolerance, atol=tolerance * abs(after).max())
    np.testing.assert_array_equal(again.head.kernel, head.kernel)
    np.testing.assert_array_equal(again.head.bias, head.bias)
    assert (again.classes, again.fingerprint) == (names(opened, *new), opened.fingerprint)
    assert again.head.activation == opened.head.activation
    return opened, again


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_every_head_before_every_softmax(tmp_path: Path, head: str, softmax: str) -> None:
    file = write(tmp_path, two_layers(head, softmax))
    opened, again = check(file)
    x = batch(opened)
    shares = run(file.with_name("wider.onnx"), {"x": x})["y"]
    z = scores(file.with_name("wider.onnx"), again, x).astype(np.float64)
    expected = {"none": z, "log softmax": z - np.log(np.exp(z).sum(1, keepdims=True))}
    np.testing.assert_allclose(
        shares, expected.get(softmax, np.exp(z) / np.exp(z).sum(1, keepdims=True)), rtol=1e-5, atol=1e-6
    )


DTYPES = [(head, dtype) for head in ("gemm turned", "matmul", "conv") for dtype in ("float16", "float32", "float64")]


@pytest.mark.parametrize(("head", "dtype"), DTYPES[:-1])  # ONNX Runtime has no float64 convolution on the CPU.
def test_bits_of_old_logits_over_shapes(tmp_path: Path, dtype: str, head: str) -> None:
    """Shapes at which one matrix of more columns does change old bits (float64 and convolutions; see onnx_widen)."""
    rng = np.random.default_rng(0)
    for trial in range(12):
        d, k = int(rng.choice([3, 129, 257, 512])), int(rng.integers(2, 60))
        made = two_layers(head, "softmax", d, k, dtype=dtype)
        opened, again = check(write(tmp_path, made), tuple("abcdefghi"[: 1 + trial % 9]), n=int(rng.choice([1, 5, 33])))
        assert again.head.kernel.dtype == opened.head.kernel.dtype == np.dtype(dtype)
        in_place = dtype != "float64" and head != "conv"
        assert (again.place.concat is None) == in_place


@pytest.mark.parametrize("head", ["gemm scaled", "matmul", "conv"])
def test_extending_again_and_again_and_removing(tmp_path: Path, head: str) -> None:
    dtype = "float32" if head == "conv" else "float64"
    file = write(tmp_path, two_layers(head, "softmax", 129, 5, dtype=dtype))
    first, second = check(file)
    out = file.with_name("wider.onnx")
    x = batch(first, 33)
    one, two = scores(file, first, x), scores(out, second, x)
    third = tmp_path / "third.onnx"
    head_ = wider(second.head, 3, seed=8)
    second.save(third, head_, names(second, "c", "d", "e"))
    opened = onnx_.open(third)
    assert len(opened.place.blocks) == 3 and opened.classes == names(second, "c", "d", "e")
    now = scores(third, opened, x)
    np.testing.assert_array_equal(now[:, :5], one)
    np.testing.assert_array_equal(now[:, :7], two)
    keep = [0, 2, 6, 9]
    fewer = DenseHead(head_.kernel[:, keep], head_.bias[keep])
    assert opened.classes is not None
    opened.save(out, fewer, tuple(opened.classes[i] for i in keep))
    less = onnx_.open(out)
    assert len(less.place.blocks) == 1 and less.classes == tuple(opened.classes[i] for i in keep)
    np.testing.assert_allclose(scores(out, less, x), now[:, keep], rtol=1e-5, atol=1e-5)
    assert less.fingerprint == first.fingerprint
    assert len(less.model.graph.initializer) == len(first.model.graph.initializer)  # Nothing is left lying about.


@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_opsets(tmp_path: Path, opset: int) -> None:
    made = two_layers("conv", "written out", opset=opset, ir=min(10, onnx.IR_VERSION))
    file = write(tmp_path, made)
    if opset > NEWEST:
        with pytest.raises(FormatError, match=r"ONNX Runtime cannot run this model .*opset"):
            onnx_.open(file)
        return
    check(file)
    made = two_layers("matmul", "without maximum", opset=opset, ir=7)
    check(write(tmp_path, made))


def newest_opset() -> int:
    """The newest that this ONNX Runtime takes; older ones must all open."""
    for opset in range(onnx.defs.onnx_opset_version(), 20, -1):
        try:
            run(two_layers("matmul", "softmax", opset=opset, ir=10), {"x": numbers(1, 4)})
        except Exception:  # What ONNX Runtime raises has no common base.
            continue
        return opset
    raise AssertionError("no opset from 21 runs")


NEWEST = newest_opset()


def test_files_that_list_weights_among_their_inputs(tmp_path: Path) -> None:
    """Before IR version 4 every initialiser was an input too, and from then on this means that it may be overridden."""
    for ir in (3, 8):
        made = two_layers("matmul", "softmax", 6, 3, opset=9, ir=ir)
        for tensor in made.graph.initializer:
            made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        _, again = check(write(tmp_path, made))
        assert (again.place.concat is None) == (ir == 3)
        listed = {
            value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in again.model.graph.input
        }
        assert all(listed.get(t.name, list(t.dims)) == list(t.dims) for t in again.model.graph.initializer)


def test_a_convolution_before_the_pooling_is_pooled_before(tmp_path: Path) -> None:
    weights = {"w0": numbers(4, 3, 3, 3), "w": numbers(5, 4, 1, 1), "b": numbers(5)}
    start = [node("Conv", "x w0", "h", kernel_shape=[3, 3]), node("Relu", "h", "f"), node("Conv", "f w b", "q")]
    end = [
        node("GlobalAveragePool", "q", "p"),
        node("Squeeze", "p", "z", axes=[2, 3]),
        node("Softmax", "z", "y", axis=1),
    ]
    shapes: Any = ({"x": [2, 3, 8, 8]}, {"y": [2, 5]}, 11)
    opened, _ = check(write(tmp_path, model([*start, *end], weights, *shapes)), n=2)
    assert opened.features(numbers(5, 3, 8, 8)).shape == (5, 4)  # Two at a time.
    assert opened.input.picture == (8, 8, 3)
    end.insert(0, node("Relu", "q", "r"))
    end[1] = node("GlobalAveragePool", "r", "p")
    with pytest.raises(FormatError, match=r"'Relu_r' \(Relu\) follows the scores"):
        onnx_.open(write(tmp_path, model([*start, *end], weights, *shapes)))
    whole = model([*start, node("Softmax", "q", "y", axis=1)], weights, {"x": [2, 3, 8, 8]}, {"y": [2, 5, 6, 6]}, 11)
    with pytest.raises(FormatError, match=r"the head reads \[2, 4, 6, 6\].*one vector a sample"):
        onnx_.open(write(tmp_path, whole)).features(numbers(2, 3, 8, 8))


def test_batches_of_a_fixed_size_are_filled_up(tmp_path: Path) -> None:
    made = two_layers("gemm", "softmax")
    free = onnx_.open(write(tmp_path, made))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    fixed = onnx_.open(write(tmp_path, made))
    for n in (0, 1, 4, 11):
        np.testing.assert_array_equal(fixed.features(numbers(n, 4)), free.features(numbers(n, 4)))


def test_several_inputs(tmp_path: Path) -> None:
    nodes = [node("Concat", "a b", "f", axis=1), node("Gemm", "f w", "z")]
    made = model(nodes, {"w": numbers(5, 2)}, {"a": ["n", 2], "b": ["n", 3]}, {"z": ["n", 2]})
    opened = onnx_.open(write(tmp_path, made))
    a, b = numbers(4, 2), numbers(4, 3)
    assert opened.input["a"].shape == (2,)
    np.testing.assert_array_equal(opened.features({"a": a, "b": b}), np.concatenate([a, b], axis=1))
    for wrong in (a, {"a": a}, {"a": a, "b": b[:2]}, {"a": a, "b": numbers(4, 4)}):
        with pytest.raises(FormatError):
            opened.features(wrong)


def test_a_weight_that_two_nodes_share_is_left_to_the_other(tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "f"), node("MatMul", "f w", "z")]
    file = write(tmp_path, model(nodes, {"w": numbers(4, 4)}, {"x": ["n", 4]}, {"z": ["n", 4]}))
    _, again = check(file)
    kept = next(t for t in again.model.graph.initializer if t.name == "w")
    np.testing.assert_array_equal(numpy_helper.to_array(kept), numbers(4, 4))


def test_a_subgraph_before_the_head(tmp_path: Path) -> None:
    made = two_layers("gemm", "softmax", opset=13)
    branches = [
        helper.make_graph([node(op, "h", "r")], op, [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)])
        for op in ("Relu", "Abs")
    ]
    made.graph.node[1].CopyFrom(node("If", "yes", "f", then_branch=branches[0], else_branch=branches[1]))
    made.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    check(write(tmp_path, made))


def two_classes(opset: int = 13, pair: bool = True) -> onnx.ModelProto:
    nodes = [node("Gemm", "x w b", "z"), node("Sigmoid", "z", "y")]
    if pair:
        nodes += [node("Sub", "one y", "q"), node("Concat", "q y", "both", axis=1)]
        nodes += [node("ArgMax", "both", "best", axis=1, keepdims=0), node("Gather", "names best", "label")]
    weights: dict[str, np.ndarray] = {"w": numbers(4, 1), "b": numbers(1)}
    if pair:
        weights |= {"one": np.float32(1), "names": np.array(["no", "yes"], object)}
    outputs: dict[str, Any] = {"both": ["n", 2], "label": ["n"]} if pair else {"y": ["n", 1]}
    return model(nodes, weights, {"x": ["n", 4]}, outputs, opset)


@pytest.mark.parametrize("pair", [True, False])
def test_one_sigmoid_unit_becomes_two_columns_of_a_softmax(tmp_path: Path, pair: bool) -> None:
    file = write(tmp_path, two_classes(pair=pair))
    opened = onnx_.open(file)
    assert opened.head.kernel.shape == (4, 2) and not opened.head.kernel[:, 0].any() and not opened.head.bias[0]
    _, again = check(file, ("perhaps",))
    x, name = batch(opened), "both" if pair else "y"
    old, new = run(file, {"x": x})[name], run(file.with_name("wider.onnx"), {"x": x})
    assert new[name].shape == (7, 3)
    of_two = new[name][:, 1] / new[name][:, :2].sum(axis=1)
    np.testing.assert_allclose(of_two, old[:, -1], rtol=1e-5)  # The old two keep their odds.
    if pair:
        assert again.classes == ("no", "yes", "perhaps")
        assert new["label"].tolist() == [("no", "yes", "perhaps")[i] for i in new["both"].argmax(axis=1)]
    changed = DenseHead(opened.head.kernel * 2, opened.head.bias * 2)
    opened.save(file, changed, names(opened))
    assert run(file, {"x": x})[name].shape == old.shape  # Two classes stay in one unit.
    np.testing.assert_array_equal(onnx_.open(file).head.kernel, changed.kernel)


def test_several_sigmoids_stay_sigmoids(tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w b", "z"), node("Sigmoid", "z", "y")]
    made = model(nodes, {"w": numbers(4, 3), "b": numbers(3)}, {"x": ["n", 4]}, {"y": ["n", 3]})
    opened, _ = check(write(tmp_path, made))
    assert opened.head.activation == "sigmoid"
    with pytest.raises(FormatError, match="sigmoid"):
        opened.save(tmp_path / "y.onnx", DenseHead(opened.head.kernel, opened.head.bias), names(opened))


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("names", "{0: 'cat', 1: 'dog', 2: 'eel'}", "{0: 'cat', 1: 'dog', 2: 'eel', 3: 'fox', 4: 'gnu'}"),
        ("labels", '["cat", "dog", "eel"]', '["cat", "dog", "eel", "fox", "gnu"]'),
        (
            "id2label",
            '{"0": "cat", "1": "dog", "2": "eel"}',
            '{"0": "cat", "1": "dog", "2": "eel", "3": "fox", "4": "gnu"}',
        ),
        ("character", "cat\ndog\neel\n", "cat\ndog\neel\nfox\ngnu\n"),
        ("Classes", "cat, dog, eel", "cat, dog, eel, fox, gnu"),
    ],
)
def test_names_in_metadata(tmp_path: Path, key: str, before: str, after: str) -> None:
    other = {"author": "cat, dog, eel"}
    opened = onnx_.open(write(tmp_path, two_layers("gemm", "softmax", metadata={key: before, **other})))
    assert opened.classes == ("cat", "dog", "eel")
    _, again = check(opened.path, ("fox", "gnu"))
    assert {item.key: item.value for item in again.model.metadata_props} == {key: after, **other}
    if before[0] == "c":
        with pytest.raises(FormatError, match="cannot hold these class names"):
            opened.save(opened.path, wider(opened.head), names(opened, "a, b\nc", "d"))


def labelled(lookup: list[onnx.NodeProto], weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    made = two_layers("gemm", "softmax")
    made.graph.node.extend([node("ArgMax", "y", "best", axis=1, keepdims=0), *lookup])
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (weights or {}).items())
    made.graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]))
    return made


ML = "ai.onnx.ml"
LOOKUPS: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "gather": ([node("Gather", "list best", "label")], {"list": np.array(["a", "b", "c"], object)}),
    "extractor": (
        [node(f"{ML}:ArrayFeatureExtractor", "list best", "r"), node("Reshape", "r flat", "label")],
        {"list": np.array([["a", "b", "c"]], object), "flat": np.array([-1], np.int64)},
    ),
    "encoder": (
        [node(f"{ML}:LabelEncoder", "best", "label", keys_int64s=[2, 0, 1], values_strings=["c", "a", "b"])],
        {},
    ),
    "two": (
        [
            node("Gather", "list best", "n"),
            node(f"{ML}:LabelEncoder", "n", "label", keys_int64s=[7, 9, 5], values_strings=["a", "b", "c"]),
        ],
        {"list": np.array([7, 9, 5], np.int64)},
    ),
}


@pytest.mark.parametrize("kind", LOOKUPS)
def test_label_lists(tmp_path: Path, kind: str) -> None:
    file = write(tmp_path, labelled(*LOOKUPS[kind]))
    opened, again = check(file)
    assert opened.classes == ("a", "b", "c")
    x = batch(opened, 60)
    new = run(file.with_name("wider.onnx"), {"x": x})
    assert new["label"].tolist() == [(again.classes or ())[i] for i in new["y"].argmax(axis=1)]
    assert {"new", "newer"} & set(new["label"].tolist())


def test_integer_labels_want_integer_names(tmp_path: Path) -> None:
    made = two_layers("gemm", "softmax")
    made.graph.node.append(node(f"{ML}:ZipMap", "y", "map", classlabels_int64s=[3, 5, 8]))
    made.graph.output.append(zipped("map", TensorProto.INT64))
    file = write(tmp_path, made)
    _, again = check(file, ("13", "21"))
    assert again.classes == ("3", "5", "8", "13", "21")
    assert set(run(file.with_name("wider.onnx"), {"x": numbers(1, 4)})["map"][0]) == {3, 5, 8, 13, 21}
    with pytest.raises(FormatError, match="names its classes with integers; 'cat' is none"):
        again.save(file, wider(again.head, 1), names(again, "cat"))
    with pytest.raises(FormatError, match="two classes alike"):
        again.save(file, wider(again.head, 1), names(again, "08"))


SKLEARN: dict[str, Callable[[], ClassifierMixin]] = {
    "logistic regression": lambda: LogisticRegression(),
    "pipeline": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "network": lambda: MLPClassifier((8,), max_iter=20, random_state=0),
    "support vectors": lambda: LinearSVC(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("kind", [2, 3, "text"])
@pytest.mark.parametrize("name", SKLEARN)
def test_what_skl2onnx_writes(tmp_path: Path, name: str, kind: int | str, zipmap: bool) -> None:
    from skl2onnx import to_onnx

    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    y = np.digitize(x[:, 0], [-0.4, 0.4] if kind != 2 else [0.0])
    labels: np.ndarray = np.array(["ape", "bee", "cat"])[y] if kind == "text" else y
    trained = SKLEARN[name]().fit(x, labels)
    options = {"zipmap": zipmap} if name != "support vectors" else None
    made = to_onnx(trained, x[:1], options=options and {id(trained): options})
    file = write(tmp_path, made)
    opened = onnx_.open(file)
    assert opened.classes == tuple(map(str, trained.classes_))
    new = "dog" if kind == "text" else str(len(trained.classes_))
    head = wider(opened.head, 1)
    head.bias[-1] = 0.3
    out = tmp_path / "wider.onnx"
    opened.save(out, head, names(opened, new))
    again = onnx_.open(out)
    assert again.classes == names(opened, new) and again.fingerprint == opened.fingerprint
    np.testing.assert_array_equal(again.head.kernel, head.kernel)
    logits = opened.features(x) @ head.kernel + head.bias
    answer = run(out, {"X": x})
    label, share = answer.values()
    if isinstance(share, list):
        share = np.array([[row[type(label[0])(c)] for c in again.classes] for row in share], np.float32)
    if name == "support vectors":
        np.testing.assert_allclose(share, logits, rtol=1e-5, atol=1e-5)
        old = run(file, {"X": x}, opened.place.scores)[opened.place.scores]
        np.testing.assert_array_equal(share[:, :-1], old)  # Bit by bit.
    else:
        expected = np.exp(logits.astype(np.float64))
        np.testing.assert_allclose(share, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
        before = trained.predict_proba(x)
        np.testing.assert_allclose(
            share[:, :-1] / share[:, :-1].sum(axis=1, keepdims=True), before, rtol=1e-3, atol=1e-5
        )
    assert [str(one) for one in label] == [again.classes[i] for i in logits.argmax(axis=1)]
    assert new in set(map(str, label))


TORCH = """
import sys, torch, warnings
warnings.simplefilter("ignore")
torch.manual_seed(0)
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(8, 5)
    def forward(self, x):
        return torch.softmax(self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3))), 1)
net, x = Net().eval(), torch.randn(2, 3, 12, 12)
torch.onnx.export(net, (x,), sys.argv[1], dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
torch.onnx.export(net, (x,), sys.argv[2], dynamo=True, dynamic_shapes=({0: torch.export.Dim("n")},))
"""

KERAS = """
import sys, warnings
warnings.simplefilter("ignore")
import keras, numpy
keras.utils.set_random_seed(0)
net = keras.Sequential([keras.Input((12, 12, 3)), keras.layers.Conv2D(6, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, activation="softmax")])
net(numpy.zeros((1, 12, 12, 3), "float32"))
net.export(sys.argv[1], format="onnx", verbose=False)
"""


def script(source: str, *files: Path, **environment: str) -> None:
    command = [sys.executable, "-c", source, *map(str, files)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.needs("skl2onnx")
def test_a_regression_of_scikit_learn_is_refused(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression
    from sklearn.neural_network import MLPRegressor

    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    for estimator, message in (
        (MLPRegressor(hidden_layer_sizes=(5,), max_iter=5), "it is a number, not a class"),
        (LinearRegression(), "no head"),
    ):
        content = to_onnx(estimator.fit(x, x.sum(axis=1)), x[:1]).SerializeToString()
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(FormatError, match=message):
            onnx_.open(tmp_path / "model.onnx")


@pytest.mark.slow
def test_what_torch_exports(tmp_path: Path) -> None:
    old, new = tmp_path / "torchscript.onnx", tmp_path / "dynamo.onnx"
    script(TORCH, old, new)
    assert new.with_name("dynamo.onnx.data").is_file()  # This exporter keeps its weights beside the file.
    kernels = []
    for file in (old, new):
        opened, _ = check(file)
        assert opened.input.picture == (12, 12, 3)
        kernels.append(opened.head.kernel)
    np.testing.assert_array_equal(*kernels)


@pytest.mark.slow
def test_what_keras_exports(tmp_path: Path) -> None:
    """Keras exports ONNX with the torch backend; with JAX's it wants jax2onnx, which no newer Orbax goes with."""
    script(KERAS, tmp_path / "keras.onnx", KERAS_BACKEND="torch")
    opened, _ = check(tmp_path / "keras.onnx")
    assert opened.input.picture == (12, 12, 3)


def test_external_data_is_read_from_the_folder_alone(tmp_path: Path) -> None:
    plain = onnx_.open(write(tmp_path, two_layers("gemm", "softmax")))
    made = two_layers("gemm", "softmax")
    external_data_helper.convert_model_to_external_data(made, location="weights.bin", size_threshold=0)
    onnx.save(made, tmp_path / "outside.onnx")
    opened = onnx_.open(tmp_path / "outside.onnx")
    assert opened.fingerprint == plain.fingerprint
    np.testing.assert_array_equal(opened.head.kernel, plain.head.kernel)
    out = tmp_path / "alone" / "one.onnx"
    out.parent.mkdir()
    opened.save(out, wider(opened.head), names(opened, "x", "y"))
    assert onnx_.open(out).fingerprint == plain.fingerprint  # The one file holds all weights.
    (tmp_path / "link.bin").symlink_to(tmp_path / "weights.bin")
    (tmp_path.parent / f"{tmp_path.name}.bin").write_bytes((tmp_path / "weights.bin").read_bytes())
    places = [str(tmp_path / "weights.bin"), f"../{tmp_path.name}.bin", "link.bin", "none.bin", ".", "", "a\0b"]
    for location in places:
        changed = onnx.load(tmp_path / "outside.onnx", load_external_data=False)
        for tensor in changed.graph.initializer:
            tensor.external_data[0].value = location
        with pytest.raises(FormatError, match=r"external data|folder"):
            onnx_.open(write(tmp_path, changed))
    for key, value in (("offset", "-4"), ("length", "999999"), ("offset", "many"), ("length", "7")):
        changed = onnx.load(tmp_path / "outside.onnx", load_external_data=False)
        for item in changed.graph.initializer[0].external_data:
            item.value = value if item.key == key else item.value
        with pytest.raises(FormatError):
            onnx_.open(write(tmp_path, changed))


def quantised() -> onnx.ModelProto:
    nodes = [
        node("QuantizeLinear", "x s o", "q"),
        node("MatMulInteger", "q w o wo", "i"),
        node("Cast", "i", "z", to=TensorProto.FLOAT),
    ]
    weights = {"s": np.float32(0.1), "o": np.uint8(0), "wo": np.int8(0), "w": np.ones((4, 3), np.int8)}
    return model(nodes, weights, {"x": ["n", 4]}, {"z": ["n", 3]})


def dequantised() -> onnx.ModelProto:
    nodes = [node("DequantizeLinear", "w s", "v"), node("MatMul", "x v", "z")]
    return model(nodes, {"s": np.float32(0.1), "w": np.ones((4, 3), np.int8)}, {"x": ["n", 4]}, {"z": ["n", 3]})


def twofold() -> onnx.ModelProto:
    nodes = [node("Gemm", "x w", "age"), node("Gemm", "x v", "mood")]
    outputs: Any = {"age": ["n", 3], "mood": ["n", 2]}
    return model(nodes, {"w": numbers(4, 3), "v": numbers(4, 2)}, {"x": ["n", 4]}, outputs)


def end(*nodes: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    made = [node("Gemm", "x w", "z"), *nodes]
    return model(made, {"w": numbers(4, 3), **weights}, {"x": ["n", 4]}, {"y": ["n", 3]})


def foreign() -> onnx.ModelProto:
    made = end(node("com.acme:Magic", "z", "y"))
    made.opset_import.append(helper.make_opsetid("com.acme", 1))
    return made


def huge() -> onnx.ModelProto:
    nodes = [
        node("Expand", "x many", "e"),
        node("ReduceMean", "e", "f", axes=[0, 1], keepdims=0),
        node("Gemm", "f w", "y"),
    ]
    return model(
        nodes, {"w": numbers(4, 3), "many": np.array([1 << 20, 1 << 10, 1, 4])}, {"x": ["n", 4]}, {"y": ["n", 3]}
    )


def endless(loop: bool) -> onnx.ModelProto:
    """A loop of 2^40 rounds, or functions that call one another 2^40 times."""
    made = two_layers("gemm", "softmax", opset=13)
    if loop:
        values = {"i": (TensorProto.INT64, []), "on": (TensorProto.BOOL, []), "v": (TensorProto.FLOAT, None)}
        given = [helper.make_tensor_value_info(name, *what) for name, what in values.items()]
        results = [helper.make_tensor_value_info(f"{name}_", *values[name]) for name in ("on", "v")]
        body = helper.make_graph([node("Identity", "on", "on_"), node("Identity", "v", "v_")], "body", given, results)
        made.graph.node.insert(0, node("Loop", "many yes x", "xx", body=body))
        made.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        made.graph.initializer.append(helper.make_tensor("many", TensorProto.INT64, [], [1 << 40]))
    else:
        ops = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
        for level in range(40):
            inner = f"own:F{level - 1}" if level else "Relu"
            calls = [node(inner, "a", "b"), node(inner, "b", "c")]
            made.functions.append(helper.make_function("own", f"F{level}", ["a"], ["c"], calls, ops))
        made.opset_import.append(ops[1])
        made.graph.node.insert(0, node("own:F39", "x", "xx"))
    made.graph.node[1].input[0] = "xx"
    return made


def declared() -> onnx.ModelProto:
    made = two_layers("gemm", "softmax")
    made.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (quantised, r"'MatMulInteger_i' \(MatMulInteger\) is quantised"),
        (dequantised, r"'DequantizeLinear_v' \(DequantizeLinear\), is quantised"),
        (twofold, "several heads: node 'Gemm_age'.*'Gemm_mood'.*head="),
        (lambda: end(node("Mul", "z t", "y"), t=numbers(3)), r"'Mul_y' \(Mul\) follows the scores.*number a class"),
        (lambda: end(node("Softmax", "z", "y", axis=0)), "does not go over the classes"),
        (lambda: end(node("Relu", "z", "y")), r"'Relu_y' \(Relu\)"),
        (lambda: end(node("Gather", "z i", "y", axis=1), i=np.array([2, 1, 0])), "chooses among the scores"),
        (lambda: model([node("Relu", "x", "y")], {}, {"x": ["n", 4]}, {"y": ["n", 4]}), "holds no Gemm"),
        (foreign, r"'Magic_y' \(Magic\) is of the domain 'com.acme'"),
        (huge, "elements"),
        (lambda: endless(loop=True), r"'Loop_xx' \(Loop\) goes round \d+ times; at most"),
        (lambda: endless(loop=False), "functions that call themselves"),
        (declared, "no valid ONNX model|cannot be read"),
    ],
)
def test_what_is_refused_by_name(tmp_path: Path, made: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        onnx_.open(write(tmp_path, made()))
    assert "model.onnx" in str(caught.value)


def test_one_of_several_heads(tmp_path: Path) -> None:
    file = write(tmp_path, twofold())
    for wanted, width in (("mood", 2), ("Gemm_age", 3)):
        opened = onnx_.open(file, head=wanted)
        assert opened.head.num_classes == width
        out = tmp_path / "wider.onnx"
        opened.save(out, wider(opened.head), names(opened, "x", "y"))
        sizes = {name: value.shape[1] for name, value in run(out, {"x": numbers(2, 4)}).items()}
        assert sizes == {"age": 3, "mood": 2} | {opened.place.scores: width + 2}
    with pytest.raises(FormatError, match="no head called 'hat'"):
        onnx_.open(file, head="hat")


def test_nothing_is_written_before_all_is_checked(tmp_path: Path) -> None:
    opened = onnx_.open(write(tmp_path, two_layers("gemm", "softmax", dtype="float16")))
    head = wider(opened.head)
    large = wider(opened.head)
    large.kernel[0, -1] = 0
    bad = DenseHead(large.kernel.astype(np.float64) + np.pad([[1e9]], ((0, 5), (4, 0))), large.bias.astype(np.float64))
    for path, given, classes in (
        ("y.txt", head, names(opened, "a", "b")),
        ("y.onnx", head, names(opened, "a")),
        ("y.onnx", DenseHead(numbers(7, 3), numbers(3)), ("a", "b", "c")),
        ("y.onnx", bad, names(opened, "a", "b")),
    ):
        with pytest.raises(FormatError, match=path):
            opened.save(tmp_path / path, given, classes)
        assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("d", [4, 129, 512])
def test_bits_of_a_linear_classifier(tmp_path: Path, d: int) -> None:
    """Scores without a transform can be seen: new rows in the same node would change their bits."""
    names_ = [f"class {i}" for i in range(11)]
    given = dict(zip(("coefficients", "intercepts"), (numbers(11 * d).tolist(), numbers(11).tolist()), strict=True))
    nodes = [node("ai.onnx.ml:LinearClassifier", "x", "label y", classlabels_strings=names_, **given)]
    file = write(tmp_path, model(nodes, {}, {"x": ["n", d]}, {"label": ["n"], "y": ["n", 11]}))
    for n in (1, 3, 33):
        _, again = check(file, ("new",), n)
        answer = run(file.with_name("wider.onnx"), {"x": batch(again, n)})
        assert answer["label"].tolist() == [names(again)[i] for i in answer["y"].argmax(axis=1)]
    third = tmp_path / "third.onnx"
    x = batch(again, 33)
    again.save(third, wider(again.head, 1, seed=9), names(again, "newest"))
    last = onnx_.open(third)
    np.testing.assert_array_equal(scores(third, last, x)[:, :12], scores(file.with_name("wider.onnx"), again, x))
    last.save(third, DenseHead(last.head.kernel[:, 5:8], last.head.bias[5:8]), tuple(names_[5:8]))
    fewer = onnx_.open(third)
    assert fewer.classes == tuple(names_[5:8]) and len(fewer.place.blocks) == 1
    answer = run(third, {"x": x})
    assert answer["label"].tolist() == [names_[5 + i] for i in answer["y"].argmax(axis=1)]


def test_the_limit_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = onnx_.open(write(tmp_path, two_layers("gemm", "softmax")))
    monkeypatch.setattr(_file, "MOST_BYTES", opened.path.stat().st_size)
    assert onnx_.open(opened.path).classes is None
    with pytest.raises(FormatError, match="more than 2 GiB"):
        opened.save(tmp_path / "y.onnx", wider(opened.head, 50), names(opened, *map(str, range(3, 53))))
    monkeypatch.setattr(_file, "MOST_BYTES", 100)
    with pytest.raises(FormatError, match="expected 1 to 100"):
        onnx_.open(opened.path)
    assert not (tmp_path / "y.onnx").exists()


def test_description(tmp_path: Path) -> None:
    said = onnx_.open(write(tmp_path, two_layers("matmul", "written out"))).describe()
    assert "1 Gemm" in said["backbone"] and "1 Relu" in said["backbone"]
    assert "'MatMul_p'" in said["head"] and "6 features, 3 classes" in said["head"] and "Exp" in said["head"]


@pytest.mark.parametrize("content", [b"", b"\0", b"not a model", b"\x08\x08" * 50, b"\x80" * 40])
def test_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.onnx"):
        onnx_.open(tmp_path / "x.onnx")


@pytest.mark.slow
def test_damaged_files() -> None:
    counts, wrong = fuzz("onnx", 30)
    assert not wrong and counts["FormatError"] > 10


@pytest.mark.slow
@pytest.mark.needs("rapidocr_onnxruntime")
def test_a_text_direction_classifier_learns_two_more_directions(tmp_path: Path) -> None:
    """PP-OCR's model for 0 and 180 degrees, as RapidOCR ships it, learns 90 and 270; other words and fonts judge."""
    opened = onnx_.open(model_file())
    assert opened.head.kernel.shape == (200, 2) and opened.classes is None
    words = list(np.random.default_rng(5).permutation(WORDS))
    x, y = turned_lines(0, SEEN, words[:30], 100)
    x_test, y_test = turned_lines(1, UNSEEN, words[30:], 60)
    old = y_test < 2
    name = onnx.load(opened.path).graph.input[0].name
    before = run(opened.path, {name: x_test}, opened.place.scores)[opened.place.scores]
    own = float((before[old].argmax(axis=1) == y_test[old]).mean())
    assert own > 0.95
    spec = jax.ShapeDtypeStruct((3, 48, 192), np.float32)
    backbone = extend.FunctionBackbone.of(
        opened.features, spec, head=LinearHead.of(opened.head.kernel, opened.head.bias)
    )
    clf = extend.wrap(backbone, ["0", "180"], data=(x[y < 2], [("0", "180")[label] for label in y[y < 2]]))
    for method, keeps, enough in (("lda", False, 0.8), ("ridge", False, 0.65), ("new_units", True, 0.8)):
        longer, _ = extend.add_classes(clf, {"90": x[y == 2], "270": x[y == 3]}, method=method)
        head = longer.head
        assert isinstance(head, LinearHead)
        kernel, bias = head.dense(200)
        opened.save(tmp_path / "wider.onnx", DenseHead(kernel, bias), longer.classes)
        after = run(tmp_path / "wider.onnx", {name: x_test}, opened.place.scores)[opened.place.scores]
        right = after.argmax(axis=1) == y_test
        print(f"{method}: own {own:.3f}, four {right.mean():.3f}, old {right[old].mean():.3f}")
        assert right.mean() > enough and right[old].mean() > own - 0.05
        assert np.array_equal(after[:, :2], before) == keeps
        assert onnx_.open(tmp_path / "wider.onnx").classes == ("0", "180", "90", "270")
