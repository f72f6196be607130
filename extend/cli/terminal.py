"""What a command shows on the terminal while it works; results go to standard output, all of this to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from extend.data import Progress

T = TypeVar("T")
Say = Callable[[str], None]
"""Tells the user one line."""
Bar = Callable[[Iterable[int], int, str], Iterable[int]]
"""Wraps numbered steps, their count and a text in a progress bar."""


def say(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def bar(steps: Iterable[T], total: int, text: str) -> Iterable[T]:
    """Show progress through the steps; standard error that is not a terminal stays empty."""
    from tqdm import tqdm

    return tqdm(steps, total=total, desc=text, leave=False, disable=not sys.stderr.isatty())


def bar_of(unit: str) -> Progress:
    """Return the progress bar that the library's ``progress=`` takes, labelled with what it counts."""

    def wrapped(steps: Iterable[Any], /, *, total: int) -> Iterable[Any]:
        return bar(steps, total, unit)

    return wrapped
