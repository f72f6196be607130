"""Where a model's files lie: a folder, or a zip archive. A name out of a file never leads out of it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from extend.core.errors import FormatError
from extend.formats.base import read_bytes

MODEL, METADATA = "model.json", "metadata.json"
MOST_JSON = 64 << 20
MOST_WEIGHTS = 4 << 30
MOST_MEMBERS = 4096


@dataclass(frozen=True)
class Source:
    """The files beside one ``model.json``.

    Parameters
    ----------
    path
        The ``.json`` file, or the zip archive.
    name
        The name of the ``.json`` file.
    read
        A function of a relative name and the most bytes that are expected: the file's bytes.
    holds
        Whether a file of this relative name is there.
    """

    path: Path
    name: str
    read: Callable[[str, int], bytes]
    holds: Callable[[str], bool]

    @classmethod
    def at(cls, path: Path) -> Source:
        """Find the files of a model at a folder, a ``.json`` file or a zip archive.

        Raises
        ------
        FormatError
            If there is none, or the archive is damaged.
        """
        if path.is_dir():
            path = path / MODEL
        return _of_zip(path) if path.suffix.lower() == ".zip" else _of_folder(path)


def checked_name(name: object) -> str:
    """Return the relative name of a file of weights in a plain form.

    Raises
    ------
    FormatError
        If it is none: a URL, an absolute path, or one that leads out of the folder.

    Examples
    --------
    >>> checked_name("./weights/part1.bin")
    'weights/part1.bin'
    """
    plain = PurePosixPath(name) if isinstance(name, str) else PurePosixPath("/")
    bad = plain.is_absolute() or ".." in plain.parts or not plain.parts
    if bad or any(mark in str(name) for mark in (":", "\\", "\0")):
        raise FormatError(
            f"weightsManifest names the file {str(name)[:100]!r}; expected a name in the model's own folder, without "
            "'..': put the weights beside model.json, and name them so"
        )
    return str(plain)


def _of_folder(path: Path) -> Source:
    folder = path.parent

    def place(name: str) -> Path:
        file = folder / checked_name(name)
        if not file.resolve().is_relative_to(folder.resolve()):
            raise FormatError(f"{name[:100]!r} is a link that leads out of the folder; put the file itself there")
        return file

    def read(name: str, most: int) -> bytes:
        file = place(name)
        if not file.is_file():
            raise FormatError(f"{name[:100]!r} is missing: it must lie beside {path.name}")
        return read_bytes(file, most)

    read_bytes(path, MOST_JSON)
    return Source(path, path.name, read, lambda name: place(name).is_file())


def _of_zip(path: Path) -> Source:
    content = read_bytes(path, MOST_WEIGHTS)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FormatError(f"the zip archive is damaged: {error}") from error
    models = [name for name in members if PurePosixPath(name).name == MODEL and not name.startswith("__MACOSX")]
    if len(models) != 1 or len(members) > MOST_MEMBERS:
        kept = next((name for name in members if name.endswith((".h5", ".keras", ".tflite", ".onnx"))), None)
        hint = f"; unpack it and open {kept[:100]!r}" if kept and not models else ""
        raise FormatError(f"the archive of {len(members)} files holds {len(models)} {MODEL}; expected one{hint}")
    folder = PurePosixPath(models[0]).parent

    def read(name: str, most: int) -> bytes:
        member = members.get(str(folder / checked_name(name)))
        if member is None:
            raise FormatError(f"{name[:100]!r} is missing in the archive: it must lie beside {MODEL}")
        if not 0 < member.file_size <= min(most, 50 * member.compress_size + (1 << 20)):
            raise FormatError(f"{name[:100]!r} declares {member.file_size} bytes out of {member.compress_size}")
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(member) as stream:
                data = stream.read(member.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise FormatError(f"the zip archive is damaged: {error}") from error
        if len(data) != member.file_size:
            raise FormatError(f"{name[:100]!r} is not of its declared size")
        return data

    return Source(path, MODEL, read, lambda name: str(folder / checked_name(name)) in members)
