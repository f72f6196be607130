"""What `extend.inspect` says of the package's own checkpoints and of other frameworks' models."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import extend
from extend.classifier import Classifier
from extend.core.errors import ArgumentError, CheckpointError, FormatError
from extend.formats.registry import read
from tests.conftest import blobs, identity, names

NAMES = ["ant", "bee", "cow"]


@pytest.fixture
def model() -> LogisticRegression:
    x, y = blobs(3, 40, 5)
    return LogisticRegression().fit(x, np.asarray(NAMES)[y])


def test_a_checkpoint_with_a_memory(network: Classifier, tmp_path: Path) -> None:
    wider, _ = extend.add_classes(network, {"one more": blobs(4, 20, 5)[0][-20:]}, method="lda")
    wider.save(tmp_path / "wider")
    found = extend.inspect(str(tmp_path / "wider"))
    assert found == extend.inspect(tmp_path / "wider") == json.loads(json.dumps(found))
    assert found["format"] == "extend checkpoint"
    assert found["classes"] == list(wider.classes)
    assert found["network"]["class"] == "MLP" and found["network"]["kind"] == "nnx"
    assert found["input"] == {"shape": [5], "dtype": "float32"}
    assert set(found["features"]) >= {"taps", "transform", "width"}
    assert found["head"]["kind"] == "linear" and found["memory"]["classes"] == list(wider.classes)
    assert [(event["action"], event["method"]) for event in found["history"]] == [("wrap", "own head"), ("add", "lda")]
    assert {"jax", "numpy"} <= set(found["versions"])


def test_a_checkpoint_of_a_function_without_a_memory(tmp_path: Path) -> None:
    x, y = blobs(2, 20, 5)
    clf = extend.wrap(identity, names(2), (x, y), transform="standardise")
    Classifier(clf.backbone, clf.head, clf.classes, None, clf.history).save(tmp_path)
    found = extend.inspect(tmp_path)
    assert found["network"]["kind"] == "function" and found["memory"] is None
    assert found["features"]["transform"] == "standardise"


@pytest.mark.parametrize("name", ["digits-0-7", "cifar10-8"])
def test_the_shipped_checkpoints(name: str) -> None:
    found = extend.inspect(Path(__file__).parents[2] / "checkpoints" / name)
    assert len(found["classes"]) == 8 and found["memory"] is not None


@pytest.mark.parametrize("damage", ["changed", "missing", "manifest"])
def test_a_damaged_checkpoint_is_refused(network: Classifier, tmp_path: Path, damage: str) -> None:
    network.save(tmp_path / "c")
    largest = max((tmp_path / "c").glob("data-*/**/*"), key=lambda file: file.stat().st_size if file.is_file() else 0)
    file = tmp_path / "c" / "manifest" if damage == "manifest" else largest
    if damage == "missing":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=file.name):
        extend.inspect(tmp_path / "c")


def test_a_path_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no such file or folder"):
        extend.inspect(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no manifest"):
        extend.inspect(tmp_path)
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(FormatError, match="no known format"):
        extend.inspect(tmp_path / "notes.txt")
    with pytest.raises(FormatError, match="NoneType is not a model"):
        extend.inspect(None)


def test_a_file_of_another_framework(model: LogisticRegression, tmp_path: Path) -> None:
    opened = read(model)
    opened.save(tmp_path / "m.skops", opened.head, tuple(NAMES))
    found = extend.inspect(tmp_path / "m.skops")
    assert found["format"] == "sklearn" and found["classes"] == NAMES and found["named"] is True
    assert found["features"] == 5 and found["memory"] == "none" and found["works"].startswith("imprint")
    assert found == extend.inspect(model)


def test_a_file_with_its_memory_beside_it(model: LogisticRegression, tmp_path: Path) -> None:
    x, y = blobs(3, 40, 5)
    path = extend.save(extend.wrap(model, data=(x, y)), tmp_path / "m.skops")
    found = extend.inspect(path)
    assert found["memory"] == "in m.skops.extend" and found["works"].startswith("every linear method")
    assert extend.inspect(tmp_path / "m.skops.extend")["format"] == "extend checkpoint"
    shutil.rmtree(tmp_path / "m.skops.extend")
    assert extend.inspect(path)["memory"] == "none"


def test_a_module_of_pytorch_is_run_on_what_one_input_is(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    spec = jax.ShapeDtypeStruct((4,), np.float32)
    found = extend.inspect(net, inputs=spec)
    assert found["format"] == "torch" and found["features"] == 8 and found["classes"] == ["0", "1", "2"]
    path = extend.save(extend.wrap(net, inputs=spec), tmp_path / "m.pt")
    assert extend.inspect(path, model=net)["input"] == found["input"]  # The folder beside the file says it.
