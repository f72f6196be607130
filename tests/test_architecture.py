"""The house: packages import from one another only what they export, and no file or function outgrows one idea."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "extend"
FILES = sorted(HOUSE.rglob("*.py"))
PACKAGES = {folder.name for folder in HOUSE.iterdir() if (folder / "__init__.py").is_file()}
MOST_LINES, MOST_OF_A_FUNCTION = 400, 80


def exported(package: str) -> set[str]:
    """The names in a package's ``__all__``."""
    for node in ast.parse((HOUSE / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_file_and_its_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MOST_OF_A_FUNCTION, node.name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_packages_import_what_others_export(file: Path) -> None:
    """Of `core` the modules are public; the command line and the public names may reach a module by its path."""
    own = file.relative_to(HOUSE).parts[0]
    if file.parent == HOUSE or own == "cli":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("extend."):
            continue
        assert node.module is not None
        package, *inner = node.module.split(".")[1:]
        if package in (own, "core") or package not in PACKAGES:
            continue
        assert not inner, f"{node.module}: import {node.names[0].name} from extend.{package}"
        assert {alias.name for alias in node.names} <= exported(package)


def test_a_module_docstring_says_the_idea() -> None:
    for file in FILES:
        if file.read_text().strip():
            assert ast.get_docstring(ast.parse(file.read_text())), file
