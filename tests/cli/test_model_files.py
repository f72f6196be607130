"""The commands on files of other frameworks."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from extend.cli import arguments
from extend.formats.registry import read
from extend.operations.foreign import PIXELS
from tests.cli.conftest import run
from tests.conftest import blobs


def test_the_pixel_scalings_listed_are_the_scalings() -> None:
    assert arguments.PIXELS == tuple(PIXELS)


def test_a_file_of_another_framework(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = blobs(4, 60, 5)
    named = np.asarray(["ant", "bee", "cow", "dog"])[y]
    model = MLPClassifier((16,), max_iter=100, random_state=0).fit(x[y < 3], named[y < 3])
    opened = read(model)
    opened.save(tmp_path / "model.skops", opened.head, ("ant", "bee", "cow"))
    for place, names in (("old", named[:180]), ("new", named[180:]), ("all", named)):
        np.savez(tmp_path / f"{place}.npz", **{name: x[named == name] for name in np.unique(names)})

    code, out, _ = run(capsys, "inspect", tmp_path / "model.skops")
    assert code == 0 and "ant, bee, cow" in out and "imprint" in out
    wider = tmp_path / "wider.skops"
    files = ["--new", tmp_path / "new.npz", "--old", tmp_path / "old.npz"]
    code, out, err = run(capsys, "add", tmp_path / "model.skops", *files, "--out", wider, "--json")
    assert code == 0, err
    assert json.loads(out)["all_classes"] == ["ant", "bee", "cow", "dog"]
    code, out, _ = run(capsys, "evaluate", wider, tmp_path / "all.npz", "--json")
    assert code == 0 and json.loads(out)["accuracy"] > 0.9
    code, out, _ = run(capsys, "inspect", wider, "--json")
    assert code == 0 and "lda" in json.loads(out)["works"]
    code, out, _ = run(capsys, "convert", wider, tmp_path / "wider.pmml")
    assert code == 0 and "wider.pmml" in out
    code, out, _ = run(capsys, "evaluate", tmp_path / "wider.pmml", tmp_path / "all.npz", "--json")
    assert code == 0 and json.loads(out)["accuracy"] > 0.9


def test_a_file_that_cannot_be_extended_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    code, _, err = run(capsys, "inspect", tmp_path / "model.onnx")
    assert code == 1 and "model.onnx" in err
    code, _, err = run(capsys, "convert", tmp_path / "model.onnx", tmp_path / "model.pmml")
    assert code == 1 and not (tmp_path / "model.pmml").exists()
