"""Folders and archives of images by class, single pictures, and .npz files: what lies on disk, as samples."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image as Picture

from extend.core.errors import DataError
from extend.data.input_spec import InputSpec
from extend.data.samples import Progress, Samples, content_key, shown

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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file with one array a class ({error})") from error


def _constant(content: bytes) -> Callable[[], bytes]:
    return lambda: content


SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
BROKEN = (OSError, SyntaxError, ValueError, Picture.DecompressionBombError)
"""What Pillow raises for a file that it cannot decode."""


def read_images(
    path: str | os.PathLike[str],
    spec: InputSpec,
    *,
    within: str = "",
    classes: Sequence[str] | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Samples:
    """Read a folder or archive (tar, zip) of images; an image's class is the name of the folder that holds it.

    Parameters
    ----------
    path
        The folder or archive.
    within
        Read only what lies below this folder inside it.
    classes
        Read only these classes; all by default, in alphabetical order.
    """
    if (image := spec.as_image()) is None:
        raise DataError(f"{path}: images were given, but this classifier's inputs are {spec}; give arrays")
    found = sorted(_image_files(Path(path), within))
    folders = sorted({(name.parent.name, str(name.parent)) for name, _ in found})
    names = [name for name, _ in folders]
    for one, two in pairwise(folders):
        if one[0] == two[0]:
            raise DataError(f"{path}: two folders are called {one[0]!r} ({one[1]} and {two[1]}); give one of them")
    if classes is not None:
        if missing := [name for name in classes if name not in names]:
            raise DataError(f"{path}: no images of {', '.join(map(repr, missing))}; there are {', '.join(names)}")
        names = list(classes)
    kept = [item for item in found if item[0].parent.name in set(names)]
    if not kept:
        raise DataError(f"{path}: no images found; expected one folder of images ({', '.join(SUFFIXES)}) a class")
    index = {name: number for number, name in enumerate(names)}
    pictures, labels, keys, skipped = [], [], [], []
    for name, content in shown(kept, len(kept), progress):
        content_bytes = content()
        try:
            pictures.append(image.read(content_bytes))
        except BROKEN as error:
            if not skip_broken:
                raise DataError(
                    f"{path}: {name} cannot be read as an image ({error}); "
                    "repair or remove it, or pass skip_broken=True (--skip-broken) to go on without it"
                ) from error
            skipped.append(str(name))
            continue
        labels.append(index[name.parent.name])
        keys.append(content_key(content_bytes))
    if empty := sorted(set(range(len(names))) - set(labels)):
        raise DataError(f"{path}: class {names[empty[0]]!r} has no image that can be read")
    return Samples(
        np.stack(pictures), np.asarray(labels, np.int64), tuple(names), np.asarray(keys, np.uint64), tuple(skipped)
    )


def read_pictures(paths: Sequence[Path], spec: InputSpec) -> tuple[list[str], np.ndarray]:
    """Image files, and all images in folders, as 8-bit pictures ``[n, height, width, channels]`` with their names.

    Raises
    ------
    DataError
        The classifier does not take images, a path does not exist, or an image cannot be read.
    """
    if (image := spec.as_image()) is None:
        raise DataError(f"images were given, but this classifier's inputs are {spec}")
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        else:
            files.append(path)
    if not files:
        raise DataError(f"no images found in {', '.join(map(str, paths))}")
    pictures = []
    for file in files:
        try:
            pictures.append(image.read(file.read_bytes()))
        except BROKEN as error:
            raise DataError(f"{file} cannot be read as an image ({error})") from error
    return [str(file) for file in files], np.stack(pictures)


def _image_files(path: Path, within: str) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    inside = PurePosixPath(within)

    def wanted(name: PurePosixPath) -> bool:
        image = name.suffix.lower() in SUFFIXES and bool(name.parent.name) and not name.name.startswith(".")
        return image and (not within or inside in name.parents)

    yield from _files(path, wanted)
