"""The command as a user runs it: one command after the other, its help, its errors and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from extend.cli import main as cli
from tests.cli.conftest import run


def test_train_add_evaluate_predict_inspect(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = tmp_path / "wider"
    picture = tmp_path / "report.png"
    code, out, err = run(
        capsys, "add", trained, "--new", photos / "new", "--out", wider, "--picture", picture, "--json"
    )
    assert code == 0 and err == ""  # Not a terminal: no progress bar.
    report = json.loads(out)
    assert report["classes"] == ["blue"] and report["all_classes"] == ["green", "red", "blue"]
    assert picture.read_bytes().startswith(b"\x89PNG")

    code, out, _ = run(capsys, "evaluate", wider, photos / "all", "--json")
    found = json.loads(out)
    assert code == 0 and found["n"] == 120 and found["by_class"]["blue"] > 0.8

    code, out, _ = run(capsys, "predict", wider, photos / "new" / "blue" / "3.png", photos / "base" / "red", "--json")
    predicted = json.loads(out)
    assert code == 0 and len(predicted) == 41
    assert predicted[0]["classes"][0][0] == "blue" and sum(p for _, p in predicted[0]["classes"]) <= 1.001

    code, out, _ = run(capsys, "inspect", wider)
    assert code == 0 and "green, red, blue" in out and "every file agrees with its SHA-256" in out


def test_words_for_people(photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "add", trained, "--new", photos / "new", "--out", tmp_path / "wider", "--method", "lda")
    assert code == 0 and "added blue with lda" in out and "forgetting" in out and "3 classes" in out
    code, out, _ = run(capsys, "evaluate", trained, photos / "base")
    assert code == 0 and "accuracy" in out
    code, out, _ = run(capsys, "predict", trained, photos / "base" / "red" / "0.png", "--top", "1")
    assert code == 0 and out.count("%") == 1


def test_failures_are_one_line_and_write_nothing(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cases: list[tuple[list[object], str]] = [
        (["add", tmp_path / "none", "--new", photos / "new", "--out", out], "no such file or folder"),
        (["add", trained, "--new", tmp_path / "none", "--out", out], "no such folder or archive"),
        (["add", trained, "--new", photos / "base", "--out", out], "class 'green' already exists"),
        (["train", photos / "new", "--out", out, "--size", 8], "one class only"),
        (["predict", trained, tmp_path / "none.png"], "cannot be read as an image"),
        (["add", trained, "--new", photos / "new", "--out", out, "--picture", "x.jpg"], "ends in .png"),
        (["inspect", tmp_path], "no manifest"),
    ]
    for arguments, message in cases:
        code, printed, err = run(capsys, *arguments)
        assert code == 1 and message in err and err.startswith("extend: ") and err.count("\n") == 1 and printed == ""
        assert not out.exists()


@pytest.mark.parametrize("command", ["demo", "train", "add", "evaluate", "predict", "inspect", "convert"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0 and "--json" in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["add", "x"], ["add", "x", "--new", "y", "--out", "z", "--method", "magic"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2


def test_help_does_not_import_what_is_slow() -> None:
    script = """
import sys
from extend.cli.main import main
try:
    main(["--help"])
except SystemExit:
    print({"jax", "flax", "numpy", "scipy", "sklearn", "PIL", "tqdm"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n"), done.stdout.splitlines()[-1]
