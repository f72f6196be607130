"""Files made to hang, to end the process, or to read what is not theirs; and saves that fail half-way."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import skops.io
from onnx import AttributeProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import extend
from extend.core.errors import CheckpointError, FormatError
from extend.formats import matlab, onnx, pmml, scikit_learn, theanets
from extend.formats.onnx import _loops
from tests.formats.onnx_graphs import model, node, numbers
from tests.fuzz.matlab_seed import network
from tests.fuzz.onnx_seed import looped

DOUBLED: Any = ()
for _ in range(60):
    DOUBLED = (DOUBLED, DOUBLED)


def refused(open: Any, file: Path, message: str, seconds: float = 15) -> None:
    begin = time.process_time()
    with pytest.raises(FormatError, match=message) as caught:
        open(file)
    assert time.process_time() - begin < seconds
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000 and str(file) in str(caught.value)


@pytest.mark.parametrize("value", [np.zeros((0, 0)), np.zeros((0, 3), np.uint8), "", np.ones((2, 2)), "text"])
def test_matlab_files_with_types_that_do_not_exist(value: Any, tmp_path: Path) -> None:
    """SciPy looks a type up before it sees that nothing is stored; one that it does not know ends the process."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"b": value})
    content, kind = bytearray(buffer.getvalue()), buffer.getvalue()[-8] if np.size(value) == 0 else None
    places = range(128 + 8, len(content)) if kind is None else [len(content) - 8]
    found = 0
    for place in places:
        for new in (174, 0, 8, 10, 11, 19, 255):
            mutant = bytearray(content)
            mutant[place] = new
            (tmp_path / "net.mat").write_bytes(mutant)
            with pytest.raises(FormatError, match=r"net\.mat"):  # Not a network; and the process is there to say so.
                matlab.open(tmp_path / "net.mat")
            found += 1
    assert found


def test_a_matlab_network_with_empty_arrays_opens(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "net.mat", network(["tansig", "softmax"], [3, 4, 3]))
    assert matlab.open(tmp_path / "net.mat").head.num_classes == 3


def loop(count: Any, name: str = "count", before: Any = ()) -> Any:
    """A graph that goes round `count` times, given as the initialiser `name`."""
    made = looped()
    nodes = [part for part in made.graph.node if part.output[0] != "a"]
    first = next(part for part in made.graph.node if part.output[0] == "a")
    first.input[0] = name
    kept = [*before, first, *nodes]
    kept = [NodeProto.FromString(part.SerializeToString()) for part in kept]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    if count is not None:
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(count), "count"))
    return made


def constant(**value: Any) -> Any:
    return node("Constant", "", "count", **value)


LOOPS = {
    "no count": (lambda: loop(None, ""), "has no trip count"),
    "initialiser": (lambda: loop(2**62), "goes round 4611686018427387904 times"),
    "constant": (lambda: loop(None, before=[constant(value=numpy_helper.from_array(np.array(2**62)))]), "goes round"),
    "integer": (lambda: loop(None, before=[constant(value_int=2**62)]), "goes round"),
    "computed": (lambda: loop(2**30, "m", [node("Mul", "count count", "m")]), "computed from constants"),
    "handed on": (lambda: loop(2**62, "m", [node("Identity", "count", "m")]), "computed from constants"),
    "a fraction": (lambda: loop(2.5), "no whole number"),
    "several": (lambda: loop([1, 2]), "no whole number"),
}


@pytest.mark.parametrize("kind", LOOPS)
def test_loops_without_an_end_are_refused(kind: str, tmp_path: Path) -> None:
    make, message = LOOPS[kind]
    (tmp_path / "net.onnx").write_bytes(make().SerializeToString())
    refused(onnx.open, tmp_path / "net.onnx", message)


def test_loops_within_loops_multiply(tmp_path: Path) -> None:
    made = loop(2**15)
    inner = next(part for part in made.graph.node if part.output[0] == "a")
    outer = NodeProto.FromString(inner.SerializeToString())
    body = outer.attribute[0].g
    for part in (*inner.attribute[0].g.node, *inner.attribute[0].g.input, *inner.attribute[0].g.output):
        for names in (part.input, part.output) if isinstance(part, NodeProto) else ():
            names[:] = [f"inner {name}" for name in names]
        part.name = f"inner {part.name}"
    body.node[1].CopyFrom(helper.make_node("Loop", ["count", "yes", "v"], ["v2"], body=inner.attribute[0].g))
    inner.CopyFrom(outer)
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    refused(onnx.open, tmp_path / "net.onnx", "goes round 1073741824 times")


def test_a_loop_that_the_inputs_decide_runs_and_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.onnx").write_bytes(looped().SerializeToString())
    opened = onnx.open(tmp_path / "net.onnx")
    x = np.float32([[1, -2, 3, -4]])
    sparse = np.zeros(4, np.float32)
    sparse[[0, 2]] = numbers(2)
    np.testing.assert_allclose(opened.features(x), np.maximum(x, 0) + sparse, rtol=1e-6)
    long = loop(2**60, "m", [node("Size", "x", "samples"), node("Mul", "count samples", "m")])
    (tmp_path / "long.onnx").write_bytes(long.SerializeToString())
    monkeypatch.setattr(_loops, "SECONDS", 1.0)
    opened = onnx.open(tmp_path / "long.onnx")
    begin = time.monotonic()
    with pytest.raises(FormatError, match="did not end within 1 seconds"):
        opened.features(x)
    assert time.monotonic() - begin < 20


def outside(name: str = "e") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(4,), data_location=TensorProto.EXTERNAL)
    for key, value in (("location", ".ssh/id"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def external(kind: str) -> Any:
    """A model with a tensor in another file, in each place where a tensor may be."""
    made = model(
        [node("Add", "x e", "f"), node("MatMul", "f w", "z")], {"w": numbers(4, 3)}, {"x": ["n", 4]}, {"z": ["n", 3]}
    )
    sparse = SparseTensorProto(dims=[4], values=outside(), indices=numpy_helper.from_array(np.arange(4)))
    if kind == "initialiser":
        made.graph.initializer.append(outside())
    elif kind == "sparse":
        made.graph.sparse_initializer.append(sparse)
    elif kind == "function":
        called = helper.make_node("Constant", [], ["e"], value=outside())
        made.functions.append(helper.make_function("mine", "F", [], ["e"], [called], [helper.make_opsetid("", 17)]))
        made.opset_import.append(helper.make_opsetid("mine", 1))
        made.graph.node.insert(0, helper.make_node("F", [], ["e"], domain="mine"))
    else:
        held = NodeProto(op_type="Constant", output=["e"])
        attribute = held.attribute.add()
        if kind == "attribute":
            attribute.name, attribute.type = "value", AttributeProto.TENSOR
            attribute.t.CopyFrom(outside())
        else:
            attribute.name, attribute.type = "sparse_value", AttributeProto.SPARSE_TENSOR
            attribute.sparse_tensor.CopyFrom(sparse)
        made.graph.node.insert(0, held)
    return made


@pytest.mark.parametrize("kind", ["initialiser", "sparse", "function", "attribute", "sparse attribute"])
def test_no_file_outside_of_the_models_folder_is_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, download = tmp_path / "home", tmp_path / "download"
    (home / ".ssh").mkdir(parents=True)
    download.mkdir()
    (home / ".ssh" / "id").write_bytes(np.float32([11, 22, 33, 44]).tobytes())
    monkeypatch.chdir(home)
    (download / "net.onnx").write_bytes(external(kind).SerializeToString())
    refused(onnx.open, download / "net.onnx", "'.ssh/id'; expected a file in the model's folder")
    (download / ".ssh").mkdir()
    (download / ".ssh" / "id").write_bytes(np.float32([1, 2, 3, 4]).tobytes())
    opened = onnx.open(download / "net.onnx")
    assert opened.features(np.zeros((1, 4), np.float32)).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    "state",
    [
        {"kwargs": {"layers": (2, {"form": DOUBLED})}},
        {"kwargs": {"layers": (2, {"name": DOUBLED})}},
        {"kwargs": {"layers": (2, (DOUBLED, 3), 3)}},
        {"kwargs": {"layers": (2, {"activation": DOUBLED})}},
        {"weights": [DOUBLED], "biases": [DOUBLED], "kwargs": {"hidden_activation": DOUBLED}},
        {"kwargs": {"layers": DOUBLED}},
    ],
)
def test_theanets_files_whose_objects_hold_each_other(state: Any, tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(state, 2))
    refused(theanets.open, tmp_path / "net.pkl", "layer|activation|parameter|weights")


def nodes(depth: int, first: int = 10**5) -> Any:
    """Lists of skops, each of which holds the one before and a reference to it."""

    def made(content: Any, number: int) -> Any:
        kind = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode"}
        return {**kind, "content": content, "__id__": number}

    found = made([], first)
    for i in range(depth):
        found = made([found, made([], first + i)], first + i + 1)
    return found


@pytest.mark.parametrize("place", ["C", "step"])
def test_skops_files_whose_objects_hold_each_other(place: str, tmp_path: Path) -> None:
    fitted: Any = LogisticRegression().fit(np.eye(3), [0, 1, 2])
    if place == "step":
        fitted = make_pipeline(FunctionTransformer(inv_kw_args={"a": 1}), LogisticRegression()).fit(
            np.eye(3), [0, 1, 2]
        )
    skops.io.dump(fitted, tmp_path / "ok.skops")
    assert scikit_learn.open(tmp_path / "ok.skops").head.num_classes == 3
    with zipfile.ZipFile(tmp_path / "ok.skops") as old, zipfile.ZipFile(tmp_path / "bad.skops", "w") as new:
        for name in old.namelist():
            body = old.read(name)
            if name == "schema.json":
                schema = json.loads(body)
                schema["content"]["content"]["C" if place == "C" else "memory"] = nodes(60)
                body = json.dumps(schema).encode()
            new.writestr(name, body)
    refused(scikit_learn.open, tmp_path / "bad.skops", "hold each other")


def document(fields: int, kind: str) -> bytes:
    """A regression of many fields."""
    values = 'optype="categorical" dataType="string"><Value value="a"/><Value value="b"/></DataField>'
    what = values if kind == "categorical" else 'optype="continuous" dataType="double"/>'
    tag = (
        '<CategoricalPredictor name="f{0}" value="b" coefficient="1.5"/>'
        if kind == "categorical"
        else '<NumericPredictor name="f{0}" coefficient="1.5"/>'
    )
    each = ["".join(part.format(i) for i in range(fields)) for part in (
        f'<DataField name="f{{0}}" {what}', '<MiningField name="f{0}"/>', tag)]  # fmt: skip
    return (
        f'<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/><DataDictionary>{each[0]}'
        '<DataField name="y" optype="categorical" dataType="string"><Value value="p"/><Value value="q"/></DataField>'
        "</DataDictionary>"
        '<RegressionModel functionName="classification" normalizationMethod="softmax"><MiningSchema>'
        f'<MiningField name="y" usageType="predicted"/>{each[1]}</MiningSchema><RegressionTable targetCategory="p" '
        f'intercept="0">{each[2]}'
        '</RegressionTable><RegressionTable targetCategory="q" intercept="0"/></RegressionModel></PMML>'
    ).encode()


def graph(count: int, kind: str) -> bytes:
    """An ONNX model of many nodes: one after the other, side by side, or with as many constants."""
    weights = {"k": numbers(4, 4), "w": numbers(4, 3)}
    names = ["x", *(f"t{i}" for i in range(count))]
    if kind == "beside":
        made = [node("MatMul", "x k", f"t{i}") for i in range(count)]
        made += [helper.make_node("Sum", names[1:], ["s"]), node("MatMul", "s w", "z")]
    else:
        weights |= {f"b{i}": numbers(4) for i in range(count)} if kind == "constants" else {}
        step = {"chain": "Relu {}", "layers": "MatMul {} k", "constants": "Add {} b{}"}[kind]
        made = [node(*step.format(names[i], i).split(" ", 1), names[i + 1]) for i in range(count)]
        made.append(node("MatMul", f"{names[-1]} w", "z"))
    return model(made, weights, {"x": ["n", 4]}, {"z": ["n", 3]}).SerializeToString()


@pytest.mark.parametrize(
    ("open", "make", "kind"),
    [
        (pmml.open, document, "categorical"),
        (pmml.open, document, "numeric"),
        (onnx.open, graph, "beside"),
        (onnx.open, graph, "layers"),
    ],
)
def test_time_grows_with_the_size_of_a_file_alone(open: Any, make: Any, kind: str, tmp_path: Path) -> None:
    """Eight times the fields or nodes take some eight times as long; 64 times, where each is compared with each."""
    took = []
    for count in (500, 4000):
        file = tmp_path / f"{count}"
        file.write_bytes(make(count, kind))
        open(file)
        begin = time.process_time()
        open(file)
        took.append(time.process_time() - begin)
    assert took[1] < 25 * max(took[0], 0.02)


def test_a_save_that_fails_changes_neither_the_file_nor_its_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 60)) + 3 * rng.normal(size=(3, 60))[y]
    clf = extend.wrap(LogisticRegression().fit(x, np.array(["a", "b", "c"])[y]), data=(x, y))
    file = tmp_path / "m.skops"
    extend.save(clf, file)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    wide, _ = extend.add_classes(clf, {"d": x[:50] + 5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit in (2_000, 30_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises((CheckpointError, FormatError)):
                extend.save(wide, file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, was)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert extend.load(file).classes == ("a", "b", "c")
    with pytest.raises(FormatError):
        extend.save(wide, tmp_path / "m.unknown")
    assert not (tmp_path / "m.unknown.extend").exists()
    extend.save(wide, file)
    assert extend.load(file).classes == ("a", "b", "c", "d")


def test_what_is_written_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from extend.formats.base import replace_file

    order: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda d: (order.append("folder" if Path(f"/proc/self/fd/{d}").is_dir() else "file"), sync(d))
    )
    monkeypatch.setattr(os, "replace", lambda *a: (order.append("replace"), replace(*a)))
    replace_file(tmp_path / "a", b"new")
    assert order == ["file", "replace", "folder"]
    with pytest.raises(FormatError, match=r"cannot be written .* unchanged"):
        replace_file(tmp_path / "none" / "a", b"new")


@pytest.mark.parametrize("kind", ["one", "shards", "pickled"])
def test_a_folder_that_is_written_in_place_keeps_everything_else(kind: str, tmp_path: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path / "vit"
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = ViTConfig(
        **sizes, image_size=8, patch_size=4, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1}
    )
    made = ViTForImageClassification(config)
    made.save_pretrained(folder, max_shard_size="3KB" if kind == "shards" else "5GB")
    if kind == "pickled":
        torch.save(made.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    mine = (".git/HEAD", "photos/only-copy.jpg", "checkpoint-500/optimizer.pt", "best.pt", "notes.bin")
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    clf = extend.load(folder, pixels="unit")
    clf, _ = extend.add_classes(clf, {"owl": np.random.default_rng(0).integers(0, 255, (20, 8, 8, 3), np.uint8)})
    extend.save(clf, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", ".git", "photos", "checkpoint-500", "best.pt", "notes.bin"}
    assert all((folder / name).read_text() == "mine" for name in mine)
    assert ViTForImageClassification.from_pretrained(folder).config.id2label == {0: "cat", 1: "dog", 2: "owl"}
    assert extend.load(folder).classes == ("cat", "dog", "owl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vit", "vit.extend"]


def test_a_fuzzer_has_a_seed_and_a_time() -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "theanets", "--seconds", "1"]
    begin = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and time.monotonic() - begin < 200, done.stdout + done.stderr
    seed = done.stdout.split("fuzz: seed ")[1].split()[0]
    assert seed.isdecimal() and "FormatError" in done.stdout
