"""Keras files opened and written wider, judged by Keras itself; and files that must not be opened."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")
import h5py
import jax
import keras
from keras import layers

import extend
from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.keras import _archive as keras_archive
from extend.formats.keras import model as format
from extend.formats.keras import to_keras_h5
from tests.fuzz.run import fuzz

RNG = np.random.default_rng(0)


def chain(*ends: Any) -> keras.Model:
    return keras.Sequential([keras.Input((8,)), layers.Dense(5, "tanh"), *ends])


def functional(end: Any) -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(layers.Rescaling(1 / 255)(inputs))
    x = layers.BatchNormalization()(x)
    y = layers.DepthwiseConv2D(3, padding="same")(layers.LeakyReLU()(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(layers.Add()([x, y])))
    model = keras.Model(inputs, end(x))
    for weight in model.weights:
        weight.assign(np.random.default_rng(1).uniform(0.1, 1, weight.shape))
    return model


MODELS: dict[str, tuple[Callable[[], keras.Model], int, str]] = {
    "softmax": (lambda: chain(layers.Dense(3, "softmax")), 3, "softmax"),
    "activation": (lambda: chain(layers.Dense(3), layers.Activation("softmax")), 3, "softmax"),
    "softmax layer": (lambda: chain(layers.Dense(3), layers.Softmax()), 3, "softmax"),
    "logits": (lambda: chain(layers.Dense(3)), 3, "softmax"),
    "binary": (lambda: chain(layers.Dense(1, "sigmoid")), 2, "softmax"),
    "binary activation": (lambda: chain(layers.Dense(1), layers.Activation("sigmoid")), 2, "softmax"),
    "labels": (lambda: chain(layers.Dense(3, "sigmoid", use_bias=False)), 3, "sigmoid"),
    "functional": (lambda: functional(layers.Dense(3, "softmax")), 3, "softmax"),
}


def inputs(model: keras.Model) -> np.ndarray:
    return RNG.uniform(-1, 1, (5, *model.inputs[0].shape[1:])).astype(np.float32)


def logits(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """What the last dense layer gives, from Keras alone."""
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)][-1]
    out = keras.Model(model.inputs, model.get_layer(dense.name).input)(x, training=False)
    scores = keras.ops.convert_to_numpy(out) @ keras.ops.convert_to_numpy(dense.kernel)
    return scores + (keras.ops.convert_to_numpy(dense.bias) if dense.use_bias else 0)


def widened(head: DenseHead, more: int = 1) -> DenseHead:
    kernel = RNG.normal(size=(head.kernel.shape[0], more)).astype(head.kernel.dtype)
    bias = RNG.normal(size=more).astype(head.bias.dtype)
    return DenseHead(np.hstack([head.kernel, kernel]), np.concatenate([head.bias, bias]), head.activation)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", MODELS)
def test_keras_gives_the_old_classes_the_old_logits(tmp_path: Path, name: str, suffix: str) -> None:
    make, count, activation = MODELS[name]
    model = make()
    model.save(tmp_path / f"model{suffix}")
    x = inputs(model)
    before, old = logits(model, x), np.asarray(model(x, training=False))
    opened = format.open(tmp_path / f"model{suffix}")
    assert opened.head.num_classes == count
    assert opened.head.activation == activation
    np.testing.assert_allclose((opened.features(x) @ opened.head.kernel + opened.head.bias)[:, -before.shape[1] :],
                               before, atol=1e-5)  # fmt: skip
    head = widened(opened.head)
    names = tuple("abcd"[: count + 1])
    opened.save(tmp_path / f"wide{suffix}", head, names)
    wide = keras.saving.load_model(tmp_path / f"wide{suffix}")
    after = logits(wide, x)
    np.testing.assert_allclose(after[:, count - before.shape[1] : count], before, atol=1e-5)
    new = np.asarray(wide(x, training=False))
    assert new.shape == (5, count + 1)
    if name == "binary":
        np.testing.assert_allclose(new[:, 1] / new[:, :2].sum(1), old[:, 0], atol=1e-5)
    again = format.open(tmp_path / f"wide{suffix}")
    assert again.classes == names
    assert again.fingerprint == opened.fingerprint == format.open(model).fingerprint
    assert again.head.kernel.tobytes() == head.kernel.tobytes()
    assert again.head.bias.tobytes() == head.bias.tobytes()


def test_one_kind_is_written_as_the_other(tmp_path: Path) -> None:
    model = functional(layers.Dense(3, "softmax"))
    opened = format.open(model)
    opened.save(tmp_path / "a.h5", opened.head, ("x", "y", "z"))
    second = format.open(tmp_path / "a.h5")
    second.save(tmp_path / "b.keras", second.head, ("x", "y", "z"))
    third = keras.saving.load_model(tmp_path / "b.keras")
    x = inputs(model)
    np.testing.assert_array_equal(third(x, training=False), model(x, training=False))
    for ours, theirs in zip(third.weights, model.weights, strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


def test_two_classes_of_one_sigmoid_stay_one_unit(tmp_path: Path) -> None:
    model = chain(layers.Dense(1, "sigmoid"))
    opened = format.open(model)
    opened.save(tmp_path / "same.keras", opened.head, ("no", "yes"))
    assert keras.saving.load_model(tmp_path / "same.keras").output_shape == (None, 1)


def test_the_users_model_is_not_touched(tmp_path: Path) -> None:
    model = chain(layers.Dense(3, "softmax"))
    before = [np.asarray(weight).tobytes() for weight in model.weights]
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    opened = format.open(model)
    opened.features(inputs(model))
    opened.save(tmp_path / "wide.keras", widened(opened.head), tuple("abcd"))
    assert [np.asarray(weight).tobytes() for weight in model.weights] == before
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert model.output_shape == (None, 3)


def test_several_inputs_are_a_dict() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], layers.Dense(2, "softmax")(layers.Concatenate()([a, b])))
    opened = format.open(model)
    assert set(opened.input) == {"a", "b"}
    batch = {"a": np.ones((4, 3), np.float32), "b": np.zeros((4, 2), np.float32)}
    np.testing.assert_array_equal(opened.features(batch), [[1, 1, 1, 0, 0]] * 4)
    with pytest.raises(FormatError, match="a dict"):
        opened.features({"a": batch["a"]})


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda: functional(lambda x: layers.Dense(3, "tanh")(x)), "tanh"),
        (lambda: chain(layers.Dense(3), layers.ReLU()), "re_lu"),
        (
            lambda: keras.Sequential([keras.Input((4, 4, 3)), layers.Conv2D(2, 1), layers.GlobalMaxPooling2D()]),
            "Global",
        ),
        (lambda: keras.Sequential([keras.Input((4, 3)), layers.Dense(2, "softmax")]), "3 axes"),
        (lambda: keras.Sequential([layers.Dense(2, "softmax")]), "no input shape"),
    ],
)
def test_what_has_no_dense_head_is_named(model: Callable[[], keras.Model], text: str) -> None:
    with pytest.raises(FormatError, match=text):
        format.open(model())


def test_save_refuses_another_suffix_and_head(tmp_path: Path) -> None:
    opened = format.open(chain(layers.Dense(3, "softmax")))
    with pytest.raises(FormatError, match=r"\.keras, \.h5"):
        opened.save(tmp_path / "model.onnx", opened.head, tuple("abc"))
    with pytest.raises(FormatError, match="reads 4 features; the model gives 5"):
        opened.save(tmp_path / "model.keras", DenseHead(np.ones((4, 3)), np.ones(3)), tuple("abc"))
    assert not list(tmp_path.iterdir())


def hostile(function: dict[str, Any]) -> dict[str, Any]:
    config = {"name": "mine", "function": function, "arguments": {}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": config, "registered_name": None}
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 2], "name": "in"}}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [first, layer]}}


def swapped(module: str | None, kind: str, registered: str | None = None) -> dict[str, Any]:
    model = hostile({})
    model["config"]["layers"][1] = {
        "module": module,
        "class_name": kind,
        "registered_name": registered,
        "config": {"name": "mine"},
    }
    return model


ATTACKS = {
    "CVE-2024-3660": hostile({"class_name": "__lambda__", "config": {"value": "AAAA"}}),
    "CVE-2025-1550": swapped("os", "system"),
    "CVE-2025-8747": swapped("keras.utils", "get_file"),
    "CVE-2025-9906": swapped("keras.config", "enable_unsafe_deserialization"),
    "a function": swapped("builtins", "function"),
    "a custom class": swapped("mine", "Thing", "Mine>Thing"),
    "a registered name": swapped("keras.layers", "Dense", "Mine>Thing"),
    "a vocabulary": swapped("keras.layers", "StringLookup"),
    "TensorFlow's code": swapped("keras.layers", "TFSMLayer"),
    "another module": swapped("keras.src.saving.saving_lib", "Dense"),
    "no module": swapped(None, "Lambda"),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_config_that_names_other_code_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    chain(layers.Dense(3, "softmax")).save(tmp_path / f"model{suffix}")
    path = changed(tmp_path / f"model{suffix}", ATTACKS[name])
    with pytest.raises(FormatError, match="'mine'"):
        format.open(path)


def changed(path: Path, config: dict[str, Any]) -> Path:
    """The same file with another config."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, data)
    return path


def test_lambda_opens_with_trust(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x * 2), layers.Dense(2, "softmax")])
    model.save(tmp_path / "model.keras")
    with pytest.raises(FormatError, match=r"'lambda.*trust=True"):
        format.open(tmp_path / "model.keras")
    opened = format.open(tmp_path / "model.keras", trust=True)
    np.testing.assert_array_equal(opened.features(np.ones((1, 2), np.float32)), [[2, 2]])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_huge_layers_are_refused_before_they_are_made(tmp_path: Path, suffix: str) -> None:
    model = chain(layers.Dense(3, "softmax"))
    model.save(tmp_path / f"model{suffix}")
    config = {"module": "keras", "class_name": "Sequential", "config": model.get_config()}
    config = json.loads(json.dumps(config))
    config["config"]["layers"][-1]["config"]["units"] = 10**9
    with pytest.raises(FormatError, match="declare"):
        format.open(changed(tmp_path / f"model{suffix}", config))
    assert format.open(model).head.num_classes == 3  # and nothing of it is left over
    chain(layers.Dense(2))


def test_hdf5_that_reaches_elsewhere_or_declares_too_much_is_refused() -> None:
    def content(build: Callable[[h5py.File], object]) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            build(file)
        return stream.getvalue()

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
        file.create_virtual_dataset("x", layout)

    builds: list[Callable[[h5py.File], object]] = [
        lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        lambda file: file.__setitem__("x", h5py.SoftLink("/y")),
        lambda file: file.create_dataset("x", (4,), "f4", external=[("/etc/passwd", 0, 16)]),
        virtual,
        lambda file: file.create_dataset("x", (1 << 40,), "f4", chunks=(1 << 20,), compression="gzip"),
        lambda file: file.create_dataset("x", (4,), h5py.string_dtype()),
    ]
    for build in builds:
        with pytest.raises(FormatError):
            keras_archive.open_hdf5(content(build))


def test_zip_bombs_and_other_members_are_refused(tmp_path: Path) -> None:
    for name, data in (("config.json", b" " * (60 << 20)), ("../x", b"1"), ("assets/vocabulary.txt", b"1")):
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        with pytest.raises(FormatError, match=r"model\.keras"):
            format.open(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_truncated_files_are_format_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    chain(layers.Dense(3, "softmax")).save(path)
    whole = path.read_bytes()
    for end in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FormatError):
            format.open(path)
    with pytest.raises(FormatError, match="no such file"):
        format.open(tmp_path / f"none{suffix}")


def dl4j_read(path: Path) -> list[np.ndarray]:
    """The weights, by the steps of deeplearning4j's importer (KerasModelBuilder, KerasModelUtils.importWeights)."""
    with h5py.File(path, "r") as file:
        assert h5py.check_string_dtype(file.attrs.get_id("model_config").dtype).length is None
        config = json.loads(file.attrs["model_config"])
        assert file.attrs["keras_version"][:5].startswith("2.")
        assert file.attrs["backend"] == "tensorflow"
        assert config["class_name"] in ("Sequential", "Model")
        entries = config["config"]["layers"]
        assert entries[0]["class_name"] == "InputLayer"
        assert entries[0]["config"]["batch_input_shape"][0] is None
        if config["class_name"] == "Model":
            for key in ("input_layers", "output_layers"):
                assert isinstance(config["config"][key][0], list)
            for entry in entries:
                assert all(isinstance(part[0], str) for node in entry["inbound_nodes"] for part in node)
        known = {entry["config"]["name"] for entry in entries}
        found = []
        for name, group in file["model_weights"].items():
            assert name in known  # deeplearning4j fails on a group that is no layer
            names = group.attrs["weight_names"]
            if len(names):
                assert names.dtype.kind == "S"  # of fixed length
                folder = names[0].decode().rsplit("/", 1)[0]
                assert all(key.endswith(":0") for key in group[folder])
                found += [group[name.decode()][()] for name in names]
        for entry in entries:
            if entry["class_name"] == "Dense":
                assert set(entry["config"]["kernel_initializer"]) == {"class_name", "config"}
                assert isinstance(entry["config"]["dtype"], str)
        return found


def test_dense_networks_become_files_for_keras_2(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = tuple(
        DenseLayer(rng.normal(size=(n, m)), rng.normal(size=m), kind)
        for n, m, kind in ((4, 6, "tanh"), (6, 5, "relu"), (5, 4, "logistic"), (4, 3, "softmax"))
    )
    network = DenseNetwork(made, rng.uniform(0.5, 2, 4), rng.normal(size=4), classes=("a", "b", "c"))
    path = tmp_path / "network.h5"
    to_keras_h5(network, path)
    x = rng.normal(size=(20, 4))
    np.testing.assert_allclose(keras.saving.load_model(path).predict(x, verbose=0), network.outputs(x), atol=1e-6)
    assert [array.shape for array in dl4j_read(path)] == [(4, 6), (6,), (6, 5), (5,), (5, 4), (4,), (4, 3), (3,)]
    assert format.open(path).classes == ("a", "b", "c")
    with pytest.raises(FormatError, match="log_softmax"):
        to_keras_h5(DenseNetwork((DenseLayer(np.eye(2), np.ones(2), "log_softmax"),), np.ones(2), np.ones(2)), path)
    with pytest.raises(FormatError, match=r"\.h5"):
        to_keras_h5(network, tmp_path / "network.keras")


def test_legacy_files_have_what_deeplearning4j_reads(tmp_path: Path) -> None:
    model = functional(layers.Dense(3, "softmax"))
    opened = format.open(model)
    opened.save(tmp_path / "model.h5", opened.head, tuple("abc"))
    read = {array.tobytes() for array in dl4j_read(tmp_path / "model.h5")}
    assert read == {np.asarray(weight).tobytes() for weight in model.weights}


def test_legacy_files_refuse_what_keras_2_has_not(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    opened = format.open(keras.Model(inputs, layers.Dense(2)(layers.RMSNormalization()(inputs))))
    with pytest.raises(FormatError, match="rms_normalization"):
        opened.save(tmp_path / "model.h5", opened.head, ("a", "b"))
    opened = format.open(keras.Model(inputs, layers.Dense(2)(keras.ops.relu(inputs))))
    with pytest.raises(FormatError, match="Relu"):
        opened.save(tmp_path / "model.h5", opened.head, ("a", "b"))
    opened.save(tmp_path / "model.keras", opened.head, ("a", "b"))
    assert format.open(tmp_path / "model.keras").fingerprint == opened.fingerprint


def application(name: str) -> tuple[keras.Model, np.ndarray]:
    """A network of `keras.applications` under a new head of seven classes, as people fine-tune it, and inputs."""
    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    base.trainable = False
    for weight in base.weights:
        if "moving_variance" in weight.path:
            weight.assign(RNG.uniform(0.5, 2, weight.shape))
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    model = keras.Model(inputs, layers.Dense(7, "softmax")(x))
    return model, RNG.uniform(0, 1, (4, 32, 32, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name, suffix", [("DenseNet121", ".h5"), ("MobileNetV2", ".keras")])
def test_applications_keep_their_logits(tmp_path: Path, name: str, suffix: str) -> None:
    model, x = application(name)
    model.save(tmp_path / f"model{suffix}")
    opened = format.open(tmp_path / f"model{suffix}")
    before = logits(model, x)
    np.testing.assert_allclose(opened.features(x) @ opened.head.kernel + opened.head.bias, before, atol=1e-5)
    opened.save(tmp_path / f"wide{suffix}", widened(opened.head), tuple("abcdefgh"))
    wide = keras.saving.load_model(tmp_path / f"wide{suffix}")
    np.testing.assert_allclose(logits(wide, x)[:, :7], before, atol=1e-5)


@pytest.mark.slow
def test_vgg16_with_frozen_layers_learns_an_eighth_class(tmp_path: Path) -> None:
    model, _ = application("VGG16")
    model.save(tmp_path / "vgg16.keras")
    opened = format.open(tmp_path / "vgg16.keras")
    x = RNG.uniform(0, 255, (160, 32, 32, 3)).astype(np.float32)
    y = np.repeat(np.arange(8), 20)
    x += y[:, None, None, None] * np.float32(30)
    features = opened.features(x)
    own = extend.LinearHead.of(opened.head.kernel, opened.head.bias)
    spec = jax.ShapeDtypeStruct(features.shape[1:], np.float32)
    backbone = extend.FunctionBackbone.of(lambda batch: batch, spec, head=own)
    names = [f"class {k}" for k in range(7)]
    clf = extend.wrap(backbone, names, (features[y < 7], y[y < 7]))
    clf, _ = extend.add_classes(clf, {"class 7": features[y == 7]}, method=extend.methods.NewUnits())
    bias = clf.head.scores(np.zeros((1, features.shape[1]), np.float32))[0]
    kernel = clf.head.scores(np.eye(features.shape[1], dtype=np.float32)) - bias
    head = DenseHead(kernel.astype(np.float32), bias.astype(np.float32))
    opened.save(tmp_path / "wide.keras", head, clf.classes)
    wide = keras.saving.load_model(tmp_path / "wide.keras")
    expected = features @ kernel + bias
    np.testing.assert_allclose(logits(wide, x[:8]), expected[:8], atol=1e-4)
    assert format.open(tmp_path / "wide.keras").classes == clf.classes


@pytest.mark.slow
def test_fuzz() -> None:
    counts, wrong = fuzz("keras", 30)
    assert not wrong, counts
