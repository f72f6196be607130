"""What a command shows on the terminal while it works; results go to standard output, all of this to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extend.data import Progress

Say = Callable[[str], None]
"""Tells the user one line."""


def say(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def bar_of(unit: str) -> Progress:
    """Return the progress bar that the library's ``progress=`` takes, labelled with what it counts.

    Standard error that is not a terminal stays empty.
    """

    def bar(steps: Iterable[Any], /, *, total: int) -> Iterable[Any]:
        from tqdm import tqdm

        return tqdm(steps, total=total, desc=unit, leave=False, disable=not sys.stderr.isatty())

    return bar
