"""Commands that change a checkpoint without samples, and where commands write."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import extend
from extend.cli import edit
from extend.cli.outputs import Output
from extend.operations.calibrate import STEPS
from tests.cli.conftest import run


@pytest.fixture
def wider(photos: Path, trained: Path, tmp_path: Path) -> Path:
    """A checkpoint that knows green, red and blue."""
    out = tmp_path / "wider"
    clf, _ = extend.add_classes(extend.load(trained), photos / "new")
    extend.save(clf, out)
    return out


def test_the_steps_listed_are_the_steps() -> None:
    assert edit.STEPS == STEPS


def test_classes_are_changed_in_place(wider: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rename", wider, "blue", "azure", "red", "crimson")
    assert code == 0 and "renamed azure, crimson" in out and extend.load(wider).classes == ("green", "crimson", "azure")
    code, out, _ = run(capsys, "undo", wider)
    assert code == 0 and extend.load(wider).classes == ("green", "red", "blue")
    code, out, _ = run(capsys, "merge", wider, "blue", "green", "--into", "cool", "--out", tmp_path / "two", "--json")
    assert code == 0 and json.loads(out)["all_classes"] == ["cool", "red"]
    assert extend.load(wider).classes == ("green", "red", "blue") and extend.load(tmp_path / "two").classes[0] == "cool"
    code, out, _ = run(capsys, "remove", wider, "blue")
    assert code == 0 and "removed blue" in out and extend.load(wider).classes == ("green", "red")
    code, out, err = run(capsys, "undo", wider)
    assert code == 1 and "add_classes adds it again" in err and err.count("\n") == 1
    for command in ("calibrate", "retune"):
        code, out, _ = run(capsys, command, tmp_path / "two")
        assert code == 0 and command in out
    code, out, err = run(capsys, "replace-head", wider, "x", "y")
    assert code == 1 and "--out is needed" in err
    code, out, _ = run(capsys, "replace-head", wider, "x", "y", "z", "--out", tmp_path / "empty")
    assert code == 0 and extend.load(tmp_path / "empty").classes == ("x", "y", "z")
    code, out, _ = run(capsys, "classes", tmp_path / "two")
    assert code == 0 and out.splitlines()[0].startswith("class") and "cool" in out and "  80  " in out
    code, out, _ = run(capsys, "classes", tmp_path / "two", "--json")
    assert {row["class"]: row["samples"] for row in json.loads(out)} == {"cool": 80, "red": 40}


def test_failures_leave_the_checkpoint(wider: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (wider / "manifest").read_bytes()
    for arguments, said in (
        (("rename", wider, "cow", "ox"), "no class 'cow'"),
        (("rename", wider, "red"), "expected pairs"),
        (("remove", wider, "red", "blue", "green"), "keeps at least two"),
        (("merge", wider, "red", "--into", "blue"), "two classes or more"),
        (("calibrate", wider, "--steps", "bias", "--new", "cow"), "no class 'cow'"),
    ):
        code, printed, err = run(capsys, *arguments)
        assert code == 1 and said in err and err.count("\n") == 1 and printed == ""
    assert (wider / "manifest").read_bytes() == before


def test_outputs_are_checked_before_the_work(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from extend.operations import add as operation

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr(operation, "_read_new", never)
    mine = tmp_path / "mine"
    shutil.copytree(photos / "base", mine)
    (tmp_path / "file").write_text("mine")
    shutil.copytree(trained, tmp_path / "other")
    add = ("add", trained, "--new", photos / "new", "--out")
    for more, said in (
        ((mine,), "holds other things than a checkpoint (green, red)"),
        ((mine, "--overwrite"), "holds other things than a checkpoint"),
        ((tmp_path / "other",), "exists already; give another name, or pass --overwrite"),
        ((tmp_path / "file",), "exists already"),
        ((tmp_path / "file" / "below",), "no folder that you may write to"),
        ((tmp_path / "x.xyz",), "is written as .onnx or .stablehlo"),
        ((tmp_path / "new", "--picture", tmp_path / "p.jpg"), "ends in .png"),
        ((tmp_path / "new", "--picture", tmp_path / "file" / "p.png"), "no folder that you may write to"),
        ((tmp_path / "new", "--picture", mine), "ends in .png"),
    ):
        code, printed, err = run(capsys, *add, *more)
        assert code == 1 and said in err and err.count("\n") == 1 and printed == ""
    assert sorted(place.name for place in mine.iterdir()) == ["green", "red"] and not (tmp_path / "new").exists()


def test_a_suffix_means_its_format(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    code, _, _ = run(capsys, "add", trained, "--new", photos / "new", "--out", tmp_path / "deep" / "x.onnx")
    assert code == 0 and (tmp_path / "deep" / "x.onnx").is_file()
    assert extend.load(tmp_path / "deep" / "x.onnx", pixels="unit").classes == ("green", "red", "blue")


def test_of_two_writers_the_second_is_refused(wider: Path, photos: Path) -> None:
    first, second = (Output.checked(wider, source=wider) for _ in range(2))
    one = extend.rename_classes(extend.load(wider), {"blue": "azure"})[0]
    first.write(one)
    with pytest.raises(extend.CheckpointError, match="changed by another process since it was read"):
        second.write(extend.rename_classes(one, {"azure": "navy"})[0])
    assert extend.load(wider).classes == ("green", "red", "azure")


def test_flat_folders_are_named(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = photos / "new" / "blue"
    code, _, err = run(capsys, "add", trained, "--new", flat, "--out", tmp_path / "w")
    assert code == 1 and "a class is a folder: give its parent" in err and "--name blue" in err
    code, _, _ = run(capsys, "add", trained, "--new", flat, "--name", "azure", "--out", tmp_path / "w")
    assert code == 0 and extend.load(tmp_path / "w").classes == ("green", "red", "azure")


def test_a_bad_file_does_not_end_predict(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos / "base" / "red", tmp_path / "red")
    (tmp_path / "red" / "20.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "red" / "._0.png").write_bytes(b"mac")
    code, out, err = run(capsys, "predict", trained, tmp_path / "red", tmp_path / "none.png", "--csv")
    lines = out.splitlines()
    assert code == 1 and lines[0] == "input,class1,share1,class2,share2,error" and len(lines) == 42 and err == ""
    assert sum("cannot be read as an image" in line for line in lines) == 2
    code, out, err = run(capsys, "predict", trained, tmp_path / "red", "--top", "99")
    assert code == 1 and out.count("\n") == 39 and err.count("\n") == 1
    shutil.make_archive(str(tmp_path / "red"), "zip", photos / "base" / "red")
    code, out, _ = run(capsys, "predict", trained, tmp_path / "red.zip", "--json")
    assert code == 0 and len(json.loads(out)) == 40


def test_evaluate_tells_what_it_got_wrong(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = tmp_path / "swapped"
    shutil.copytree(photos / "base", swapped)
    shutil.copy(photos / "base" / "red" / "0.png", swapped / "green" / "stranger.png")
    (swapped / "green" / "notes.txt").write_text("text")
    wrong, picture = tmp_path / "wrong.csv", tmp_path / "p" / "e.png"
    code, out, err = run(capsys, "evaluate", trained, swapped, "--wrong", wrong, "--picture", picture)
    assert code == 0 and "green/stranger.png: green as red" in out and "1 file is no picture" in err
    assert "green/stranger.png,green,red," in wrong.read_text() and picture.is_file()
    code, out, _ = run(capsys, "evaluate", trained, swapped, "--json")
    assert any(row["input"] == "green/stranger.png" for row in json.loads(out)["wrong"])


EXTEND = [sys.executable, "-m", "extend"]


def test_interrupted_commands_say_what_was_written(photos: Path, tmp_path: Path) -> None:
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        state = tmp_path / f"state{status}"
        command = ["train", photos / "base", "--out", tmp_path / "out", "--depth", 8, "--epochs", 999, "--size", 8]
        child = subprocess.Popen(
            [*EXTEND, *map(str, command), "--state", str(state)], stderr=subprocess.PIPE, text=True
        )
        end = time.time() + 120
        while not (state / "manifest").is_file() and time.time() < end:
            time.sleep(0.1)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
        assert child.returncode in (130, status) and err.splitlines()[-1].startswith("extend: interrupted; ")
        assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line(trained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*EXTEND, "classes", str(trained)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.splitlines()[0] == "extend: No space left on device"


def test_a_closed_pipe_is_no_error(trained: Path) -> None:
    command = f"{sys.executable} -m extend classes {trained} | true"
    done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True)
    assert done.stderr == ""


def test_completion_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        code, out, _ = run(capsys, "completion", shell)
        assert code == 0 and all(word in out for word in ("rename", "replace-head", "overwrite", "max-forgetting"))
    code, out, _ = run(capsys, "completion", "bash")
    script = f'{out}\nCOMP_WORDS=(extend me); COMP_CWORD=1; _extend; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "merge"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "x", "--out", "y", "--batch-size", "0"], "0 is too small; give 1 or more"),
        (["train", "x", "--out", "y", "--epochs", "-1"], "-1 is too small"),
        (["train", "x", "--out", "y", "--depth", "9"], "9 is no depth of a ResNet; give 8, 14"),
        (["train", "x", "--out", "y", "--learning-rate", "nan"], "not a number above 0"),
        (["train", "x", "--out", "y", "--size", "big"], "'big' is not a whole number"),
        (["add", "x", "--new", "y", "--out", "z", "--max-forgetting", "5"], "5 is no share: give a number from 0 to 1"),
        (["add", "x", "--new", "y", "--out", "z", "--exemplars", "-4"], "-4 is too small"),
        (["predict", "x", "y", "--top", "0"], "0 is too small"),
    ],
)
def test_wrong_numbers_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    from extend.cli.main import main

    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    err = capsys.readouterr().err
    assert exit_.value.code == 2 and said in err and err.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from extend.cli.main import main

    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0 and capsys.readouterr().out == f"extend {extend.__version__}\n"


def test_percent_is_understood(photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "add", trained, "--new", photos / "new", "--out", tmp_path / "w", "--max-forgetting", "5%", "--json"
    )
    assert code == 0 and np.isclose(json.loads(out)["budget"]["forgetting_limit"], 0.05)
