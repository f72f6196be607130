"""Pictures, a checkpoint trained on some of them, and the command as a function."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from extend.cli.main import main


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows green and red."""
    out = tmp_path_factory.mktemp("trained") / "checkpoint"
    options = ["--size", "8", "--depth", "8", "--epochs", "3", "--batch-size", "16", "--json"]
    assert main(["train", str(photos / "base"), "--out", str(out), *options]) == 0
    return out


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of the command."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err
