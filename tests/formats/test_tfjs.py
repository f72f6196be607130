"""TensorFlow.js models opened and written wider, judged by what TensorFlow.js itself answered (tests/data/tfjs)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
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
from extend.formats.base import DenseHead, Foreign
from extend.formats.tfjs import to_tfjs
from tests.fuzz.run import fuzz

DATA = Path(__file__).parents[1] / "data" / "tfjs"
ANSWERS = {name: np.array(rows) for name, rows in json.loads((DATA / "answers.json").read_text()).items()}
TEXT = extend.Array((12,), "int32")


def inputs(opened: Foreign, rows: int = 3) -> np.ndarray:
    """The inputs of ``make.mjs``: element i is (37 i mod 101) / 50 - 1, or that number mod 40."""
    shape = (rows, *(length or 12 for length in opened.input.shape))
    numbers = np.arange(np.prod(shape)) * 37 % 101
    whole = opened.input.dtype == np.int32
    return (numbers % 40 if whole else numbers / 50 - 1).astype(opened.input.dtype).reshape(shape)


def answers(opened: Foreign, x: np.ndarray) -> np.ndarray:
    """Probabilities, in float64, of the features and the head."""
    scores = opened.features(x).astype(np.float64) @ opened.head.kernel + opened.head.bias
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def wider(head: DenseHead) -> DenseHead:
    new = np.random.default_rng(0).normal(size=(head.num_features, 1)).astype(np.float32)
    return DenseHead(
        np.concatenate([head.kernel, new], axis=1), np.append(head.bias, np.float32(0.25)), head.activation
    )


def stored(folder: Path) -> dict[str, tuple[Any, bytes]]:
    """By name, what weightsManifest says of each weight, and its bytes, read without the package."""
    found = {}
    for group in json.loads((folder / "model.json").read_text())["weightsManifest"]:
        data = b"".join((folder / path).read_bytes() for path in group["paths"])
        for entry in group["weights"]:
            kind = entry.get("quantization", entry)["dtype"]
            size = int(np.prod(entry["shape"])) * {"uint8": 1, "uint16": 2, "float16": 2, "float32": 4}[kind]
            found[entry["name"]] = (entry, data[:size])
            data = data[size:]
        assert not data
    return found


@pytest.fixture(scope="module", params=sorted(ANSWERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def opened(name: str) -> Foreign:
    return read(DATA / name)


def test_answers_are_those_of_tensorflow_js(name: str, opened: Foreign) -> None:
    np.testing.assert_allclose(answers(opened, inputs(opened)), ANSWERS[name], atol=1e-5)


def test_written_wider(name: str, opened: Foreign, tmp_path: Path) -> None:
    """Every weight but the head's keeps its bytes, quantized ones too; old columns keep their bits."""
    head = wider(opened.head)
    classes = tuple("abcdef"[: head.num_classes])
    opened.save(tmp_path / "wide.tfjs", head, classes)
    old, new = stored(DATA / name), stored(tmp_path / "wide.tfjs")
    (own,) = {entry["name"].rpartition("/")[0] for key, (entry, _) in new.items() if old.get(key) != new[key]}
    assert own in ("dense_Dense2", "NewHeadDense", "logits")
    assert {f"{own}/kernel", f"{own}/bias"} == {key for key in new if old.get(key) != new[key]}
    again = read(tmp_path / "wide.tfjs")
    assert again.classes == classes and again.fingerprint == opened.fingerprint and again.head.equals(head)
    x = inputs(opened)
    np.testing.assert_array_equal(again.features(x), opened.features(x))
    # Written over itself with its first head: the numbers of the first file, and no file of weights that is not used.
    again.save(tmp_path / "wide.tfjs", opened.head, classes[:-1])
    np.testing.assert_allclose(answers(read(tmp_path / "wide.tfjs"), x), ANSWERS[name], atol=1e-5)
    used = [
        path
        for group in json.loads((tmp_path / "wide.tfjs/model.json").read_text())["weightsManifest"]
        for path in group["paths"]
    ]
    assert sorted(file.name for file in (tmp_path / "wide.tfjs").iterdir()) == sorted(
        [*used, "metadata.json", "model.json"]
    )


@pytest.mark.slow
@pytest.mark.needs("node", "npm")
def test_written_wider_runs_in_tensorflow_js(tmp_path_factory: pytest.TempPathFactory) -> None:
    """TensorFlow.js gives the old classes the old odds, and the new class the share that the head says."""
    folder = tmp_path_factory.mktemp("node")
    packages = [f"@tensorflow/tfjs-{name}@4.22.0" for name in ("core", "layers", "backend-cpu")]
    install = ["npm", "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run([*install, *packages], cwd=folder, check=True, capture_output=True)
    shutil.copy(DATA / "make.mjs", folder)
    expected = {}
    for name, old in ANSWERS.items():
        opened = read(DATA / name)
        head = wider(opened.head)
        opened.save(folder / name, head, tuple("abcdef"[: head.num_classes]))
        expected[name] = answers(read(folder / name), inputs(opened))
        np.testing.assert_allclose(
            expected[name][:, :-1] / expected[name][:, :-1].sum(axis=1, keepdims=True), old, atol=1e-5
        )
    for name, model in MODELS.items():
        to_tfjs(model(), folder / name, ("a", "b", "c"))
        opened = read(folder / name)
        expected[name] = answers(opened, inputs(opened))
    subprocess.run(["node", "make.mjs"], cwd=folder, check=True, capture_output=True)
    found = json.loads((folder / "answers.json").read_text())
    assert set(found) >= set(expected)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(found[name], probabilities, atol=1e-5, err_msg=name)


def functional() -> keras.Model:
    keras.utils.set_random_seed(1)
    start = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, activation="relu")(start)
    x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    body = keras.Model(start, layers.GlobalAveragePooling2D()(layers.Concatenate()([x, x])), name="body")
    outside = keras.Input((8, 8, 3))
    model = keras.Model(outside, layers.Dense(3, "softmax")(layers.Dropout(0.5)(body(outside))))
    for weight in model.weights:
        if "seed" not in weight.name:
            weight.assign(np.random.default_rng(len(weight.path)).uniform(0.1, 1, weight.shape))
    return model


def recurrent() -> keras.Model:
    keras.utils.set_random_seed(2)
    inner = layers.LSTM(4, return_sequences=True)
    ends = [
        layers.Bidirectional(inner),
        layers.GRU(5, reset_after=False),
        layers.LayerNormalization(),
        layers.Dense(3, "softmax"),
    ]
    return keras.Sequential([keras.Input((6, 2)), layers.TimeDistributed(layers.Dense(3)), *ends])


MODELS: dict[str, Callable[[], keras.Model]] = {"functional": functional, "recurrent": recurrent}


@pytest.mark.parametrize("name", MODELS)
def test_keras_becomes_tensorflow_js_and_back(name: str, tmp_path: Path) -> None:
    """Out of a file of Keras, into one, and both answer as Keras itself does."""
    model = MODELS[name]()
    model.save(tmp_path / "model.keras")
    read(tmp_path / "model.keras").save(tmp_path / "js.tfjs", *_same(read(tmp_path / "model.keras")))
    opened = read(tmp_path / "js.tfjs")
    x = inputs(opened)
    np.testing.assert_allclose(answers(opened, x), np.asarray(model(x)), atol=1e-5)
    assert opened.fingerprint == read(tmp_path / "model.keras").fingerprint
    for suffix in (".keras", ".h5"):
        opened.save(tmp_path / f"back{suffix}", *_same(opened))
        back = keras.saving.load_model(tmp_path / f"back{suffix}", compile=False)
        np.testing.assert_allclose(np.asarray(back(x)), np.asarray(model(x)), atol=1e-5)


def _of_keras3(model: keras.Model, folder: Path, names: str) -> None:
    """What TensorFlow.js' converter 4 makes of a ``.keras`` file ("paths"), or of Keras 3's ``.h5`` ("layers")."""
    model.save(folder / "made.keras")
    with zipfile.ZipFile(folder / "made.keras") as archive:
        config = json.loads(archive.read("config.json"))
        (folder / "w.h5").write_bytes(archive.read("model.weights.h5"))
    if names == "paths":
        config = without_modules(config)
        found: dict[str, np.ndarray] = {}
        with h5py.File(folder / "w.h5") as file:
            file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
    else:
        found = {weight.path: np.asarray(weight.value) for weight in model.weights}
    found = {name: array for name, array in found.items() if array.dtype == np.float32}
    entries = [{"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in found.items()]
    (folder / "all.bin").write_bytes(b"".join(array.tobytes() for array in found.values()))
    topology = {"keras_version": keras.__version__, "model_config": config}
    manifest = [{"paths": ["all.bin"], "weights": entries}]
    text = json.dumps({"format": "layers-model", "modelTopology": topology, "weightsManifest": manifest})
    (folder / "model.json").write_text(text)


def without_modules(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_modules(v) for k, v in value.items() if k not in ("module", "registered_name")}
    return [without_modules(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("names", ["paths", "layers"])
def test_configs_of_keras_3(names: str, tmp_path: Path) -> None:
    """TensorFlow.js cannot read them; they are opened, and what is written is what it can read."""
    model = functional()
    _of_keras3(model, tmp_path, names)
    opened = read(tmp_path)
    x = inputs(opened)
    np.testing.assert_allclose(answers(opened, x), np.asarray(model(x)), atol=1e-5)
    opened.save(tmp_path / "out.tfjs", *_same(opened))
    assert "batch_input_shape" in (tmp_path / "out.tfjs" / "model.json").read_text()
    np.testing.assert_array_equal(read(tmp_path / "out.tfjs").features(x), opened.features(x))


def _same(opened: Foreign) -> tuple[DenseHead, tuple[str, ...]]:
    return opened.head, ("a", "b", "c")


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.GRU(4), "GRU with reset_after=True"),
        (layers.Conv1D(4, 2, groups=2, activation="relu"), "Conv1D with groups=2"),
        (layers.Conv1D(4, 2, activation="tanh_shrink"), "activation tanh_shrink"),
        (layers.UnitNormalization(), "UnitNormalization"),
    ],
)
def test_what_tensorflow_js_has_not_is_refused(layer: Any, named: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((6, 2)), layer, layers.Flatten(), layers.Dense(3)])
    with pytest.raises(FormatError, match=named):
        to_tfjs(model, tmp_path / "js", ("a", "b", "c"))
    assert not (tmp_path / "js").exists()


def test_teachable_machine_learns_a_class(tmp_path: Path) -> None:
    """Its zip says what the classes are and how pixels are scaled; the class comes in, and the zip is its again."""
    export = tmp_path / "converted_tfjs.zip"
    with zipfile.ZipFile(export, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in ("model.json", "weights.bin", "metadata.json"):
            archive.write(DATA / "picture" / file, file)
    clf = extend.load(export)
    assert clf.classes == ("Class 1", "cat", "Hündin")
    pictures = np.random.default_rng(0).integers(0, 256, (4, 20, 20, 3), np.uint8)
    by_hand = answers(clf.backbone.model, (pictures / 127 - 1).astype(np.float32))
    np.testing.assert_allclose(clf.predict_proba(pictures), by_hand, atol=1e-5)
    wide, _ = extend.add_classes(clf, {"bird": pictures})
    extend.save(wide, tmp_path / "wide.zip")
    with zipfile.ZipFile(tmp_path / "wide.zip") as archive:
        assert sorted(archive.namelist()) == ["metadata.json", "model.json", "weights.bin"]
        metadata = json.loads(archive.read("metadata.json"))
    assert metadata["labels"] == ["Class 1", "cat", "Hündin", "bird"] and metadata["imageSize"] == 20
    assert extend.load(tmp_path / "wide.zip").classes == wide.classes


def test_sound_and_pose_are_what_they_are() -> None:
    sound, pose = read(DATA / "sound"), read(DATA / "pose")
    assert sound.classes == ("Background Noise", "clap") and sound.input.picture is None
    assert pose.classes == ("left", "right") and "PoseNet" in pose.describe()["limits"]


def test_memory_lies_in_the_folder(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 34)).astype(np.float32)
    clf = extend.load(DATA / "pose", data=(x[:40], np.repeat(["left", "right"], 20)))
    wide, _ = extend.add_classes(clf, {"up": x[40:] + 2})
    extend.save(wide, tmp_path / "out" / "model.json")
    for path in (tmp_path / "out", tmp_path / "out" / "model.json"):
        again = extend.load(path)
        assert again.memory is not None
        np.testing.assert_array_equal(again.predict_proba(x), wide.predict_proba(x))
    assert extend.inspect(tmp_path / "out")["classes"] == ["left", "right", "up"]
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["labels"] == ["left", "right", "up"]


def test_large_weights_are_cut_in_files_of_4_mb(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((600,)), layers.Dense(2000), layers.Dense(3)])
    to_tfjs(model, tmp_path / "large", ("a", "b", "c"))
    sizes = [(tmp_path / "large" / f"group1-shard{i}of2.bin").stat().st_size for i in (1, 2)]
    assert sizes[0] == 4 << 20 and sum(sizes) == 4 * model.count_params()
    opened = read(tmp_path / "large")
    np.testing.assert_array_equal(opened.head.kernel, np.asarray(model.layers[-1].kernel))


@pytest.mark.parametrize("name", ["picture", "converted"], indirect=True, scope="module")
def test_names_of_javascript_are_read(name: str, opened: Foreign, tmp_path: Path) -> None:
    """`batchInputShape`, `channelsLast`: as `model.toJSON` writes without Python's names."""

    def camel(text: str) -> str:
        first, *others = text.split("_")
        return first + "".join(part.capitalize() for part in others)

    def converted(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {camel(k): converted(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [converted(part) for part in value]
        return (
            camel(value) if key in ("data_format", "recurrent_activation", "mode") and isinstance(value, str) else value
        )

    shutil.copytree(DATA / name, tmp_path / "camel")
    document = json.loads((DATA / name / "model.json").read_text())
    document["modelTopology"] = converted(document["modelTopology"])
    (tmp_path / "camel" / "model.json").write_text(json.dumps(document))
    again = read(tmp_path / "camel")
    assert "batchInputShape" in (tmp_path / "camel" / "model.json").read_text()
    np.testing.assert_array_equal(again.features(inputs(opened)), opened.features(inputs(opened)))


@pytest.mark.parametrize("change", ["no format", "text in text", "a list of layers", "Functional"])
def test_what_older_and_newer_versions_write(change: str, tmp_path: Path) -> None:
    shutil.copytree(DATA / ("text" if change == "Functional" else "pose"), tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    document = json.loads(file.read_text())
    topology = document["modelTopology"]
    if change == "no format":
        for key in ("format", "generatedBy", "convertedBy"):
            del document[key]
    elif change == "text in text":
        document["modelTopology"] = {"keras_version": "2.1.4", "model_config": json.dumps(topology)}
    elif change == "a list of layers":
        topology["config"] = topology["config"]["layers"]
    else:
        topology["class_name"] = "Functional"
    file.write_text(json.dumps(document))
    opened = read(tmp_path / "model")
    x = inputs(opened)
    np.testing.assert_allclose(answers(opened, x), ANSWERS["text" if change == "Functional" else "pose"], atol=1e-5)
    opened.save(tmp_path / "again", wider(opened.head), tuple("abcdef"[: opened.head.num_classes + 1]))
    np.testing.assert_array_equal(read(tmp_path / "again").features(x), opened.features(x))


def weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path, dict[str, Any]], None]:
    """A change of the first weight in weightsManifest."""
    return lambda folder, document: change(document["weightsManifest"][0]["weights"][0])


def manifest(**said: Any) -> Callable[[Path, dict[str, Any]], None]:
    return lambda folder, document: document["weightsManifest"][0].update(said)


def link(folder: Path, document: dict[str, Any]) -> None:
    (folder / "weights.bin").rename(folder.parent / "outside.bin")
    (folder / "weights.bin").symlink_to(folder.parent / "outside.bin")


def rewritten(folder: Path, data: Callable[[bytes], bytes]) -> None:
    (folder / "weights.bin").write_bytes(data((folder / "weights.bin").read_bytes()))


WRONG: dict[str, tuple[Callable[[Path, dict[str, Any]], Any], str]] = {
    "graph model": (lambda f, d: d.update(format="graph-model"), "a graph model of TensorFlow.js has operations"),
    "graph": (lambda f, d: d.update(modelTopology={"node": [], "library": {}}), "a graph model"),
    "no topology": (lambda f, d: d.pop("modelTopology"), "modelTopology is missing"),
    "no class": (lambda f, d: d["modelTopology"].pop("class_name"), "modelTopology names no class"),
    "no weights": (lambda f, d: d.pop("weightsManifest"), "weightsManifest is missing or empty"),
    "upwards": (manifest(paths=["../outside.bin"]), r"names the file '../outside.bin'; expected a name in"),
    "absolute": (manifest(paths=["/etc/passwd"]), "names the file '/etc/passwd'"),
    "drive": (manifest(paths=["C:\\weights.bin"]), "names the file"),
    "address": (manifest(paths=["https://example.org/weights.bin"]), "put the weights beside model.json"),
    "number": (manifest(paths=[3]), "names the file '3'"),
    "link": (link, "is a link that leads out of the folder"),
    "missing": (lambda f, d: (f / "weights.bin").unlink(), "'weights.bin' is missing: it must lie beside model.json"),
    "short": (lambda f, d: rewritten(f, lambda data: data[:-4]), "declares 1776 bytes in weights.bin; found 1772"),
    "long": (lambda f, d: rewritten(f, lambda data: data + b"0000"), "declares 1776 bytes in weights.bin; found 1780"),
    "empty": (lambda f, d: rewritten(f, lambda data: b""), "no bytes; expected 1 to"),
    "dtype": (weights(lambda w: w.update(dtype="float64")), "dtype 'float64'; expected float32, int32, bool, uint8"),
    "text": (weights(lambda w: w.update(dtype="string")), "dtype 'string'"),
    "quantized": (
        weights(lambda w: w.update(quantization={"dtype": "int4"})),
        "is quantized as 'int4'; expected uint8",
    ),
    "scale": (weights(lambda w: w.update(quantization={"dtype": "uint8", "min": 0})), "with the scale None"),
    "shape": (weights(lambda w: w.update(shape=[34, -12])), r"has the shape \[34, -12\]"),
    "huge": (weights(lambda w: w.update(shape=[1 << 30, 1 << 30])), "declares more than"),
    "other shape": (weights(lambda w: w.update(shape=[12, 34])), r"has the shape \[12, 34\]; its layer has \[34, 12\]"),
    "name": (weights(lambda w: w.update(name="dense_Dense9/kernel")), "no weight is named 'dense_Dense1/kernel'"),
    "twice": (weights(lambda w: w.update(name="dense_Dense1/bias")), "names 'dense_Dense1/bias' twice"),
    "labels": (lambda f, d: (f / "metadata.json").write_text('{"labels": ["one"]}'), "1 classes are named"),
    "no labels": (lambda f, d: (f / "metadata.json").write_text('{"labels": "one"}'), "is no list of text"),
    "metadata": (lambda f, d: (f / "metadata.json").write_text("[]"), "no JSON object"),
}


@pytest.fixture
def changed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the pose model with something wrong, and what the error says."""
    change, said = WRONG[request.param]
    shutil.copytree(DATA / "pose", tmp_path / "model")
    document = json.loads((tmp_path / "model" / "model.json").read_text())
    change(tmp_path / "model", document)
    (tmp_path / "model" / "model.json").write_text(json.dumps(document))
    yield tmp_path / "model", said


@pytest.mark.parametrize("changed", WRONG, indirect=True)
def test_what_is_wrong_is_said_in_one_line(changed: tuple[Path, str]) -> None:
    folder, said = changed
    with pytest.raises(FormatError, match=said) as error:
        read(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not json", "it is no JSON"),
        (b'{"class_name": "Sequential", "config": {}}', "a Keras model's configuration, without weights"),
        (b"[" * 100_000, "JSON that describes no known model"),
        (b'{"modelTopology": {"class_name": "Sequential", "config": {"layers": [{"class_name": "Lambda", "config": '
         b'{"name": "mine"}}]}}, "weightsManifest": [{"paths": [], "weights": []}]}', "Lambda is not among the layers"),
    ],
)  # fmt: skip
def test_other_json_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(FormatError, match=said):
        read(tmp_path / "model.json")


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "keras.zip", "w") as archive:
        archive.writestr("keras_model.h5", b"...")
        archive.writestr("labels.txt", b"0 cat")
    with pytest.raises(
        FormatError, match=r"a model in it, which cannot be opened: unpack it, and open 'keras_model\.h5'"
    ):
        read(tmp_path / "keras.zip")


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    opened = read(DATA / "pose")
    given = wider(opened.head), ("a", "b", "c")
    for place, there in {
        "photos": "cat.jpg",
        "site/model.json": "metadata.json",
        "x/package.json": "package.json",
    }.items():
        folder = tmp_path / place.partition("/")[0]
        folder.mkdir()
        (folder / there).write_text('{"name": "mine"}')
        with pytest.raises(FormatError, match="give a"):
            opened.save(tmp_path / place, *given)
        assert [file.name for file in folder.iterdir()] == [there]
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.html").write_text("<html>")
    opened.save(tmp_path / "web" / "model.json", *given)
    assert read(tmp_path / "web").head.equals(given[0]) and (tmp_path / "web" / "index.html").exists()


@pytest.mark.slow
def test_fuzz() -> None:
    counts, wrong = fuzz("tfjs", 30)
    assert not wrong, counts
