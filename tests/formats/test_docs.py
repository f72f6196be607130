"""docs/formats.md says what is so."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import extend
from extend.core.errors import FormatError
from extend.formats import matlab

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
ROWS = re.findall(r"^\| \[(.+?)\]\((#.+?)\) \| (.+?) \| (.*?) \|", PAGE, re.M)


def test_every_row_has_its_section() -> None:
    titles = {"#" + title.lower().replace(" ", "-").replace(".", "") for title in re.findall(r"^## (.+)$", PAGE, re.M)}
    assert len(ROWS) == 10 and {link for _, link, _, _ in ROWS} <= titles


def test_every_suffix_is_known(tmp_path: Path) -> None:
    suffixes = {suffix for _, _, cell, _ in ROWS for suffix in re.findall(r"`(\.[\w.]+)`", cell)} - {".stablehlo"}
    assert len(suffixes) > 12
    for suffix in suffixes:
        (tmp_path / f"model{suffix}").write_bytes(b"nothing that is a model")
        with pytest.raises(FormatError) as error:
            extend.load(tmp_path / f"model{suffix}", model=lambda: None)
        assert "no known format" not in str(error.value)


def test_every_extra_is_declared() -> None:
    declared = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = {extra for *_, cell in ROWS for extra in re.findall(r"`\[(\w+)\]`", cell)}
    assert len(extras) > 5 and all(f"\n{extra} = [" in declared for extra in extras)


def test_the_matlab_lines_are_those_of_the_error() -> None:
    assert textwrap.dedent(matlab.SNIPPET).strip() in PAGE


@pytest.mark.slow
@pytest.mark.needs("keras")
def test_the_python(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        run = [sys.executable, "-c", block]
        done = subprocess.run(run, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    assert (tmp_path / "eight.keras").is_file()
