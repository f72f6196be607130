"""What lies in a folder or an archive: the names of its files, and their contents one after the other.

Nothing is unpacked, and nothing that is no plain file is opened. Whatever is wrong with an archive is one `DataError`:
checksums are compared, and an archive that was cut off does not pass for a shorter one.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np

from extend.core.errors import DataError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".zip")
LARGEST = 1 << 28
"""No picture file is larger than this, 256 MB."""
HEAD = 32
"""So many first bytes tell a picture from other files."""
DAMAGE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError)
"""What reading a damaged archive raises."""

Wanted = Callable[[PurePosixPath], bool]


@dataclass(frozen=True)
class Found:
    """A file in a folder or an archive.

    Parameters
    ----------
    name
        Its path inside.
    head
        Its first bytes; empty where its suffix says enough.
    """

    name: PurePosixPath
    head: bytes = b""


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that can be read."""
    with _damage_of(path):
        return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


def names(path: Path, known: Wanted) -> tuple[list[Found], set[str]]:
    """Return the files of a folder or an archive, and the names of its folders on top.

    Parameters
    ----------
    path
        The folder or archive.
    known
        Whether a file's name says enough; the first bytes of others are read.

    Raises
    ------
    DataError
        There is no such folder or archive, or it is damaged, or a folder in it cannot be read.
    """
    with _damage_of(path):
        if path.is_dir():
            found = [Found(name, b"" if known(name) else _head(file)) for name, file in _walk(path)]
            return found, {entry.name for entry in os.scandir(path) if entry.is_dir()}
        files: dict[PurePosixPath, Found] = {}
        folders: set[str] = set()
        for name, read in _members(path):
            if len(name.parts) > 1 or read is None:
                folders.add(name.parts[0])
            if read is not None:
                files[name] = Found(name, b"" if known(name) else read(HEAD))
        return list(files.values()), folders


def contents(path: Path, wanted: Collection[PurePosixPath]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the wanted files of a folder or an archive in the order in which they lie there.

    A name that an archive holds twice comes twice: the last one counts.

    Raises
    ------
    DataError
        The archive is damaged, or a file is too large for a picture.
    """
    with _damage_of(path):
        if path.is_dir():
            for name in wanted:
                file = path / name
                if file.stat().st_size > LARGEST:
                    raise DataError(f"{file}: {file.stat().st_size} bytes are no picture")
                yield name, file.read_bytes()
            return
        for name, read in _members(path):
            if read is not None and name in wanted:
                yield name, read(None)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` file by their names.

    Raises
    ------
    DataError
        It is none, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise DataError(f"{path}: holds one array without a name (.npy); expected .npz with one array a class")
            return {name: archive[name] for name in archive.files}
    except (*DAMAGE, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a readable .npz file with one array a class ({error})") from error


@contextmanager
def _damage_of(path: Path) -> Iterator[None]:
    """Turn what reading raises into one error."""
    try:
        yield
    except DataError:
        raise
    except (*DAMAGE, RuntimeError) as error:  # RuntimeError: an encrypted zip.
        if isinstance(error, OSError) and error.filename and error.strerror:
            raise DataError(f"{error.filename}: {error.strerror}") from error
        raise DataError(f"{path}: is damaged or cannot be read ({error}); make the archive again") from error


def _walk(path: Path) -> Iterator[tuple[PurePosixPath, Path]]:
    """The plain files below a folder; links are followed, but no folder is entered twice."""

    def refuse(error: OSError) -> None:
        raise error

    seen = {_place(path)}
    for folder, below, files in os.walk(path, followlinks=True, onerror=refuse):
        fresh = []
        for name in sorted(below):
            place = _place(Path(folder, name))
            if place not in seen:
                seen.add(place)
                fresh.append(name)
        below[:] = fresh
        for name in sorted(files):
            file = Path(folder, name)
            try:
                plain = stat.S_ISREG(file.stat().st_mode)
            except OSError:  # A link to nothing.
                continue
            if plain:
                yield PurePosixPath(file.relative_to(path).as_posix()), file


def _place(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(HEAD)


Reader = Callable[[int | None], bytes]


def _members(path: Path) -> Iterator[tuple[PurePosixPath, Reader | None]]:
    """The files of an archive with what reads them, and its folders with None; the whole archive is gone through."""
    if not path.exists():
        raise DataError(f"{path}: no such folder or archive")
    if not path.is_file():
        raise DataError(f"{path}: is neither a folder nor a file")
    if zipfile.is_zipfile(path):
        yield from _zip(path)
    elif tarfile.is_tarfile(path):
        yield from _tar(path)
    else:
        raise DataError(f"{path}: neither a folder nor an archive ({', '.join(ARCHIVES)})")


def _zip(path: Path) -> Iterator[tuple[PurePosixPath, Reader | None]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if entry.is_dir():
                yield name, None
                continue

            def read(count: int | None, entry: zipfile.ZipInfo = entry) -> bytes:
                _check_size(path, entry.filename, entry.file_size)
                with archive.open(entry) as file:
                    return file.read() if count is None else file.read(count)

            yield name, read


def _tar(path: Path) -> Iterator[tuple[PurePosixPath, Reader | None]]:
    with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if member.isdir():
                yield name, None
                continue
            if not member.isfile():
                continue  # A link or a device.

            def read(count: int | None, member: tarfile.TarInfo = member) -> bytes:
                _check_size(path, member.name, member.size)
                file = archive.extractfile(member)
                assert file is not None
                content = file.read() if count is None else file.read(count)
                if count is None and len(content) != member.size:
                    raise DataError(f"{path}: was cut off within {member.name}; make the archive again")
                return content

            yield name, read
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise DataError(f"{path}: was cut off or damaged, as the mark of its end is missing; make it again")
        while stream.read(1 << 20):  # To its end, where the checksum of a compressed archive stands.
            pass


@contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a tar archive, decompressed by what it begins with."""
    with path.open("rb") as file, ExitStack() as stack:
        head = file.read(6)
        file.seek(0)
        if head.startswith(b"\x1f\x8b"):
            yield cast(IO[bytes], stack.enter_context(gzip.GzipFile(fileobj=file)))
        elif head.startswith(b"BZh"):
            yield stack.enter_context(bz2.BZ2File(file))
        elif head == b"\xfd7zXZ\x00":
            yield stack.enter_context(lzma.LZMAFile(file))
        else:
            yield file


def _check_size(path: Path, name: str, size: int) -> None:
    if size > LARGEST:
        raise DataError(f"{path}: {name} of {size} bytes is no picture; a file may have {LARGEST} at most")
