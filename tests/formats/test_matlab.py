"""MATLAB's networks against Octave, which computes them from the files' arrays, and against Weka and JPMML."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy.special import expit, softmax

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.matlab import model as matlab
from extend.formats.pmml import to_pmml
from tests.formats.evaluators import jpmml, weka
from tests.fuzz.matlab_seed import cell, mapminmax, network, network_object
from tests.fuzz.run import fuzz

HERE = Path(__file__).parent


def octave(code: str) -> None:
    done = subprocess.run(["octave", "--no-gui", "-q", "--eval", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def outputs(path: Path, x: np.ndarray) -> np.ndarray:
    """What the file's network gives, by Octave: ``[n, units]``."""
    rows, written = path.with_suffix(".x.mat"), path.with_suffix(".txt")
    scipy.io.savemat(rows, {"x": x})
    octave(f"addpath('{HERE}'); evaluate_network('{path}', '{rows}', '{written}')")
    return np.loadtxt(written, ndmin=2)


def scores(model: matlab.Matlab, x: np.ndarray) -> np.ndarray:
    return model.features(x) @ model.head.kernel + model.head.bias


def wider(head: DenseHead, seed: int = 5) -> DenseHead:
    rng = np.random.default_rng(seed)
    d = head.kernel.shape[0]
    kernel = np.concatenate([head.kernel, rng.normal(size=(d, 2))], axis=1)
    return DenseHead(kernel, np.append(head.bias, rng.normal(size=2)), head.activation)


def with_output(variables: dict, *pairs: tuple[str, dict]) -> dict:
    fcns, settings = cell(*(name for name, _ in pairs)).T, cell(*(one for _, one in pairs)).T
    return {**variables, "output": {"fcns": fcns, "settings": settings}}


def mapstd(mean: list[float], std: list[float]) -> dict:
    size = len(mean)
    xmean, xstd = np.array(mean)[:, None], np.array(std)[:, None]
    return {"name": "mapstd", "xrows": size, "yrows": size, "xmean": xmean, "xstd": xstd, "ymean": 0.0, "ystd": 1.0}


def constant_rows(rows: int, keep: list[int]) -> dict:
    gone = [row for row in range(1, rows + 1) if row not in keep]
    return {"name": "removeconstantrows", "xrows": rows, "yrows": len(keep), "keep": np.array([keep]),
            "remove": np.array([gone]), "value": np.zeros((len(gone), 1))}  # fmt: skip


ONE_HOT = ("mapminmax", mapminmax([0.0] * 3, [1.0] * 3))
NETWORKS = {
    "patternnet": network(["tansig", "softmax"], [4, 5, 3]),
    "deep": network(["tansig", "logsig", "poslin", "softmax"], [3, 6, 5, 4, 3]),
    "no hidden layer": network(["softmax"], [4, 3]),
    "purelin, one-hot": with_output(network(["tansig", "purelin"], [4, 5, 3]), ONE_HOT),
    "purelin, mapstd": with_output(
        network(["logsig", "purelin"], [4, 5, 3]), ("mapstd", mapstd([0.1, 0.6, 0.3], [0.3, 0.5, 0.4]))
    ),
    "tansig, one-hot": with_output(
        network(["tansig", "tansig"], [4, 5, 3]), ("removeconstantrows", constant_rows(3, [1, 2, 3])), ONE_HOT
    ),
    "logsig": network(["tansig", "logsig"], [4, 5, 3]),
}


def expected(model: matlab.Matlab, y: np.ndarray) -> np.ndarray:
    """Our scores' outputs as the file's network gives them."""
    kind = model.network.layers[-1].activation
    return {"identity": lambda s: s, "logistic": expit, "softmax": lambda s: softmax(s, axis=1)}[kind](y)


@pytest.mark.slow
@pytest.mark.needs("octave")
@pytest.mark.parametrize("name", NETWORKS)
def test_octave_agrees_before_and_after_two_classes_are_added(name, tmp_path):
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, NETWORKS[name])
    model = matlab.open(path)
    x = np.random.default_rng(1).uniform(-3, 9, (20, len(model.network.scale)))
    before = outputs(path, x)
    np.testing.assert_allclose(expected(model, scores(model, x)), before, rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.network.outputs(x), before, rtol=0, atol=1e-12)

    head = wider(model.head)
    made = tmp_path / "wider.mat"
    model.save(made, head, (*model.classes, "new", "newer"))
    again = matlab.open(made)
    after = outputs(made, x)
    assert again.classes == (*model.classes, "new", "newer")
    assert again.fingerprint == model.fingerprint
    assert again.features(x).tobytes() == model.features(x).tobytes()
    np.testing.assert_array_equal(again.head.kernel[:, :3], model.head.kernel)
    np.testing.assert_array_equal(again.head.bias[:3], model.head.bias)
    np.testing.assert_allclose(after, expected(model, model.features(x) @ head.kernel + head.bias), rtol=0, atol=1e-12)
    if again.network.layers[-1].activation == "softmax":
        before, after = before / before[:, :1], after / after[:, :1]
    np.testing.assert_allclose(after[:, :3], before, rtol=1e-12, atol=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize("transfer", ["logsig", "tansig"])
def test_one_unit_for_two_classes_becomes_softmax(transfer, tmp_path):
    path, made = tmp_path / "net.mat", tmp_path / "wider.mat"
    settings = ("mapminmax", mapminmax([0.0], [1.0]))
    variables = network(["tansig", transfer], [4, 5, 1])
    scipy.io.savemat(path, with_output(variables, settings) if transfer == "tansig" else variables)
    model = matlab.open(path)
    x = np.random.default_rng(1).uniform(-3, 9, (20, 4))
    before = outputs(path, x)
    assert not model.head.kernel[:, 0].any()
    np.testing.assert_allclose(softmax(scores(model, x), axis=1)[:, 1:], before, rtol=0, atol=1e-12)
    model.save(made, wider(model.head), (*model.classes, "new", "newer"))
    after = outputs(made, x)
    np.testing.assert_allclose(after[:, 1] / after[:, :2].sum(axis=1), before[:, 0], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_inputs_that_are_removed_standardised_and_scaled(tmp_path):
    path = tmp_path / "net.mat"
    variables = network(["tansig", "softmax"], [3, 4, 3])
    rows = constant_rows(5, [1, 3, 5])
    old = {key: value for key, value in mapminmax([-2.0, -1.0, 0.0], [1.0, 1.0, 2.0]).items() if key not in
           ("gain", "xoffset", "no_change")}  # fmt: skip
    unknown = {
        "name": "fixunknowns",
        "xrows": 5,
        "yrows": 5,
        "unknown": np.zeros((1, 0)),
        "known": np.arange(1, 6)[None],
    }
    variables["input"] = {
        "fcns": cell("fixunknowns", "removeconstantrows", "mapstd", "mapminmax").T,
        "settings": cell(unknown, rows, mapstd([3.0, 0.5, 2.0], [2.0, 4.0, 0.5]), old).T,
    }
    scipy.io.savemat(path, variables)
    model = matlab.open(path)
    assert model.input.shape == (5,)
    x = np.random.default_rng(2).uniform(-3, 9, (20, 5))
    np.testing.assert_allclose(softmax(scores(model, x), axis=1), outputs(path, x), rtol=0, atol=1e-12)
    single = {**network(["softmax"], [3, 3]), "input": variables["input"]}
    scipy.io.savemat(path, single)
    model = matlab.open(path)
    model.save(path, wider(model.head), ("a", "b", "c", "d", "e"))
    np.testing.assert_allclose(softmax(scores(matlab.open(path), x), axis=1), outputs(path, x), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.needs("octave")
def test_files_that_octave_writes(tmp_path):
    """Another writer than SciPy's: version 7 (compressed) and 6, a struct that holds all, no class names."""
    path = tmp_path / "net.mat"
    code = """
      net.IW = {[1 2 3; -1 0.5 2]; []}; net.LW = {[], []; [1 -1; 0.5 2; -3 1], []}; net.b = {[0.5; -0.25]; [1; 2; 3]};
      net.transfer = {'tansig'; 'softmax'}; net.inputs = {'a', 'b', 'c'};
      s = struct('xrows', 3, 'xmin', [0; 0; 1], 'xmax', [2; 4; 3], 'ymin', -1, 'ymax', 1);
      net.input = struct('fcns', {{'mapminmax'}}, 'settings', {{s}});
      net.output = struct('fcns', {{}}, 'settings', {{}});
    """
    for version in ("-v7", "-v6"):
        octave(f"{code} save('{version}', '{path}', 'net')")
        model = matlab.open(path)
        x = np.random.default_rng(1).uniform(0, 4, (20, 3))
        np.testing.assert_allclose(model.network.outputs(x), outputs(path, x), rtol=0, atol=1e-12)
        assert model.classes is None and model.network.inputs == ("a", "b", "c")
        model.save(tmp_path / "wider.mat", wider(model.head), ("0", "1", "2", "3", "4"))
        after = outputs(tmp_path / "wider.mat", x)
        assert after.shape == (20, 5)
        np.testing.assert_allclose(matlab.open(tmp_path / "wider.mat").network.outputs(x), after, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.needs("java", "javac", "weka.jar", "jpmml_evaluator")
@pytest.mark.parametrize("name", ["patternnet", "tansig, one-hot", "purelin, one-hot"])
def test_weka_and_jpmml_score_the_matlab_network(name, tmp_path):
    path, made = tmp_path / "net.mat", tmp_path / "net.pmml"
    scipy.io.savemat(path, {**NETWORKS[name], "inputs": cell("sepal length", "w", "it's", "<&")})
    model = matlab.open(path)
    to_pmml(model.network.with_head(wider(model.head), (*model.classes, "new", "newer")), made)
    model.save(path, wider(model.head), (*model.classes, "new", "newer"))
    x = np.random.default_rng(1).uniform(-3, 9, (20, 4))
    inputs = dict(zip(model.network.inputs, x.T.tolist(), strict=True))
    classes = matlab.open(path).classes
    by_matlab = outputs(path, x)
    np.testing.assert_allclose(jpmml(made, inputs, classes), by_matlab, rtol=0, atol=1e-9)
    lowest = np.minimum(by_matlab.min(axis=1, keepdims=True), 0)  # Weka makes outputs positive, and their sum one.
    normal = (by_matlab - lowest) / (by_matlab - lowest).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weka(made, inputs, classes), normal, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.needs("octave")
def test_octave_reads_what_to_mat_writes(tmp_path):
    rng = np.random.default_rng(0)
    layers = (
        DenseLayer(rng.normal(size=(3, 5)), rng.normal(size=5), "relu"),
        DenseLayer(rng.normal(size=(5, 4)), rng.normal(size=4), "tanh"),
        DenseLayer(rng.normal(size=(4, 3)), rng.normal(size=3), "log_softmax"),
    )
    made = DenseNetwork(layers, np.array([0.5, 2.0, 1.0]), np.array([1.0, -3.0, 0.0]), (), ("a", "b", "c"))
    matlab.to_mat(made, tmp_path / "net.mat")
    x = rng.normal(size=(20, 3))
    np.testing.assert_allclose(np.exp(made.outputs(x)), outputs(tmp_path / "net.mat", x), rtol=0, atol=1e-12)


def test_classes_are_removed_swapped_renamed_and_the_head_replaced(tmp_path):
    path = tmp_path / "net.mat"
    x = np.random.default_rng(1).normal(size=(5, 4))
    scipy.io.savemat(path, NETWORKS["purelin, mapstd"])
    model = matlab.open(path)
    order = [2, 0]
    head = DenseHead(model.head.kernel[:, order], model.head.bias[order])
    model.save(path, head, ("first", "second"))
    again = matlab.open(path)
    assert again.classes == ("first", "second")
    assert again.head.kernel.tobytes() == head.kernel.tobytes() and again.head.bias.tobytes() == head.bias.tobytes()
    assert again.output[1][0]["xmean"].ravel().tolist() == [0.3, 0.1]
    sigmoid = DenseHead(head.kernel * 3, head.bias, "sigmoid")
    model.save(path, sigmoid, ("first", "second"))
    again = matlab.open(path)
    assert again.head.activation == "sigmoid" and again.network.layers[-1].activation == "logistic"
    np.testing.assert_array_equal(scores(again, x), model.features(x) @ sigmoid.kernel + sigmoid.bias)


def test_other_variables_stay_and_the_opened_model_is_unchanged(tmp_path):
    path = tmp_path / "net.mat"
    note = np.array([[1, 2, 3]], np.int16)
    scipy.io.savemat(path, {**NETWORKS["patternnet"], "note": note, "rows": scipy.sparse.eye(3)})
    content = path.read_bytes()
    model = matlab.open(path)
    assert "rows (a sparse matrix)" in model.describe()["limits"]
    model.save(tmp_path / "wider.mat", wider(model.head), (*model.classes, "a", "b"))
    found = scipy.io.loadmat(tmp_path / "wider.mat")
    assert found["note"].tobytes() == note.tobytes() and found["note"].dtype == np.int16 and "rows" not in found
    assert path.read_bytes() == content and model.head.num_classes == 3


def raw(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(elements)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def variable(kind: int, shape: tuple[int, ...], *data: bytes, name: bytes = b"IW") -> bytes:
    parts = (element(6, struct.pack("<II", kind, 0)), element(5, struct.pack(f"<{len(shape)}i", *shape)))
    return element(14, b"".join((*parts, element(1, name), *data)))


def nested(depth: int) -> bytes:
    return variable(1, (1, 1), nested(depth - 1)) if depth else variable(6, (0, 0), element(9, b""))


def packed(data: bytes) -> bytes:
    deflated = zlib.compress(data)
    return struct.pack("<II", 15, len(deflated)) + deflated


OPAQUE = element(14, element(6, struct.pack("<II", 17, 0)) + element(1, b"net") + element(1, b"MCOS"))
HOSTILE = {
    "7.3": (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", r"-v7"),
    "no header": (b"IM" * 300, r"not a MAT file"),
    "too many numbers": (raw(variable(6, (1 << 15, 1 << 15), element(9, bytes(8)))), "1073741824 numbers has 8 bytes"),
    "too many cells": (raw(variable(1, (1 << 15, 1 << 15))), "of 1073741824 arrays holds 0"),
    "negative size": (raw(variable(6, (-1, 3), element(9, bytes(8)))), "dimensions"),
    "deep": (raw(nested(40)), "nested deeper"),
    "cut off": (raw(variable(6, (1, 2), element(9, bytes(16))))[:-9], "past the file's end"),
    "bomb": (raw(packed(variable(6, (1, 1 << 25), element(9, bytes(1 << 28))))), "more than 201326592 bytes"),
    "bombs": (raw(*[packed(variable(9, (1, 1 << 26), element(2, bytes(1 << 26))))] * 4), "more than"),
    "object": (raw(OPAQUE), r"net is an object, which only MATLAB reads.*in MATLAB, write the network so: IW = net.IW"),
    "old object": (raw(variable(3, (1, 1), element(5, bytes(4)), name=b"net")), "part of type 5; expected 1"),
    "object of more": (
        raw(variable(3, (9, 9), element(1, b"network"), element(5, struct.pack("<i", 3)), element(1, b"IW\0"))),
        "of 81 arrays holds 0",
    ),
    "type of nothing": (raw(variable(6, (0, 0), element(174, b""))), "is stored as type 174, which is not known"),
    "function": (raw(variable(16, (1, 1), name=b"IW")), "IW is a function handle"),
    "complex": (raw(variable(6 | 0x800, (1, 1), element(9, bytes(8)), element(9, bytes(8)))), "IW is complex numbers"),
    "field names": (raw(variable(2, (1, 1), element(5, struct.pack("<i", 5)), element(1, b"a.b\0\0"))), "field names"),
    "nothing": (raw(), "no variable IW"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path):
    content, words = HOSTILE[name]
    path = tmp_path / "net.mat"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=words):
        matlab.open(path)


def changed(**parts: object) -> dict:
    return {**network(["tansig", "softmax"], [4, 5, 3]), **parts}


def skipping() -> dict:
    variables = network(["tansig", "tansig", "softmax"], [4, 5, 5, 3])
    variables["LW"][2, 0] = np.ones((3, 5))
    return variables


def settings(name: str, one: dict) -> dict:
    return {"fcns": cell(name).T, "settings": cell(one).T}


REFUSED = {
    "transfer": (changed(transfer=cell("radbas", "softmax")), r"layer 1: transfer function 'radbas'"),
    "skip": (skipping(), r"LW\{3,1\} is not empty"),
    "two inputs": (changed(IW=cell(np.ones((5, 4)), np.ones((3, 4)))), r"IW\{2,1\} is not empty"),
    "no b": ({k: v for k, v in changed().items() if k != "b"}, r"no variable b.*save\('net.mat'"),
    "shapes": (changed(b=cell(np.ones((4, 1)), np.ones((3, 1)))), r"layer 1: the head has kernel \[4, 5\]"),
    "NaN": (changed(b=cell(np.full((5, 1), np.nan), np.ones((3, 1)))), r"layer 1, b: holds NaN"),
    "pca": (changed(input=settings("processpca", mapminmax([0.0] * 4, [1.0] * 4))), "processpca is not supported"),
    "unknowns": (changed(input=settings("fixunknowns", {"xrows": 4, "unknown": [[2]]})), "fixunknowns is not"),
    "rows": (changed(input=settings("mapminmax", mapminmax([0.0] * 3, [1.0] * 3))), "3 rows come out"),
    "huge rows": (changed(input=settings("mapminmax", {"xrows": 1e12, "ymin": -1})), "rows"),
    "outputs removed": (changed(output=settings("removeconstantrows", constant_rows(4, [1, 2, 4]))), "constant"),
    "regression": (network(["tansig", "purelin"], [4, 5, 1]), "gives no scores"),
    "class names": (changed(classes=cell("a", "b")), "2 classes are named; the last layer has 3 units"),
    "class twice": (changed(classes=cell("a", "b", "a")), "name twice"),
    "text": (changed(IW="weights"), "expected a cell array"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_named(name, tmp_path):
    variables, words = REFUSED[name]
    scipy.io.savemat(tmp_path / "net.mat", variables)
    with pytest.raises(FormatError, match=words):
        matlab.open(tmp_path / "net.mat")


def test_a_wrong_suffix_or_head_writes_nothing(tmp_path):
    path = tmp_path / "net.mat"
    scipy.io.savemat(path, NETWORKS["patternnet"])
    model = matlab.open(path)
    content = path.read_bytes()
    with pytest.raises(FormatError, match=r"named \.mat"):
        model.save(tmp_path / "net.pmml", model.head, model.classes)
    with pytest.raises(FormatError, match="2 classes are named; the head has 3 columns"):
        model.save(path, model.head, ("a", "b"))
    with pytest.raises(FormatError, match="reads 2 features; the model gives 5"):
        model.save(path, DenseHead(np.ones((2, 2)), np.ones(2)), ("a", "b"))
    assert path.read_bytes() == content and [p.name for p in tmp_path.iterdir()] == ["net.mat"]


@pytest.mark.slow
def test_fuzz():
    counts, wrong = fuzz("matlab", 30)
    assert not wrong and counts["FormatError"] > 0


OBJECTS = ("patternnet", "deep", "no hidden layer", "purelin, one-hot", "purelin, mapstd")


@pytest.mark.needs("octave")
@pytest.mark.parametrize("name", OBJECTS)
def test_a_network_object_is_read_and_goes_back_wider(name, tmp_path):
    """MATLAB's own way to save, `save('net.mat', 'net')`; Octave computes the same network from its arrays."""
    scipy.io.savemat(tmp_path / "arrays.mat", NETWORKS[name])
    scipy.io.savemat(tmp_path / "net.mat", {"net": network_object(NETWORKS[name]), "note": "kept"}, do_compression=True)
    opened = matlab.open(tmp_path / "net.mat")
    assert opened.classes is None and opened.others == {}
    x = np.random.default_rng(1).uniform(0, 5, (20, opened.input.shape[0]))
    expected = outputs(tmp_path / "arrays.mat", x)
    given = scores(opened, x)
    np.testing.assert_allclose(
        softmax(given, axis=1) if "softmax" in str(NETWORKS[name]["transfer"]) else given, expected, atol=1e-9
    )

    names = tuple(f"class {number}" for number in range(opened.head.num_classes + 2))
    opened.save(tmp_path / "wider.mat", wider(opened.head), names)
    again = matlab.open(tmp_path / "wider.mat")
    assert again.classes == names and again.fingerprint == opened.fingerprint
    np.testing.assert_allclose(scores(again, x)[:, : given.shape[1]], given, atol=1e-9)
    assert scipy.io.loadmat(tmp_path / "wider.mat")["note"] == "kept"


@pytest.mark.needs("java", "jpmml_evaluator")
def test_a_network_object_becomes_pmml_without_matlab(tmp_path):
    scipy.io.savemat(tmp_path / "net.mat", {"net": network_object(NETWORKS["patternnet"])})
    opened = matlab.open(tmp_path / "net.mat")
    to_pmml(opened.network, tmp_path / "net.pmml")
    x = np.random.default_rng(1).uniform(0, 5, (20, 4))
    found = jpmml(
        tmp_path / "net.pmml", {f"x{number}": list(x[:, number - 1]) for number in range(1, 5)}, ("0", "1", "2")
    )
    np.testing.assert_allclose(found, softmax(scores(opened, x), axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"numInputDelays": 2}, "net: numInputDelays is not 0; only networks without delays"),
        ({"layers": cell({"netInputFcn": "netprod", "transferFcn": "tansig"})}, "netInputFcn is 'netprod'"),
        ({"inputWeights": cell({"weightFcn": "dist"}, np.zeros((0, 0)))}, "weightFcn is 'dist'"),
        ({"inputs": cell({"name": "one"}, {"name": "two"})}, "2 inputs, and outputs of layers"),
        ({"outputs": np.zeros((1, 2))}, "outputs: expected a cell"),
    ],
)
def test_a_network_object_that_is_no_plain_chain_is_refused(fields, words, tmp_path):
    scipy.io.savemat(tmp_path / "net.mat", {"net": network_object(NETWORKS["patternnet"], **fields)})
    with pytest.raises(FormatError, match=words) as caught:
        matlab.open(tmp_path / "net.mat")
    assert "\n" not in str(caught.value)


def test_several_networks_in_a_file_are_named(tmp_path):
    net = network_object(NETWORKS["patternnet"])
    scipy.io.savemat(tmp_path / "net.mat", {"first": net, "second": net})
    with pytest.raises(FormatError, match="2 networks, first, second; expected one: save it alone"):
        matlab.open(tmp_path / "net.mat")
