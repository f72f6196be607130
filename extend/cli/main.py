"""The command `extend`: it assembles the commands' parsers, runs one command, and turns an error into one line.

A command is a module with two functions. ``add_parser(commands)`` declares its arguments, and ``run(options)`` does the
work. Whatever is slow to import is imported inside ``run``, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from extend.cli import add, convert, demo, evaluate, inspect, predict, train
from extend.core.errors import ExtendError

PROGRAM = "extend"
COMMANDS = (demo, train, add, evaluate, predict, inspect, convert)
"""The modules of the commands, in the order in which ``--help`` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        The words after ``extend``; those of the process by default.

    Returns
    -------
    int
        The exit status: 0 when the command is done, 1 when it failed; one line on standard error then says why. Wrong
        usage leaves with status 2 before a command runs.

    Examples
    --------
    >>> main(["inspect", "no-such-folder"])
    1
    """
    options = parser().parse_args(arguments)
    keep_compiled()
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        reason = "interrupted; nothing was written"
    except (ExtendError, OSError) as error:
        reason = str(error)
    print(f"{PROGRAM}: {reason}", file=sys.stderr)
    return 1


def keep_compiled() -> None:
    """Let JAX, which is not imported yet, keep what it compiles below the user's cache folder, for later commands."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(home, "extend", "compiled")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def parser() -> argparse.ArgumentParser:
    """Assemble the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        PROGRAM, description="Give a trained classifier new classes, without its old data and without forgetting."
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return whole
