"""Files of Keras 2 and Teachable Machine, opened and written back, judged by what TensorFlow 2.15 and NumPy gave."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
import h5py
import keras
from keras import layers

import extend
from extend.core.errors import FormatError
from extend.formats import read
from extend.formats.base import DenseHead
from extend.formats.keras import _probe
from extend.formats.keras import model as format

DATA = Path(__file__).parents[1] / "data/keras2"
EXPECTED = np.load(DATA / "expected.npz")
FILES = sorted(path.name for path in DATA.iterdir() if path.suffix in (".h5", ".keras"))
BY_KERAS_3 = ("one_unit.h5", "several_inputs.h5", "teachable_machine.h5", "transfer.h5")
"""Files that Keras 3 itself reads when they were written here, and reads with the meaning of Keras 2."""
RNG = np.random.default_rng(0)


def probabilities(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def widened(head: DenseHead) -> DenseHead:
    column = RNG.normal(size=(head.kernel.shape[0], 1)).astype(head.kernel.dtype)
    bias = np.append(head.bias, 0.5).astype(head.bias.dtype)
    return DenseHead(np.hstack([head.kernel, column]), bias, head.activation)


def inputs_of(name: str) -> list[np.ndarray]:
    return [EXPECTED[key] for key in sorted(EXPECTED.files) if key.startswith(f"{name}/x")]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Every array of an .h5 by its path."""
    found = {}
    with h5py.File(path, "r") as file:
        weights = file["model_weights"]
        weights.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "dtype") else None)
    return found


@pytest.mark.parametrize("name", FILES)
def test_tensorflows_outputs_are_ours_and_the_file_goes_back(tmp_path: Path, name: str) -> None:
    opened = format.open(DATA / name)
    xs, expected = inputs_of(Path(name).stem), EXPECTED[f"{Path(name).stem}/y"]
    features = opened.features(xs[0] if len(xs) == 1 else dict(zip(opened.input, xs, strict=True)))
    scores = features @ opened.head.kernel + opened.head.bias
    mine = scores if name.startswith("transfer") else probabilities(scores)[:, -expected.shape[1] :]
    np.testing.assert_allclose(mine, expected, atol=1e-3 if name.startswith("half") else 1e-5)

    head = widened(opened.head)
    names = tuple(f"class {number}" for number in range(head.num_classes))
    opened.save(tmp_path / name, head, names)
    again = format.open(tmp_path / name)
    assert again.classes == names
    assert again.fingerprint == opened.fingerprint
    assert again.head.equals(head)
    if name.endswith(".h5"):
        before, after = arrays_of(DATA / name), arrays_of(tmp_path / name)
        changed = {key for key in after if key not in before or before[key].tobytes() != after[key].tobytes()}
        assert len(changed) <= 2 and before.keys() <= after.keys()
    if name in BY_KERAS_3:
        theirs = keras.saving.load_model(tmp_path / name, compile=False)
        out = np.asarray(theirs(xs if len(xs) > 1 else xs[0], training=False))
        wanted = features @ head.kernel + head.bias
        np.testing.assert_allclose(out, wanted if name == "transfer.h5" else probabilities(wanted), atol=1e-5)


def test_a_written_file_is_one_of_keras_2(tmp_path: Path) -> None:
    opened = format.open(DATA / "transfer.h5")
    opened.save(tmp_path / "wide.h5", widened(opened.head), tuple("abcd"))
    with h5py.File(tmp_path / "wide.h5", "r") as file:
        assert file.attrs["keras_version"].startswith("2.")
        entries = {entry["name"]: entry for entry in json.loads(file.attrs["model_config"])["config"]["layers"]}
    assert entries["global_average_pooling2d"]["inbound_nodes"] == [[["base", 1, 0, {}]]]
    assert entries["base"]["inbound_nodes"][0] == [["rescaling", 0, 0, {"training": False}]]
    again = format.open(tmp_path / "wide.h5")
    again.save(tmp_path / "twice.h5", again.head, tuple("abcd"))
    with h5py.File(tmp_path / "wide.h5", "r") as one, h5py.File(tmp_path / "twice.h5", "r") as two:
        assert one.attrs["model_config"] == two.attrs["model_config"]


def test_keras_2_becomes_keras_3(tmp_path: Path) -> None:
    opened = format.open(DATA / "teachable_machine.h5")
    opened.save(tmp_path / "wide.keras", widened(opened.head), tuple("abc"))
    x = inputs_of("teachable_machine")[0]
    mine = np.asarray(keras.saving.load_model(tmp_path / "wide.keras")(x))
    old = EXPECTED["teachable_machine/y"]
    np.testing.assert_allclose(mine[:, :2] / mine[:, :2].sum(1, keepdims=True), old, atol=1e-5)
    with pytest.raises(FormatError, match="hard_sigmoid"):
        old_sigmoid = format.open(DATA / "recurrent_pictures.h5")
        old_sigmoid.save(tmp_path / "x.keras", old_sigmoid.head, tuple("abc"))
    net = keras.Sequential([keras.Input((4,)), layers.Activation("hard_sigmoid"), layers.Dense(2)])
    with pytest.raises(FormatError, match=r"hard_sigmoid is another function in Keras 2; save as \.keras"):
        format.open(net).save(tmp_path / "x.h5", format.open(net).head, ("a", "b"))


def teachable_machine(folder: Path, labels: str) -> Path:
    folder.mkdir()
    shutil.copy(DATA / "teachable_machine.h5", folder / "keras_model.h5")
    (folder / "labels.txt").write_text(labels)
    return folder / "keras_model.h5"


def test_teachable_machine_learns_a_class_with_its_labels(tmp_path: Path) -> None:
    path = teachable_machine(tmp_path / "in", "0 dog\n1 big cat\n")
    clf = extend.load(path)
    assert clf.classes == ("dog", "big cat")
    x = inputs_of("teachable_machine")[0]
    np.testing.assert_allclose(clf.predict_proba(x), EXPECTED["teachable_machine/y"], atol=1e-5)
    wide, _ = extend.add_classes(clf, {"bird": np.random.default_rng(3).normal(4, 1, (9, 8, 8, 3)).astype(np.float32)})
    (tmp_path / "out").mkdir()
    extend.save(wide, tmp_path / "out/keras_model.h5")
    assert (tmp_path / "out/labels.txt").read_text() == "0 dog\n1 big cat\n2 bird\n"
    assert extend.load(tmp_path / "out/keras_model.h5").classes == ("dog", "big cat", "bird")
    extend.save(wide, tmp_path / "in/wide.h5")  # Into the same folder: the first model still opens.
    assert extend.load(path).classes == ("dog", "big cat")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/labels.txt").write_text("0 ship\n1 car\n")
    with pytest.raises(FormatError, match="another model's"):
        extend.save(wide, tmp_path / "other/wide.h5")
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["labels.txt"]


def test_labels_of_other_kinds(tmp_path: Path) -> None:
    assert format.open(teachable_machine(tmp_path / "a", "dog\r\ncat\r\n")).classes == ("dog", "cat")
    assert format.open(teachable_machine(tmp_path / "b", "1 cat\n0 dog\n")).classes == ("dog", "cat")
    with pytest.raises(FormatError, match=r"names 1 classes, and the head of keras_model\.h5 has 2 columns"):
        format.open(teachable_machine(tmp_path / "c", "0 dog\n"))


def dense(name: str, units: int, activation: str = "softmax", **options: Any) -> dict[str, Any]:
    config = {"name": name, "units": units, "activation": activation, "use_bias": True, **options}
    return {"class_name": "Dense", "config": config}


def write(path: Path, config: dict[str, Any], weights: dict[str, list[np.ndarray]], **attributes: Any) -> Path:
    """An .h5 as old versions wrote it."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": b"2.2.4", "backend": b"tensorflow"} | attributes)
        file.attrs["model_config"] = json.dumps(config).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, values in weights.items():
            own = group.create_group(name)
            own.attrs["weight_names"] = [f"{name}/w{n}:0".encode() for n in range(len(values))]
            for n, value in enumerate(values):
                own[f"{name}/w{n}:0"] = value
    return path


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_configs_of_early_versions(tmp_path: Path) -> None:
    """A list of layers without InputLayer, a model as first layer, dtypes of initializers, arrays in the config."""
    start = {"class_name": "GlorotUniform", "config": {"seed": None, "dtype": "float32"}}
    leaky = {"class_name": "LeakyReLU", "config": {"name": "r", "alpha": {"type": "ndarray", "value": 0.25}}}
    first = dense("a", 5, "linear", batch_input_shape=[None, 4], kernel_initializer=start)
    inner = {"class_name": "Sequential", "config": [first, leaky]}
    ks, bs = (normal(4, 5), normal(5, 3)), (normal(5), normal(3))
    both = {"sequential_1": [ks[0], bs[0]], "d": [ks[1], bs[1]]}
    named = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": [first, leaky]}}
    x = normal(20, 4)
    hidden = x @ ks[0] + bs[0]
    expected = probabilities(np.where(hidden > 0, hidden, 0.25 * hidden) @ ks[1] + bs[1])
    for number, layer in enumerate((inner, named)):
        weights = both if number else {"sequential": both["sequential_1"], "d": both["d"]}
        config = {"class_name": "Sequential", "config": [layer, dense("d", 3)]}
        path = write(tmp_path / f"{number}.h5", config, weights)
        clf = extend.load(path)
        np.testing.assert_allclose(clf.predict_proba(x), expected, atol=1e-5)
        extend.save(clf, tmp_path / "again.h5")
        theirs = keras.saving.load_model(tmp_path / "again.h5", compile=False)
        np.testing.assert_allclose(np.asarray(theirs(x)), expected, atol=1e-5)


def test_names_with_slashes_are_read_and_written_back(tmp_path: Path) -> None:
    """DenseNet has layers of such names, which Keras 3 does not allow."""
    k, b, x = [normal(4, 5), normal(5, 6), normal(6, 3)], [normal(5), normal(6), normal(3)], normal(20, 4)
    names = ("conv1/conv", "conv2/conv", "head")
    parts = [
        dense("conv1/conv", 5, "relu", batch_input_shape=[None, 4]),
        dense("conv2/conv", 6, "relu"),
        dense("head", 3),
    ]
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": parts}}
    weights = {name: [kernel, bias] for name, kernel, bias in zip(names, k, b, strict=True)}
    clf = extend.load(write(tmp_path / "in.h5", config, weights))
    hidden = np.maximum(np.maximum(x @ k[0] + b[0], 0) @ k[1] + b[1], 0)
    np.testing.assert_allclose(clf.predict_proba(x), probabilities(hidden @ k[2] + b[2]), atol=1e-5)
    extend.save(extend.add_classes(clf, {"new": x})[0], tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        written = file["model_weights"].attrs["layer_names"]
        assert [name.decode() if isinstance(name, bytes) else name for name in written] == list(names)
    assert extend.load(tmp_path / "out.h5").classes[-1] == "new"


def test_gru_without_reset_after_is_what_its_bias_says(tmp_path: Path) -> None:
    gru = {"class_name": "GRU", "config": {"name": "g", "units": 2, "batch_input_shape": [None, 3, 2],
                                           "recurrent_activation": "hard_sigmoid"}}  # fmt: skip
    k, u, b, w = normal(2, 6), normal(2, 6) + 1, normal(6), normal(2, 3)
    config = {"class_name": "Sequential", "config": [gru, dense("d", 3, use_bias=False)]}
    path = tmp_path / "gru.h5"
    write(path, config, {"g": [k, u, b], "d": [w]})
    with h5py.File(path, "r+") as file:  # The names that Keras gives.
        own = file["model_weights/g"]
        for old, new in (("w0", "kernel"), ("w1", "recurrent_kernel"), ("w2", "bias")):
            own.move(f"g/{old}:0", f"g/{new}:0")
        own.attrs["weight_names"] = [b"g/kernel:0", b"g/recurrent_kernel:0", b"g/bias:0"]
    x, h = normal(6, 3, 2), np.zeros((6, 2))
    for step in range(3):
        parts = x[:, step] @ k + b
        z, r = (np.clip(0.2 * (parts[:, i : i + 2] + h @ u[:, i : i + 2]) + 0.5, 0, 1) for i in (0, 2))
        h = z * h + (1 - z) * np.tanh(parts[:, 4:] + (r * h) @ u[:, 4:])
    np.testing.assert_allclose(extend.load(path).predict_proba(x), probabilities(h @ w), atol=1e-5)


def test_kernels_of_theano_are_turned_and_written_for_tensorflow(tmp_path: Path) -> None:
    conv = {"class_name": "Conv2D", "config": {"name": "c", "filters": 2, "kernel_size": [3, 3], "use_bias": False,
                                               "batch_input_shape": [None, 3, 3, 1]}}  # fmt: skip
    config = {"class_name": "Sequential",
              "config": [conv, {"class_name": "Flatten", "config": {"name": "f"}}, dense("d", 3)]}  # fmt: skip
    kernel, w, b, x = normal(3, 3, 1, 2), normal(2, 3), normal(3), normal(9, 3, 3, 1)
    path = write(tmp_path / "theano.h5", config, {"c": [kernel], "d": [w, b]}, backend=b"theano")
    expected = probabilities(np.einsum("nij,ijk->nk", x[..., 0], kernel[::-1, ::-1, 0]) @ w + b)
    clf = extend.load(path)
    np.testing.assert_allclose(clf.predict_proba(x), expected, atol=1e-5)
    extend.save(clf, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "r") as file:
        assert file.attrs["backend"] == "tensorflow"
    theirs = keras.saving.load_model(tmp_path / "out.h5", compile=False)
    np.testing.assert_allclose(np.asarray(theirs(x)), expected, atol=1e-5)


def first(kind: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": "mine", "batch_input_shape": [None, 4, 3], **config}}


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (first("LSTM", units=2, time_major=True), r"'mine' \(LSTM\): Keras 3 has no time_major=True"),
        (first("Lambda", function=["4wE=", None, None]), "'mine': Lambda is not among the layers"),
        (first("LocallyConnected1D", filters=2), "'mine': LocallyConnected1D is not among"),
        (first("Custom>Odd"), "'mine': Custom>Odd is not among"),
        (first("InputLayer", ragged=True), "'mine': a ragged input cannot be read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, layer: dict[str, Any], text: str) -> None:
    config = {"class_name": "Sequential", "config": [layer, dense("d", 3)]}
    path = write(tmp_path / "x.h5", config, {"d": [normal(2, 3), normal(3)]})
    with pytest.raises(FormatError, match=text) as error:
        format.open(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_an_unknown_operation_is_named(tmp_path: Path) -> None:
    start = {"class_name": "InputLayer", "name": "i", "inbound_nodes": [],
             "config": {"name": "i", "batch_input_shape": [None, 4], "dtype": "float32"}}  # fmt: skip
    odd = {"class_name": "TFOpLambda", "name": "o", "inbound_nodes": [["i", 0, 0, {}]],
           "config": {"name": "o", "function": "io.read_file"}}  # fmt: skip
    last = dense("d", 3) | {"name": "d", "inbound_nodes": [[["o", 0, 0, {}]]]}
    inner = {"name": "m", "layers": [start, odd, last], "input_layers": [["i", 0, 0]], "output_layers": [["d", 0, 0]]}
    config = {"class_name": "Functional", "config": inner}
    path = write(tmp_path / "x.h5", config, {"d": [normal(4, 3), normal(3)]})
    with pytest.raises(FormatError, match=r"'o': TensorFlow's io\.read_file is not among the operations"):
        format.open(path)
    inner["layers"][1] = {"class_name": "Nothing"}
    with pytest.raises(FormatError, match="config is damaged"):
        format.open(write(tmp_path / "y.h5", config, {"d": [normal(4, 3), normal(3)]}))


def nested(name: str) -> keras.Model:
    """Heads inside models, as transfer learning makes them."""
    body = keras.Sequential([keras.Input((6,)), layers.Dense(5, "tanh")], name="body")
    x = keras.Input((6,))
    match name:
        case "sequential":
            head = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3, "softmax", use_bias=False)], name="head")
            return keras.Sequential([keras.Input((6,)), body, head])
        case "only a head":
            return keras.Sequential([keras.Input((6,)), body, keras.Sequential([layers.Dense(3)]), layers.Softmax()])
        case "functional":
            i = keras.Input((5,))
            head = keras.Model(i, layers.Activation("softmax")(layers.Dense(3)(i)), name="head")
            return keras.Model(x, head(body(x, training=False)))
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(3, "softmax")], name="inner")
    outer = keras.Sequential([keras.Input((5,)), layers.Dropout(0.5), inner], name="outer")
    return keras.Model(x, outer(body(x)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["sequential", "only a head", "functional", "two deep"])
def test_heads_inside_models(tmp_path: Path, name: str, suffix: str) -> None:
    net, x = nested(name), normal(7, 6)
    before = np.asarray(net(x))
    opened = format.open(net)
    head, names = widened(opened.head), tuple("abcd")
    np.testing.assert_allclose(
        probabilities(opened.features(x) @ opened.head.kernel + opened.head.bias), before, atol=1e-5
    )
    opened.save(tmp_path / f"wide{suffix}", head, names)
    again = format.open(tmp_path / f"wide{suffix}")
    assert (again.classes, again.fingerprint) == (names, opened.fingerprint)
    assert again.head.equals(head)
    theirs = np.asarray(keras.saving.load_model(tmp_path / f"wide{suffix}", compile=False)(x))
    np.testing.assert_allclose(theirs[:, :3] / theirs[:, :3].sum(1, keepdims=True), before, atol=1e-5)
    assert "inside" in opened.describe()["head"]


def test_a_head_that_is_called_twice_is_refused() -> None:
    x, head = keras.Input((3,)), layers.Dense(3, name="twice")
    with pytest.raises(FormatError, match="'twice' is called 2 times"):
        format.open(keras.Model(x, head(head(x))))


def test_files_are_told_by_their_content(tmp_path: Path) -> None:
    shutil.copy(DATA / "one_unit.h5", tmp_path / "hdf5.keras")
    shutil.copy(DATA / "one_unit.keras", tmp_path / "zip.H5")
    expected = format.open(DATA / "one_unit.h5")
    for name in ("hdf5.keras", "zip.H5"):
        assert format.open(tmp_path / name).fingerprint == expected.fingerprint
        opened = format.open(tmp_path / name)
        opened.save(tmp_path / name, opened.head, ("no", "yes"))
        assert zipfile.is_zipfile(tmp_path / name) == (name == "hdf5.keras")
        assert format.open(tmp_path / name).classes == ("no", "yes")
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    net.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
    (tmp_path / "lfs.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 2\n")
    (tmp_path / "text.h5").write_text("<html>")
    (tmp_path / "tf").mkdir()
    (tmp_path / "tf/saved_model.pb").write_bytes(b"x")
    texts = {
        "a.weights.h5": "holds weights alone",
        "old.h5": "holds weights alone",
        "lfs.h5": "pointer of git-LFS",
        "text.h5": "a web page",
        "tf": r"a SavedModel of TensorFlow.*save\('model\.h5'\)",
    }
    for name, text in texts.items():
        for action in (read, extend.load):
            with pytest.raises(FormatError, match=text) as error:
                action(tmp_path / name)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", keras.losses.Huber()])
def test_a_regression_is_no_classifier(tmp_path: Path, loss: Any) -> None:
    net = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="price")])
    net.compile(loss=loss)
    for suffix in (".h5", ".keras"):
        net.save(tmp_path / f"net{suffix}")
        with pytest.raises(FormatError, match="'price': it predicts a number"):
            format.open(tmp_path / f"net{suffix}")
    with pytest.raises(FormatError, match="'price': it predicts a number"):
        format.open(net)
    net.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    assert format.open(net).head.num_classes == 2


def heap_of_zeros(content: bytearray) -> None:
    place = content.find(b"GCOL")
    content[place + 16 : place + 32] = bytes(16)


def free_list_in_a_circle(content: bytearray) -> None:
    place = -1
    while (place := content.find(b"HEAP", place + 1)) >= 0:
        _, free, start = struct.unpack("<QQQ", content[place + 8 : place + 32])
        if free != 1 and start + free + 8 <= len(content):
            content[start + free : start + free + 8] = struct.pack("<Q", free)


def tree_in_itself(content: bytearray) -> None:
    place = -1
    while (place := content.find(b"TREE", place + 1)) >= 0:
        content[place + 5] = 1
        content[place + 32 : place + 40] = struct.pack("<Q", place)


@pytest.mark.parametrize("damage", [heap_of_zeros, free_list_in_a_circle, tree_in_itself])
def test_hdf5_that_loops_or_crashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytearray], None]
) -> None:
    monkeypatch.setattr(_probe, "SECONDS", 2)
    content = bytearray((DATA / "one_unit.h5").read_bytes())
    damage(content)
    (tmp_path / "bad.h5").write_bytes(content)
    with pytest.raises(FormatError, match="damaged: reading it crashes, or does not end within 2 s"):
        format.open(tmp_path / "bad.h5")
