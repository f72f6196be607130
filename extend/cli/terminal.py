"""What a command shows on the terminal while it works; results go to standard output, all of this to standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

Say = Callable[[str], None]
"""Tells the user one line."""


def say(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


class Bar:
    """The progress bar that the library's ``progress=`` takes; it says what it counts.

    Standard error that is not a terminal stays empty.
    """

    def __init__(self, what: str) -> None:
        self.what = what

    def named(self, what: str) -> Bar:
        """Return a bar that says that something else is counted."""
        return Bar(what)

    def __call__(self, steps: Iterable[Any], /, *, total: int) -> Iterable[Any]:
        from tqdm import tqdm

        return tqdm(steps, total=total, desc=self.what, leave=False, disable=not sys.stderr.isatty())


def bar_of(what: str) -> Bar:
    """Return a progress bar, labelled with what it counts where the library does not say more."""
    return Bar(what)
