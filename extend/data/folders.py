"""The one rule by which a folder or an archive is a data set: a class is a folder, and its sub-folders belong to it.

Nothing vanishes without a word: files of other kinds are counted and named, a class folder without a picture is an
error, and a folder that may be meant in two ways is asked about. Hidden files and folders alone are passed over.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from extend.core.errors import DataError
from extend.data import files
from extend.data.decoding import SUFFIXES, is_picture

HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir")
"""What operating systems leave behind, beside names that begin with a dot."""
TABLES = (".csv", ".tsv")
SHOWN = 10
"""A list in a message has so many entries at most."""


@dataclass(frozen=True)
class Plan:
    """Which files are the samples of which class.

    Parameters
    ----------
    path
        The folder or archive that the names are of.
    label
        The class of each file.
    classes
        The classes, in alphabetical order.
    notes
        What was passed over, in sentences.
    """

    path: Path
    label: dict[PurePosixPath, str]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def plan(
    path: Path, *, within: str = "", classes: Sequence[str] | None = None, name: str | None = None, told: str = ""
) -> Plan:
    """Find the classes of a folder, an archive, or a table of paths and labels.

    Parameters
    ----------
    path
        The folder, the archive, or a ``.csv`` or ``.tsv`` file.
    within
        Only what lies below this folder inside counts.
    classes
        Only these classes count; None: all.
    name
        All pictures are of this one class.
    told
        How the data are called in messages; the path by default.

    Raises
    ------
    DataError
        There are no pictures, pictures lie where no class can be told, a class folder has none, or what is meant is
        not clear; the message says what to do.
    """
    what = told or str(path)
    if path.suffix.lower() in TABLES and path.is_file():
        return _table(path)
    found, tops = files.names(path, lambda file: file.suffix.lower() in SUFFIXES)
    shown = [one for one in found if not _hidden(one.name)]
    if within:
        inside = PurePosixPath(within)
        shown = [one for one in shown if inside in one.name.parents]
        tops = {one.name.relative_to(inside).parts[0] for one in shown if len(one.name.relative_to(inside).parts) > 1}
    else:
        inside = PurePosixPath()
    pictures = [one.name for one in shown if is_picture(one.name, one.head)]
    others = [one.name for one in shown if not is_picture(one.name, one.head)]
    if not pictures:
        kinds = f" ({_kinds(others)})" if others else ""
        raise DataError(f"{what}: no images found{kinds}; expected one folder of images a class")
    if name is not None:
        label = dict.fromkeys(sorted(pictures), name)
        return Plan(path, label, (name,), _notes(others, []))
    if path.is_file():
        inside, tops = _unwrapped(pictures, inside, tops)
    folders = {top for top in tops if not _hidden(PurePosixPath(top))}
    parts = {file: file.relative_to(inside).parts for file in pictures}
    _refuse_flat(what, path, [file for file, names in parts.items() if len(names) == 1], folders)
    if classes is None:
        _refuse_unclear(what, path, list(parts.values()), folders)
        _refuse_empty(what, folders, {names[0] for names in parts.values()}, others, inside)
    label = {file: unicodedata.normalize("NFC", names[0]) for file, names in sorted(parts.items())}
    there = sorted(set(label.values()))
    if classes is not None:
        if missing := [one for one in classes if one not in there]:
            raise DataError(f"{what}: no pictures of {_listed(map(repr, missing))}; there are {_listed(there)}")
        label = {file: one for file, one in label.items() if one in set(classes)}
        there = list(classes)
    deeper = [file for file, names in parts.items() if len(names) > 2 and file in label]
    return Plan(path, label, tuple(there), _notes(others, deeper))


def pictures_in(path: Path) -> list[PurePosixPath]:
    """Return all pictures of a folder or an archive, whatever folder they lie in."""
    found, _ = files.names(path, lambda file: file.suffix.lower() in SUFFIXES)
    return sorted(one.name for one in found if not _hidden(one.name) and is_picture(one.name, one.head))


def _hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(".") or part in HIDDEN for part in name.parts)


def _unwrapped(pictures: list[PurePosixPath], inside: PurePosixPath, tops: set[str]) -> tuple[PurePosixPath, set[str]]:
    """Where the classes of an archive begin: below the folder that was packed, if it holds folders alone."""
    while True:
        parts = [file.relative_to(inside).parts for file in pictures]
        first = {names[0] for names in parts}
        visible = {top for top in tops if not _hidden(PurePosixPath(top))}
        if len(first) != 1 or visible - first or min(map(len, parts)) < 3:
            return inside, tops
        inside, tops = inside / first.pop(), {names[1] for names in parts}


def _refuse_flat(what: str, path: Path, flat: list[PurePosixPath], folders: set[str]) -> None:
    if not flat:
        return
    if not folders:
        parent = f"give its parent ({path.absolute().parent}), or " if path.is_dir() else ""
        raise DataError(
            f"{what}: {_count(len(flat), 'picture lies', 'pictures lie')} in it directly, and a class is a folder: "
            f"{parent}name the class ({{{path.stem!r}: {str(path)!r}}}; --name {path.stem})"
        )
    raise DataError(
        f"{what}: {_count(len(flat), 'picture lies', 'pictures lie')} beside the class folders "
        f"({_listed(file.name for file in flat)}): move each into the folder of its class or, if all are of one class, "
        f"name it (--name {path.stem})"
    )


def _refuse_unclear(what: str, path: Path, parts: list[tuple[str, ...]], folders: set[str]) -> None:
    """Refuse a name that is there on two levels, and pictures that all lie deeper, where folders below may be meant."""
    for names in parts:
        if len(names) > 2 and names[1] in folders and names[1] != names[0]:
            raise DataError(
                f"{what}: two folders are called {names[1]!r} ({names[1]} and {names[0]}/{names[1]}): give one, "
                "or another name to one of them"
            )
    if any(len(names) == 2 for names in parts):
        return
    below: dict[str, set[str]] = {}
    for names in parts:
        below.setdefault(names[0], set()).add(names[1])
    common = Counter(name for names in below.values() for name in names)
    top = sorted(below)
    if len(top) == 1 and len(below[top[0]]) > 1:
        raise DataError(
            f"{what}: holds one folder, {top[0]}, whose pictures lie in {_listed(sorted(below[top[0]]))}: give "
            f"{path / top[0]} if these are the classes, or name the class (--name {top[0]})"
        )
    if len(top) > 1 and common and max(common.values()) > 1:
        twice = sorted(name for name, count in common.items() if count > 1)
        raise DataError(
            f"{what}: holds {_listed(top)}, which hold the same folders ({_listed(twice)}): give one of them, such as "
            f"{path / top[0]}"
        )


def _refuse_empty(
    what: str, folders: set[str], full: set[str], others: list[PurePosixPath], inside: PurePosixPath
) -> None:
    if empty := sorted(folders - full):
        mine = [file for file in others if file.is_relative_to(inside / empty[0])]
        holds = f"holds no picture ({_kinds(mine)})" if mine else "is empty"
        raise DataError(f"{what}: class folder {empty[0]!r} {holds}: put pictures into it, or take it away")


def _table(path: Path) -> Plan:
    """The rows ``path,label`` of a table; paths are relative to the table."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table of paths and labels ({error})") from error
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if any(row)]
    except csv.Error as error:
        raise DataError(f"{path}: is no table of paths and labels ({error})") from error
    if rows and not (path.parent / rows[0][0]).is_file() and len(rows[0]) > 1:
        header = [cell.strip().lower() for cell in rows.pop(0)]
        file = next((i for i, cell in enumerate(header) if cell in ("path", "file", "filename", "image", "input")), 0)
        label = next(
            (i for i, cell in enumerate(header) if cell in ("label", "class", "target", "y")), 1 - min(file, 1)
        )
    else:
        file, label = 0, 1
    found: dict[PurePosixPath, str] = {}
    for number, row in enumerate(rows, 1):
        if len(row) <= max(file, label) or not row[label].strip():
            raise DataError(f"{path}: row {number} has no label; expected path{separator}label in every row")
        if not (path.parent / row[file]).is_file():
            raise DataError(f"{path}: row {number}: no such file: {row[file]} (paths are relative to {path.parent})")
        name, known = PurePosixPath(row[file]), row[label].strip()
        if found.setdefault(name, known) != known:
            raise DataError(f"{path}: {name} has two labels, {found[name]!r} and {known!r}")
    if not found:
        raise DataError(f"{path}: no rows; expected path{separator}label in every row")
    return Plan(path.parent, found, tuple(sorted(set(found.values()))))


def _notes(others: list[PurePosixPath], deeper: list[PurePosixPath]) -> tuple[str, ...]:
    notes = []
    if others:
        notes.append(f"{_count(len(others), 'file is', 'files are')} no picture and left out: {_kinds(others)}")
    if deeper:
        places = sorted({str(file.parent) for file in deeper})
        notes.append(
            f"{_count(len(deeper), 'picture lies', 'pictures lie')} in sub-folders, which belong to their class: "
            f"{_listed(places)}"
        )
    return tuple(notes)


def _kinds(names: Iterable[PurePosixPath]) -> str:
    """How many files of each suffix, with the name of one."""
    counts: dict[str, list[PurePosixPath]] = {}
    for name in names:
        counts.setdefault(name.suffix.lower() or "no suffix", []).append(name)
    ordered = sorted(counts.items(), key=lambda item: -len(item[1]))
    return _listed(f"{len(some)} {kind}, such as {some[0]}" for kind, some in ordered)


def _listed(names: Iterable[str]) -> str:
    some = list(names)
    return ", ".join(some[:SHOWN]) + (f" and {len(some) - SHOWN} more" if len(some) > SHOWN else "")


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
