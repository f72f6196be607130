"""README's commands and its Python, run as they are written, on pictures made for the purpose."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ with three classes, more/ with a fourth, test/ with all of them: 32 x 32 pictures."""
    root, rng = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    for number, name in enumerate(("apple", "banana", "cherry", "cat")):
        for place in ("more" if name == "cat" else "photos", "test"):
            (root / place / name).mkdir(parents=True)
            for i in range(24):
                pixels = rng.integers(0, 120, (32, 32, 3))
                pixels[..., number % 3] += 120
                pixels[: 8 * number] //= 2
                Picture.fromarray(pixels.astype(np.uint8)).save(root / place / name / f"{i}.jpg")
    return root


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.slow
def test_the_commands(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("extend ")]
    assert {shlex.split(line)[1] for line in lines} >= {"train", "add", "evaluate", "predict", "inspect"}
    for line in lines:
        command = [sys.executable, "-m", *shlex.split(line, comments=True)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_python(folder: Path) -> None:
    for block in blocks("python"):
        done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_the_examples(example: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
