"""The command `extend add`: broken images, methods that train the backbone, and interruptions."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import extend
from extend.cli import add as command
from extend.cli.main import main
from extend.training import backbone_training
from tests.cli.conftest import run


def test_the_methods_listed_are_the_methods() -> None:
    from extend.methods import NAMED

    assert set(command.METHODS) == set(NAMED)


def test_broken_images_can_be_skipped(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos / "new", tmp_path / "new")
    (tmp_path / "new" / "blue" / "7.png").write_bytes(b"\x89PNG broken")
    arguments = ["add", trained, "--new", tmp_path / "new", "--out", tmp_path / "out"]
    code, _, err = run(capsys, *arguments)
    assert code == 1 and "blue/7.png cannot be read" in err and "--skip-broken" in err
    assert not (tmp_path / "out").exists()
    code, out, _ = run(capsys, *arguments, "--skip-broken")
    assert code == 0 and "1 broken images left out: blue/7.png" in out and "39 samples" in out


def test_interrupted_it_leaves_what_it_goes_on_from(
    photos: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, state = tmp_path / "in place", tmp_path / "state in place"
    shutil.copytree(trained, here)
    usual = backbone_training.train

    def cut(*some: Any, **options: Any) -> Any:
        def bar(steps: Any, total: int) -> Any:
            for step in steps:
                os.kill(os.getpid(), signal.SIGINT)
                yield step

        return usual(*some, **{**options, "progress": bar})

    add = ("add", here, "--new", photos / "new", "--out", here, "--method", "fine_tune", "--epochs", 2)
    with monkeypatch.context() as patch:
        patch.setattr(backbone_training, "train", cut)
        code, _, err = run(capsys, *add, "--state", state)
        assert code == 1 and f"interrupted; {here} is left as it was" in err and str(state) in err
        assert extend.load(here).classes == ("green", "red")
    code, out, _ = run(capsys, *add, "--state", state, "--json")
    assert code == 0 and json.loads(out)["all_classes"] == ["green", "red", "blue"]
    assert extend.load(here).classes == ("green", "red", "blue")


def test_training_the_backbone(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, state = tmp_path / "with exemplars", tmp_path / "state"
    options = ["--size", "8", "--depth", "8", "--epochs", "3", "--batch-size", "16", "--exemplars", "4000"]
    assert main(["train", str(photos / "base"), "--out", str(out), *options]) == 0
    add = ("add", out, "--new", photos / "new", "--out", tmp_path / "tuned", "--overwrite", "--json")
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
