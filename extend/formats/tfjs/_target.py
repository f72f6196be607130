"""Where a model is written: weights first, ``model.json`` last, so that a reader sees the old model or the new one."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from extend.core.errors import FormatError
from extend.formats.base import replace_file
from extend.formats.tfjs import _topology as topology
from extend.formats.tfjs._source import METADATA, MODEL, MOST_JSON, Source
from extend.formats.tfjs._weights import Groups, files_of

SUFFIXES = (".tfjs", ".json", ".zip")


@dataclass(frozen=True)
class Target:
    """A place for a model.

    Parameters
    ----------
    path
        The ``.json`` file, or the zip archive.
    """

    path: Path

    @classmethod
    def at(cls, path: Path) -> Target:
        """Check that a model can be written here: a folder, a ``.json`` file or a ``.zip`` file.

        Raises
        ------
        FormatError
            If the suffix is another one, or what lies there is no model of TensorFlow.js.
        """
        suffix = path.suffix.lower()
        if suffix not in ("", *SUFFIXES) and not path.is_dir():
            raise FormatError(f"{path}: a TensorFlow.js model is a folder (.tfjs), a model.json or a .zip file")
        named = suffix in (".json", ".zip")
        if path.is_file() != named and path.exists():
            raise FormatError(f"{path}: is a {'file' if path.is_file() else 'folder'}; expected the other")
        file = path if named else path / MODEL
        if path.is_dir() and not file.exists() and any(path.iterdir()):
            raise FormatError(f"{path}: holds other things than a TensorFlow.js model; give a new or empty folder")
        if suffix == ".json":
            _check_replaced(file)
        return cls(file)

    def write(
        self,
        document: topology.Json,
        groups: Groups,
        files: Sequence[Sequence[str]],
        metadata: topology.Json,
        classes: Sequence[str],
    ) -> None:
        """Write the model; `files` are the names of the files that the groups were read from, or nothing."""
        paths, content = files_of(groups, files)
        key = (topology.labels_of(metadata) or ("labels", ()))[0]
        labels = _json(metadata | {key: list(classes)})
        if self.path.suffix.lower() == ".zip":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(MODEL, _json(_with_weights(document, paths, groups)))
                archive.writestr(METADATA, labels)
                for name, data in content.items():
                    archive.writestr(name, data)
            replace_file(self.path, packed.getvalue())
            return
        folder = self.path.parent
        old = _files_of(self.path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = {name: _write_beside(folder, name, data) for name, data in content.items()}
            paths = [[names[name] for name in group] for group in paths]
            replace_file(folder / METADATA, labels)
            replace_file(self.path, _json(_with_weights(document, paths, groups)))
            if len(list(folder.glob("*.json"))) == 2:  # No other model's description that may name the files too.
                for name in old - {name for group in paths for name in group}:
                    (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise FormatError(f"{self.path}: cannot be written ({error})") from error


def _check_replaced(file: Path) -> None:
    """Check that what is to be replaced is a model, and that metadata.json beside it is a model's."""
    try:
        if file.exists() and "modelTopology" not in topology.parse(file.read_bytes()):
            raise FormatError("is no TensorFlow.js model, and is not replaced; give another name")
        metadata = file.parent / METADATA
        if (
            metadata.exists()
            and not file.exists()
            and topology.labels_of(topology.parse(metadata.read_bytes())) is None
        ):
            raise FormatError(f"{METADATA} beside it is of something else, and is not replaced; give another folder")
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error


def _files_of(path: Path) -> set[str]:
    """The files of weights of the model that is replaced, if there is one."""
    try:
        source = Source.at(path)
        manifest = topology.parse(source.read(source.name, MOST_JSON))["weightsManifest"]
        names = {name for group in manifest for name in group["paths"]}
        return {name for name in names if source.holds(name)}
    except (FormatError, OSError, TypeError, KeyError):
        return set()  # None there, or a damaged one, whose files are left alone.


def _write_beside(folder: Path, name: str, data: bytes) -> str:
    """Write a file of weights under this name, or another one where a reader may still need what is there."""
    file = folder / name
    if file.exists() and file.read_bytes() != data:
        plain = PurePosixPath(name)
        file = folder / f"{plain.stem}-{hashlib.sha256(data).hexdigest()[:8]}{plain.suffix}"
    if not file.exists() or file.read_bytes() != data:
        replace_file(file, data)
    return file.name


def _with_weights(document: topology.Json, paths: list[list[str]], groups: Groups) -> topology.Json:
    manifest = [
        {"paths": names, "weights": [weight.entry() for weight in group]}
        for names, group in zip(paths, groups, strict=True)
    ]
    return document | {"weightsManifest": manifest}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
