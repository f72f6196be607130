"""A tree of arrays and a JSON description <-> a folder that is whole or is reported as damaged.

Layout: ``path/data-<id>/`` is an Orbax checkpoint; ``path/manifest`` names that folder, holds the description and the
SHA-256 of every file, and begins with the SHA-256 of itself. A save writes a new data folder and then replaces the
manifest in one step, so a reader sees the old checkpoint or the new one, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from extend.core.errors import CheckpointError

FORMAT = 1
Tree = Mapping[str, Any]
Json = dict[str, Any]


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether this package wrote what lies there."""
    return (Path(path) / "manifest").is_file()


def save(path: str | os.PathLike[str], tree: Tree, description: Mapping[str, object]) -> None:
    """Write nested dicts of arrays (string keys) and a JSON description; replaces an earlier checkpoint at once.

    Raises
    ------
    CheckpointError
        It could not be written (no room, no permission, another writer); what was there is unchanged.
    """
    folder = Path(path).absolute()
    data = folder / f"data-{uuid.uuid4().hex}"
    arrays, empty = _split(tree)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            _clean(folder)
            if arrays:
                with ocp.PyTreeCheckpointer() as writer:
                    writer.save(data, arrays)
            else:
                data.mkdir()
            content = {
                "format": FORMAT,
                "data": data.name,
                "files": {name: _sum(data / name) for name in _names(data)},
                "empty": empty,
                "description": description,
            }
            _sync(data)
            body = json.dumps(content, ensure_ascii=True, indent=1, sort_keys=True).encode()
            partial = folder / f"manifest-{uuid.uuid4().hex}"
            with partial.open("wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, folder / "manifest")
            _sync_folder(folder)
            _clean(folder)
    except CheckpointError:
        raise
    except Exception as error:
        # Orbax reports a full disk through several exception types.
        with contextlib.suppress(OSError):
            for leftover in folder.glob(f"{data.name}*"):  # Orbax appends a suffix while it writes.
                shutil.rmtree(leftover, ignore_errors=True)
            for leftover in folder.glob("manifest-*"):
                leftover.unlink()
        raise CheckpointError(f"{folder}: could not be saved ({error}); what was there before is unchanged") from error


def load(path: str | os.PathLike[str]) -> tuple[Json, Json]:
    """Read back what `save` wrote: nested dicts of NumPy arrays, and the description.

    Raises
    ------
    CheckpointError
        Missing, truncated or changed (every file is compared with its sum), or of a newer format.
    """
    folder = Path(path).absolute()
    for _ in range(3):  # A writer may replace the checkpoint between our two reads.
        content = _manifest(folder)
        data = folder / content["data"]
        if data.is_dir() or content == _manifest(folder):
            break
    found, expected = set(_names(data)), content["files"]
    if lost := sorted(set(expected) - found):
        raise CheckpointError(f"{data / lost[0]}: missing; the checkpoint is damaged, restore it from a copy")
    if extra := sorted(found - set(expected)):
        raise CheckpointError(f"{data / extra[0]}: not part of this checkpoint; the folder was changed")
    for name, checksum in expected.items():
        if _sum(data / name) != checksum:
            raise CheckpointError(f"{data / name}: damaged (its SHA-256 differs); restore the checkpoint from a copy")
    tree: Json = {}
    if any(name.endswith("_METADATA") for name in expected):
        tree = read_orbax(data)
    for name, (shape, dtype) in content["empty"].items():
        *parents, last = json.loads(name)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = np.zeros(shape, dtype)
    return tree, content["description"]


def describe(path: str | os.PathLike[str]) -> Json:
    """The description alone, without reading the arrays."""
    return _manifest(Path(path).absolute())["description"]


def read_orbax(folder: Path) -> Any:
    """An Orbax checkpoint's arrays as NumPy arrays, whatever devices wrote them."""
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder).item_metadata.tree
        leaf = ocp.RestoreArgs(restore_type=np.ndarray)
        arguments = _map(lambda _: leaf, tree)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=arguments))


def _map(function: Any, tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_map(function, value) for value in tree]
    return None if tree is None else function(tree)


def _manifest(folder: Path) -> Json:
    file = folder / "manifest"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        what = (
            "no such folder"
            if not folder.exists()
            else "no checkpoint of extend (it has no manifest); to open another program's, pass model= and classes="
        )
        raise CheckpointError(f"{folder}: {what}") from None
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error})") from error
    checksum, separator, body = content.partition(b"\n")
    if not separator or checksum != hashlib.sha256(body).hexdigest().encode():
        raise CheckpointError(f"{file}: damaged or truncated (its SHA-256 differs); restore the checkpoint from a copy")
    manifest = json.loads(body)
    if manifest["format"] > FORMAT:
        raise CheckpointError(
            f"{file}: format {manifest['format']} is newer than this version reads ({FORMAT}); update class-extend"
        )
    return manifest


def _split(tree: Tree) -> tuple[Json, Json]:
    """The arrays, and the shapes and dtypes of those without elements, which Orbax does not take."""
    empty: Json = {}

    def walk(node: Tree, path: tuple[str, ...]) -> Json:
        result: Json = {}
        for key, value in node.items():
            if isinstance(value, Mapping):
                result[key] = walk(value, (*path, key))
                if not result[key]:
                    del result[key]
                continue
            array = np.asarray(value)
            if array.size:
                result[key] = array
            else:
                empty[json.dumps([*path, key])] = [list(array.shape), array.dtype.name]
        return result

    return walk(tree, ()), empty


def _names(data: Path) -> list[str]:
    return sorted(file.relative_to(data).as_posix() for file in data.rglob("*") if file.is_file())


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _clean(folder: Path) -> None:
    """Remove what interrupted saves left behind; the caller holds the lock."""
    current = ""
    if is_ours(folder):
        with contextlib.suppress(CheckpointError):
            current = _manifest(folder)["data"]
        if not current:
            return  # A damaged manifest: delete nothing that might still be rescued.
    for leftover in folder.glob("data-*"):
        if leftover.name != current:
            shutil.rmtree(leftover, ignore_errors=True)
    for leftover in folder.glob("manifest-*"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One writer at a time; the lock ends with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock: there, two writers at once are the user's to avoid.
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{folder}: another process is saving there; try again when it is done") from None
        yield


def _sync(data: Path) -> None:
    for name in _names(data):
        with (data / name).open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(data)


def _sync_folder(folder: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
