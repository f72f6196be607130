"""Arguments that several commands declare in the same words, and the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Run = Callable[[argparse.Namespace], int | None]

PIXELS = ("raw", "unit", "symmetric", "imagenet", "caffe")
"""The names of the pixel scalings, repeated here because help must not import the engine; a test compares them."""


def add_command(commands: Commands, name: str, run: Run, summary: str) -> argparse.ArgumentParser:
    """Declare a command with ``--json``; `run` does its work and returns an exit status, or None for success."""
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")
    parser.set_defaults(run=run)
    return parser


def whole(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number of at least `least`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small; give {least} or more")
        return value

    return number


def positive(text: str) -> float:
    """The type of an argument that is a finite number above zero."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def share(text: str) -> float:
    """The type of an argument that is a share, from 0 to 1; "1 %" is 0.01."""
    percent = text.strip().endswith("%")
    value = _number(text.strip().removesuffix("%")) / (100 if percent else 1)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: give a number from 0 to 1, such as 0.05, or 5%")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and leave with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Declare ``--seed``."""
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of every random choice (default 0)")


def add_skip_broken(parser: argparse.ArgumentParser) -> None:
    """Declare ``--skip-broken``."""
    parser.add_argument("--skip-broken", action="store_true", help="go on without images that cannot be read")


def add_trust(parser: argparse._ActionsContainer) -> None:
    """Declare ``--trust``."""
    parser.add_argument("--trust", action="store_true", help="open what executes code that the file names")


def add_model_file(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what a file of another framework leaves open."""
    files = parser.add_argument_group("for files of other frameworks (docs/formats.md)")
    files.add_argument("--classes", help="the classes' names, with commas, in the order of the outputs")
    files.add_argument("--pixels", choices=PIXELS, help="how 8-bit pixels are scaled: as they are, to 0..1, -1..1, ...")
    files.add_argument("--size", type=whole(1), help="height and width of pictures, if the file leaves them open")
    add_trust(files)
