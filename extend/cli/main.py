"""The command `extend`: it assembles the commands' parsers, runs one command, and turns an error into one line.

A command is a module with two functions. ``add_parser(commands)`` declares its arguments, and ``run(options)`` does the
work. Whatever is slow to import is imported inside ``run``, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from extend import __version__
from extend.cli import add, classes, completion, convert, demo, edit, evaluate, inspect, predict, train
from extend.cli.arguments import Parser
from extend.cli.outputs import WRITTEN
from extend.core.errors import ExtendError

PROGRAM = "extend"
COMMANDS = (demo, train, add, evaluate, predict, inspect, classes, edit, convert, completion)
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
        The exit status: 0 when the command is done, 1 when it failed, 130 or 143 when Ctrl-C or SIGTERM ended it; one
        line on standard error then says why, and what was written. Wrong usage leaves with status 2 before a command
        runs.

    Examples
    --------
    >>> main(["inspect", "no-such-folder"])
    1
    """
    options = parser().parse_args(arguments)
    keep_compiled()
    WRITTEN.clear()
    try:
        with _ended_by_sigterm():
            status = options.run(options) or 0
            sys.stdout.flush()  # A full disk or a closed pipe shows here, not after the last line of Python.
            return status
    except BrokenPipeError:  # Whoever read the output has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as interrupt:
        number = signal.SIGTERM if _Terminated in type(interrupt).__mro__ else signal.SIGINT
        done = f"{', '.join(WRITTEN)} was written before that" if WRITTEN else "nothing was written"
        print(f"{PROGRAM}: interrupted; {str(interrupt) or done}", file=sys.stderr)
        return 128 + number
    except (ExtendError, OSError) as error:
        print(f"{PROGRAM}: {_one_line(error)}", file=sys.stderr)
        return 1


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(error: Exception) -> str:
    """What an error says, in one line; of an error of the system, what was tried and why it failed."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def keep_compiled() -> None:
    """Let JAX, which is not imported yet, keep what it compiles below the user's cache folder, for later commands."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(home, "extend", "compiled")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def parser() -> argparse.ArgumentParser:
    """Assemble the parser of the whole command line."""
    whole = Parser(
        PROGRAM, description="Give a trained classifier new classes, without its old data and without forgetting."
    )
    whole.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return whole
