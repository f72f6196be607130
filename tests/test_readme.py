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


@pytest.fixture(scope="module")
def commands(folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """README's `extend` commands, run one after the other in `folder`."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("extend ")]
    return {line: run(["-m", *shlex.split(line, comments=True)], folder) for line in lines}


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_commands(commands: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert {shlex.split(line)[1] for line in commands} >= {"train", "add", "evaluate", "predict", "inspect"}
    for line, done in commands.items():
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.usefixtures("commands")  # They make the checkpoint that the Python opens.
def test_the_python(folder: Path) -> None:
    for block in blocks("python"):
        done = run(["-c", block], folder)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_the_examples(example: Path, tmp_path: Path) -> None:
    done = run([str(example)], tmp_path)
    assert done.returncode == 0, done.stderr
    if example.name != "adopt_a_flax_model.py":  # It has assertions of its own.
        shares = [float(share) for share in re.findall(r": ([\d.]+)%", done.stdout)]
        assert len(shares) >= 2 and min(shares) > 96, done.stdout
