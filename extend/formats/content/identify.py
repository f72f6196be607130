"""What a file or a folder is: its bytes decide, and its suffix only where they leave it open."""

from __future__ import annotations

import os
from pathlib import Path

from extend.core.errors import FormatError
from extend.formats.content._archives import HEAD, of_compressed, of_tar, of_zip
from extend.formats.content._base import Content, listed
from extend.formats.content._binaries import of_binary
from extend.formats.content._folders import of_folder
from extend.formats.content._pickles import looks_pickled, of_pickle
from extend.formats.content._texts import of_text

__all__ = ["Content", "identify", "identify_folder"]


def identify(path: str | os.PathLike[str]) -> Content | None:
    """Return what a file is, by its content; None if that is not known.

    Only the start of the file is read, and of an archive its list of members. Nothing is unpickled or imported.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        If there is no such file, or it is empty.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "model.h5")
    >>> _ = file.write_text("version https://git-lfs.github.com/spec/v1")
    >>> identify(file).what
    'a pointer of git-LFS, not the file itself'
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        raise FormatError(f"{file}: the file is empty (no bytes): download or save it again")
    suffix = file.suffix.lower()
    if head[:4] == b"PK\x03\x04":
        found = of_zip(file, suffix)
        return None if found.reader == "by suffix" else found
    return of_compressed(head, suffix, _of_head) or of_tar(head) or _of_head(head, suffix) or _of_name(file)


def identify_folder(path: str | os.PathLike[str]) -> Content | None:
    """Return what a folder is that nothing reads as a whole; None if that is not known, as of checkpoints of Flax.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "saved_model.pb").write_bytes(b"")
    >>> identify_folder(folder).what
    'a SavedModel of TensorFlow'
    """
    folder = Path(path)
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    return of_folder(names, listed(names))


def _of_head(head: bytes, suffix: str) -> Content | None:
    """What bytes are that are neither compressed nor an archive."""
    if found := of_binary(head, suffix):
        return found
    if looks_pickled(head):
        return of_pickle(head, suffix)
    return of_text(head, suffix)


def _of_name(file: Path) -> Content | None:
    """What a file is whose bytes say nothing, by the end of its name."""
    if file.name.endswith(".index") or ".data-0000" in file.name or file.suffix == ".meta":
        advice = "build the model in TensorFlow, load the checkpoint into it, and save it as .keras"
        return Content("part of a checkpoint of TensorFlow", advice=advice)
    if file.suffix == ".weights":
        return Content("weights of Darknet", advice="convert them with their .cfg to ONNX or PyTorch")
    return None
