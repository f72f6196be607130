"""TODO"""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from extend.core.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")


def _files(path: Path, wanted: Callable[[PurePosixPath], bool]) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """The wanted files with a function that gives their bytes; a folder's are read only when asked for."""
    if path.is_dir():
        for folder, _, names in os.walk(path, followlinks=True):
            for name in names:
                file = Path(folder, name)
                inside = PurePosixPath(file.relative_to(path).as_posix())
                if wanted(inside):
                    yield inside, file.read_bytes
    elif not path.exists():
        raise DataError(f"{path}: no such folder or archive")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and wanted(PurePosixPath(entry.filename)):
                    yield PurePosixPath(entry.filename), _constant(archive.read(entry))
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for member in tar:
                member_name = PurePosixPath(member.name)
                opened = tar.extractfile(member) if member.isfile() and wanted(member_name) else None
                if opened is not None:
                    yield member_name, _constant(opened.read())
    else:
        raise DataError(f"{path}: neither a folder nor an archive ({', '.join(ARCHIVES)})")


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file with one array a class ({error})") from error


def _constant(content: bytes) -> Callable[[], bytes]:
    return lambda: content
