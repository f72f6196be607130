"""The command, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from sklearn.neural_network import MLPClassifier

import extend
from extend.cli import main as cli
from extend.formats.registry import read
from extend.training import backbone_training as learning
from tests.conftest import blobs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders base/ (red, green), new/ (blue), all/ with textured 16 x 16 pictures of one colour each."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        for place in ("new" if name == "blue" else "base", "all"):
            (root / place / name).mkdir(parents=True)
            for i in range(40):
                pixels = rng.integers(0, 90, (16, 16, 3))
                pixels[..., channel] += 130
                Picture.fromarray(pixels.astype(np.uint8)).save(root / place / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def trained(photos: Path) -> Path:
    out = photos / "trained"
    options = ["--size", "8", "--depth", "8", "--epochs", "3", "--batch-size", "16", "--json"]
    assert cli.main(["train", str(photos / "base"), "--out", str(out), *options]) == 0
    return out


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_train_add_evaluate_predict_inspect(photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wider = photos / "wider"
    picture = photos / "report.png"
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


def test_words_for_people(photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "add", trained, "--new", photos / "new", "--out", photos / "w2", "--method", "lda")
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
        (["train", photos / "new", "--out", out], "one class only"),
        (["predict", trained, tmp_path / "none.png"], "cannot be read as an image"),
        (["add", trained, "--new", photos / "new", "--out", out, "--picture", "x.jpg"], "ends in .png"),
        (["inspect", tmp_path], "no manifest"),
    ]
    for arguments, message in cases:
        code, printed, err = run(capsys, *arguments)
        assert code == 1 and message in err and err.startswith("extend: ") and err.count("\n") == 1 and printed == ""
        assert not out.exists()


def test_broken_images_can_be_skipped(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(photos / "new", tmp_path / "new")
    (tmp_path / "new" / "blue" / "7.png").write_bytes(b"\x89PNG broken")
    arguments = ["add", trained, "--new", tmp_path / "new", "--out", tmp_path / "out"]
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "blue/7.png cannot be read" in err and "--skip-broken" in err
    assert not (tmp_path / "out").exists()
    code, out, _ = run(capsys, *arguments, "--skip-broken")
    assert code == 0 and "1 broken images left out: blue/7.png" in out and "39 samples" in out


@pytest.mark.parametrize("command", ["demo", "train", "add", "evaluate", "predict", "inspect"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0 and "--json" in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["fly"], ["add", "x"], ["add", "x", "--new", "y", "--out", "z", "--method", "magic"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(arguments)
        assert exit_.value.code == 2


def test_help_does_not_import_jax() -> None:
    script = (
        "import sys; from extend import cli\ntry: cli.main(['--help'])\nexcept SystemExit: print('jax' in sys.modules)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n"), time.perf_counter() - started


def test_the_methods_listed_are_the_methods() -> None:
    from extend.methods import NAMED

    assert set(cli.METHODS) == set(NAMED)


def test_interrupted_it_leaves_what_it_goes_on_from(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, state = photos / "in place", photos / "state in place"
    shutil.copytree(trained, here)
    usual = learning.train

    def cut(*some: Any, **options: Any) -> Any:
        def bar(steps: Any, total: int) -> Any:
            for step in steps:
                os.kill(os.getpid(), signal.SIGINT)
                yield step

        return usual(*some, **{**options, "progress": bar})

    add = ("add", here, "--new", photos / "new", "--out", here, "--method", "fine_tune", "--epochs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(learning, "train", cut)
        code, _, err = run(capsys, *add, "--state", state)
        assert code == 1 and f"interrupted; {here} is left as it was" in err and str(state) in err
        assert extend.load(here).classes == ("green", "red")
    code, out, _ = run(capsys, *add, "--state", state, "--json")
    assert code == 0 and json.loads(out)["classes"] == ["green", "red", "blue"]
    assert extend.load(here).classes == ("green", "red", "blue")


def test_training_the_backbone(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, state = photos / "with exemplars", photos / "state"
    options = ["--size", "8", "--depth", "8", "--epochs", "3", "--batch-size", "16", "--exemplars", "4000"]
    assert cli.main(["train", str(photos / "base"), "--out", str(out), *options]) == 0
    add = ("add", out, "--new", photos / "new", "--out", photos / "tuned", "--json")
    code, printed, _ = run(
        capsys, *add, "--method", "fine_tune", "--epochs", 2, "--select", "last_block", "--flip", "--state", state
    )
    report = json.loads(printed)
    assert code == 0 and report["method"] == "fine_tune" and "estimated" in report["measured_on"]
    assert (state / "manifest").is_file()
    code, printed, _ = run(capsys, *add, "--method", "joint", "--old", photos / "base", "--epochs", 2)
    assert code == 0 and json.loads(printed)["method"] == "joint"
    code, _, err = run(capsys, *add, "--method", "lda", "--epochs", 2)
    assert code == 1 and "--epochs is for --method fine_tune and joint" in err
    code, _, err = run(capsys, *add, "--method", "fine_tune", "--select", "stage9")
    assert code == 1 and "selects no parameter; there are" in err


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
    assert json.loads(out)["classes"] == ["ant", "bee", "cow", "dog"]
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
