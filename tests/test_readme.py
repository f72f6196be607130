"""README's commands, and the Python in README and docs/, run as they are written, on pictures made for the purpose."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from PIL import Image as Picture

import extend

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


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
    pretrained = extend.models.ConvNet(5, 32, 32, 3, rngs=nnx.Rngs(0))
    extend.save(extend.wrap(pretrained, list("abcde"), inputs=extend.Array((32, 32, 3))), root / "net.onnx")
    return root


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.fixture(scope="module")
def commands(folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """README's `extend` commands, run one after the other in `folder`."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("extend ")]
    return {line: run(["-m", *shlex.split(line, comments=True)], folder) for line in lines}


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_commands(commands: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert {shlex.split(line)[1] for line in commands} >= {"train", "add", "evaluate", "predict", "rename"}
    for line, done in commands.items():
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.usefixtures("commands")  # They make the checkpoint that the Python opens.
@pytest.mark.needs("onnxruntime")  # README's model of another framework is an ONNX file.
@pytest.mark.parametrize(
    "page", ["README.md", "docs/budget.md", "docs/data.md", "docs/methods.md"]
)  # formats.md has its own
def test_the_python(folder: Path, page: str) -> None:
    found = blocks("python", (ROOT / page).read_text())
    assert found
    for block in found:
        done = run(["-c", block], folder)
        assert done.returncode == 0, f"{block}\n{done.stderr}"


def test_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert all(len(line) <= 120 for line in lines if not line.startswith("|"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_links(page: Path) -> None:
    """Every link to a file of the project, and to a heading in it, leads somewhere."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_the_map_names_every_module() -> None:
    """docs/architecture.md has a line for every module, below the heading of its package."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    sections = dict(re.findall(r"^### \d: `(\w+)`\n(.*?)(?=^##|\Z)", page, re.M | re.S))
    for file in sorted((ROOT / "extend").glob("*/**/*.py")):
        package, *inner = file.relative_to(ROOT / "extend").with_suffix("").parts
        if package == "checkpoints" or inner == ["__init__"]:
            continue
        for name in inner:
            plain = name.removeprefix("_")
            assert plain == "_init__" or f"`{plain}`" in sections[package], f"{file}: no line in docs/architecture.md"


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_the_examples(example: Path, tmp_path: Path) -> None:
    done = run([str(example)], tmp_path)
    assert done.returncode == 0, done.stderr
    if example.name != "adopt_a_flax_model.py":  # It has assertions of its own.
        shares = [float(share) for share in re.findall(r": ([\d.]+)%", done.stdout)]
        assert len(shares) >= 2 and min(shares) > 96, done.stdout
