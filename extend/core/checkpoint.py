"""A tree of arrays and a JSON description <-> a folder that is whole or is reported as damaged.

Layout: ``path/data-<id>/`` is an Orbax checkpoint; ``path/manifest`` names that folder, holds the description and the
SHA-256 of every file, and begins with the SHA-256 of itself. A save writes a new data folder and then replaces the
manifest in one step, so a reader sees the old checkpoint or the new one, whatever happens in between: a reader locks
the data folder that it reads, and a writer removes an old one only when nobody reads it. Nothing else is ever touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from extend.core.errors import CheckpointError, ExtendError

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
OURS = re.compile(r"\.lock|manifest|manifest-[0-9a-f]{32}|data-[0-9a-f]{32}(\..*)?")
"""The names that a save writes into its folder; Orbax appends a suffix to the data folder while it writes."""
DATA = re.compile(r"data-[0-9a-f]{32}")
PATIENCE = 20.0
"""Seconds for which a reader begins again because a writer was faster."""
Tree = Mapping[str, Any]
Json = dict[str, Any]


def is_ours(path: str | os.PathLike[str]) -> bool:
    """Whether this package wrote what lies there."""
    return (Path(path) / "manifest").is_file()


def identity(path: str | os.PathLike[str]) -> str | None:
    """Return what tells this checkpoint from every other state of its folder; None where there is none."""
    try:
        with (Path(path) / "manifest").open("rb") as file:
            return file.readline(100).strip().decode("ascii", "replace")
    except OSError:
        return None


def check_room(path: str | os.PathLike[str]) -> None:
    """Refuse a place where no checkpoint may be written, before the work that is to be saved there.

    Raises
    ------
    CheckpointError
        It is a file, it is a folder of other things, or it cannot be written to.
    """
    folder = Path(path).absolute()
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file; a checkpoint is a folder: give another name")
    if folder.is_dir() and not is_ours(folder):
        others = sorted(entry.name for entry in folder.iterdir() if not OURS.fullmatch(entry.name))
        if others:
            listed = ", ".join(others[:10]) + (", ..." if len(others) > 10 else "")
            raise CheckpointError(f"{folder}: holds other things than a checkpoint ({listed}): give a new name")
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise CheckpointError(f"{folder}: cannot be written, as {there} is no folder that you may write to")


def save(
    path: str | os.PathLike[str],
    tree: Tree,
    description: Mapping[str, object],
    *,
    since: str | None = None,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Write nested dicts of arrays (string keys) and a JSON description; replaces an earlier checkpoint at once.

    Parameters
    ----------
    path, tree, description
        Where to write, and what.
    since
        The `identity` of the checkpoint that this one was made from, if it is to take its place; None: whatever is
        there is replaced.
    before
        Called when everything is written, and before it takes the place of what was there: whatever has to change
        together with the checkpoint. If it raises an `ExtendError`, what was there is unchanged.

    Raises
    ------
    CheckpointError
        It could not be written (no room, no permission, another writer, a folder of other things), or the checkpoint
        there is another one than `since`; what was there is unchanged.
    """
    folder = Path(path).absolute()
    check_room(folder)
    data = folder / f"data-{uuid.uuid4().hex}"
    partial = folder / f"manifest-{uuid.uuid4().hex}"
    arrays, empty = _split(tree)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if since is not None and since != identity(folder):
                raise CheckpointError(
                    f"{folder}: was changed by another process since it was read; it is left as that process wrote it: "
                    "do this step again"
                )
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
            with partial.open("wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            before()
            os.replace(partial, folder / "manifest")
            sync_folder(folder)
            _clean(folder)
    except Exception as error:
        with contextlib.suppress(OSError):
            for leftover in folder.glob(f"{data.name}*"):  # Orbax appends a suffix while it writes.
                shutil.rmtree(leftover, ignore_errors=True)
            partial.unlink(missing_ok=True)
            if is_new:
                (folder / ".lock").unlink(missing_ok=True)
                folder.rmdir()
        if isinstance(error, ExtendError):
            raise
        # Orbax reports a full disk through several exception types.
        raise CheckpointError(f"{folder}: could not be saved ({error}); what was there before is unchanged") from error


def load(path: str | os.PathLike[str]) -> tuple[Json, Json]:
    """Read back what `save` wrote: nested dicts of NumPy arrays, and the description.

    Raises
    ------
    CheckpointError
        Missing, truncated or changed (every file is compared with its sum), or of a newer format.
    """
    folder = Path(path).absolute()
    end = time.monotonic() + PATIENCE
    while True:
        content = _manifest(folder)
        try:
            with _reading(folder / content["data"]):
                return _read(folder / content["data"], content)
        except CheckpointError:
            if content == _manifest(folder) or time.monotonic() > end:
                raise
        except (OSError, ValueError, KeyError) as error:  # What Orbax says of a file that vanishes.
            if content == _manifest(folder) or time.monotonic() > end:
                raise CheckpointError(f"{folder}: cannot be read ({error})") from error


def _read(data: Path, content: Json) -> tuple[Json, Json]:
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
    manifest = _checked(file, body)
    if manifest["format"] > FORMAT:
        raise CheckpointError(
            f"{file}: format {manifest['format']} is newer than this version reads ({FORMAT}); update class-extend"
        )
    return manifest


def _checked(file: Path, body: bytes) -> Json:
    """The manifest, if it has the parts that it must have; a right sum alone does not say so."""
    try:
        manifest: Json = json.loads(body)
        parts = manifest["files"], manifest["empty"], manifest["description"]
        good = isinstance(manifest["format"], int) and all(isinstance(part, dict) for part in parts)
        good = good and bool(DATA.fullmatch(manifest["data"]))
        good = good and all(isinstance(value, str) for value in manifest["files"].values())
        for name, (shape, dtype) in manifest["empty"].items():
            np.empty([0, *shape], np.dtype(dtype))
            good = good and all(isinstance(part, str) for part in json.loads(name)) and 0 in shape
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise CheckpointError(f"{file}: is no manifest of a checkpoint ({error}); restore it from a copy") from None
    if not good:
        raise CheckpointError(f"{file}: is no manifest of a checkpoint; restore it from a copy")
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
    """Remove what earlier saves left behind and nobody reads; the caller holds the lock."""
    if not is_ours(folder):
        return  # What lies there is not known to be ours.
    try:
        current = _manifest(folder)["data"]
    except CheckpointError:
        return  # A damaged manifest: delete nothing that might still be rescued.
    for entry in folder.iterdir():
        if not OURS.fullmatch(entry.name) or entry.name in (current, "manifest", ".lock"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            with _alone(entry) as alone:
                if alone:
                    shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@contextlib.contextmanager
def _reading(data: Path) -> Iterator[None]:
    """Keep a writer from removing a data folder while it is read; where there are no locks, nothing does."""
    with contextlib.ExitStack() as stack:
        if fcntl is not None and hasattr(os, "O_DIRECTORY"):
            try:
                descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise CheckpointError(f"{data}: missing; the checkpoint is damaged, restore it from a copy") from error
            stack.callback(os.close, descriptor)
            with contextlib.suppress(OSError):  # Some network file systems have no locks.
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[bool]:
    """Whether nobody reads a data folder; nobody begins to while this lasts."""
    if fcntl is None or not hasattr(os, "O_DIRECTORY"):
        yield True
        return
    descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        except OSError:
            yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One writer at a time; the lock ends with the process, however it ends."""
    if fcntl is None:  # There, two writers at once are the user's to avoid.
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
    sync_folder(data)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Let the names in a folder reach the disk."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
