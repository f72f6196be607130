"""``labels.txt`` beside a model: the class names as Teachable Machine exports them, "0 dog" on the first line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from extend.core.errors import FormatError
from extend.formats.base import read_bytes

NAME = "labels.txt"
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Labels:
    """The names of a ``labels.txt``, in the order of the head's columns.

    Parameters
    ----------
    names
        One for each line.
    numbered
        Whether the lines begin with the numbers of the columns.
    """

    names: tuple[str, ...]
    numbered: bool

    def text(self, names: tuple[str, ...]) -> bytes:
        """Return the file's content for other names, in the same style.

        Examples
        --------
        >>> Labels(("dog",), True).text(("dog", "cat"))
        b'0 dog\\n1 cat\\n'
        """
        lines = [f"{number} {name}" if self.numbered else name for number, name in enumerate(names)]
        return "".join(f"{line}\n" for line in lines).encode()


def parse(text: str) -> Labels:
    """Read the lines of a ``labels.txt``.

    Examples
    --------
    >>> parse("1 big cat\\n0 dog\\n")
    Labels(names=('dog', 'big cat'), numbered=True)
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [re.fullmatch(r"(\d{1,6})[\s:,]\s*(\S.*)", line) for line in lines]
    pairs = {int(match[1]): match[2] for match in found if match}
    if lines and sorted(pairs) == list(range(len(lines))):
        return Labels(tuple(pairs[number] for number in range(len(lines))), True)
    return Labels(tuple(lines), False)


def beside(path: Path, columns: int) -> Labels | None:
    """Return the labels beside a model of so many columns, or None; names beyond the columns are left out.

    A longer list is that of a wider model which was saved into the same folder: its first names are the same.

    Raises
    ------
    FormatError
        If the file is no text, or names fewer classes than the head has columns.
    """
    file = path.with_name(NAME)
    if not file.is_file():
        return None
    try:
        labels = parse(read_bytes(file, MOST_BYTES).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: it is no text in UTF-8") from error
    if len(labels.names) < columns:
        raise FormatError(
            f"{file} names {len(labels.names)} classes, and the head of {path.name} has {columns} columns: mend it, or "
            "move it away if it belongs to another model"
        )
    return Labels(labels.names[:columns], labels.numbered)


def check_target(path: Path, names: tuple[str, ...], *, own: bool) -> None:
    """Check that ``labels.txt`` may be written beside a file; `own` says that this file was opened and is replaced.

    Raises
    ------
    FormatError
        If there is one with other names, which belongs to another model.
    """
    file = path.with_name(NAME)
    if own or not file.is_file():
        return
    there = parse(read_bytes(file, MOST_BYTES).decode("utf-8-sig", errors="replace")).names
    shared = min(len(there), len(names))
    if there[:shared] != names[:shared] or len(there) > len(names):
        raise FormatError(
            f"{file} names other classes ({', '.join(there[:10])}), so another model's: save into another folder"
        )
