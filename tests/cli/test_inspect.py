"""The command `extend inspect`."""

import json
import shutil
from pathlib import Path

import pytest

import extend
from tests.cli.conftest import run

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "digits-0-7"


def test_a_checkpoint_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", SHIPPED)
    *lines, versions, sums = out.splitlines()
    assert code == 0 and lines == [
        "classes   8: 0, 1, 2, 3, 4, 5, 6, 7",
        "network   ConvNet (nnx), head head",
        'input     {"dtype": "float32", "shape": [8, 8, 1]}',
        "features  taps pooled; transform none; width none",
        "memory    statistics and held-out features",
        "history   wrap 0, 1, 2, 3, 4, 5, 6, 7 with own head",
    ]
    assert versions.startswith("versions  class-extend ") and "jax " in versions
    assert sums == "every file agrees with its SHA-256"


def test_a_checkpoint_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "inspect", SHIPPED, "--json")
    assert code == 0 and json.loads(out) == extend.inspect(SHIPPED)


def test_damage_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(SHIPPED, copy)
    file = max(copy.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    code, out, err = run(capsys, "inspect", copy)
    assert code == 1 and out == "" and "damaged (its SHA-256 differs)" in err and err.count("\n") == 1
