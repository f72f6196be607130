"""Where a command writes: checked before any work, written after it, and told truly when the command is cut off."""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.terminal import say
from extend.core.errors import ArgumentError, ExtendError

if TYPE_CHECKING:
    from extend.classifier import Classifier

WRITTEN: list[str] = []
"""What this command has written, for the line that is printed when it is interrupted."""


def add_overwrite(parser: argparse._ActionsContainer) -> None:
    """Declare ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace what lies at the output already")


def check_new_file(path: Path | None, what: str, suffixes: tuple[str, ...] = (), *, overwrite: bool = True) -> None:
    """Refuse a file that could not be written in the end; `what` names the option.

    Raises
    ------
    ArgumentError
        It has another suffix, it is a folder, it exists and is not to be replaced, or its folder cannot be written to.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise ArgumentError(f"{what} {path}: give a name that ends in {' or '.join(suffixes)}")
    if path.is_dir():
        raise ArgumentError(f"{what} {path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise ArgumentError(f"{what} {path}: exists already; give another name, or pass --overwrite")
    folder = path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ArgumentError(f"{what} {path}: {there} is no folder that you may write to")


@dataclass(frozen=True)
class Output:
    """The place where a command writes its classifier.

    Parameters
    ----------
    path
        The checkpoint folder, or the file whose suffix says the format.
    since
        What tells the present state of the place from every other, where it is the one that the command reads.
    """

    path: Path
    since: str | None = None

    @classmethod
    def checked(cls, path: Path, *, source: Path | None = None, overwrite: bool = False, what: str = "--out") -> Output:
        """Refuse an output that could not, or should not, be written.

        Parameters
        ----------
        path
            Where the command is to write.
        source
            What the command reads; it may be replaced.
        overwrite
            Whether anything else that is there may be replaced.

        Raises
        ------
        ArgumentError, CheckpointError
            Something is there that may not be replaced, or the place cannot be written to.
        """
        from extend.core import checkpoint

        same = source is not None and path.exists() and path.resolve() == source.resolve()
        if path.exists() and not same and not overwrite and not (path.is_dir() and not any(path.iterdir())):
            if path.is_dir() and not checkpoint.is_ours(path) and not (path / "config.json").is_file():
                checkpoint.check_room(path)  # It says what the folder holds.
            raise ArgumentError(f"{what} {path}: exists already; give another name, or pass --overwrite")
        if path.is_file() or (not path.exists() and len(path.suffix) > 1):
            check_new_file(path, what)
        elif not (path / "config.json").is_file():
            checkpoint.check_room(path)
        return cls(path, _state(path) if same else None)

    def rehearse(self, classifier: Classifier) -> None:
        """Write the classifier, as it is before the work, to a temporary place, where a suffix asks for a format.

        A checkpoint of this package needs no rehearsal.

        Raises
        ------
        ExtendError
            The classifier cannot be written in this format.
        """
        from extend.classifier import serialise

        if serialise.becomes_a_checkpoint(classifier, self.path):
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                classifier.save(Path(folder) / self.path.name)
            except ExtendError as error:
                raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from error

    def write(self, classifier: Classifier) -> None:
        """Write the classifier; a checkpoint that another process changed meanwhile is left as it is.

        Raises
        ------
        ExtendError
            It could not be written; what was there is unchanged.
        """
        from extend.classifier import serialise

        folder = serialise.becomes_a_checkpoint(classifier, self.path)
        self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and self.since is not None and self.since != _state(self.path):
            raise ArgumentError(
                f"{self.path}: another process changed it since it was read; it is left as it is: do this step again"
            )
        serialise.save(classifier, self.path, since=None if self.path.is_file() else self.since)
        WRITTEN.append(str(self.path))
        if classifier.memory is not None and not (folder or classifier.backbone.own_format is not None):
            say(f"note: {self.path} holds the network alone; classes are added to a checkpoint, which has the memory")


def _state(path: Path) -> str | None:
    """What tells the present state of a checkpoint or a file from every other."""
    from extend.core import checkpoint

    if path.is_file():
        stat = path.stat()
        return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
    return checkpoint.identity(path)
