"""The errors that this package raises: each says what was given, what was expected and what to do."""

from __future__ import annotations


class ExtendError(Exception):
    """The base of every error that this package raises on purpose."""


class ArgumentError(ExtendError, ValueError):
    """An argument, a name or a combination of settings cannot be used; the message says what to pass instead."""


class DataError(ExtendError, ValueError):
    """Samples or labels cannot be used; the message says which, and what was expected."""


class CheckpointError(ExtendError):
    """A checkpoint is missing, damaged, from a newer version, or does not fit; the message names the file."""


class FormatError(ExtendError, ValueError):
    """A file of another framework cannot be opened or written; the message names the file and the part of it."""


class MissingExtraError(FormatError, ImportError):
    """The format's own library is not installed; the message names the extra that installs it."""

    def __init__(self, format: str, extra: str, error: ImportError) -> None:
        super().__init__(f"{format} needs {error.name}: pip install 'class-extend[{extra}]'")
