"""Pictures on disk as samples: a folder, an archive or a table of them by class, or single ones without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from extend.core.errors import DataError
from extend.data import files
from extend.data.decoding import size_of
from extend.data.folders import Plan, pictures_in, plan
from extend.data.input_spec import InputSpec
from extend.data.samples import Progress, Samples, content_key, shown


def read_images(
    path: str | os.PathLike[str],
    spec: InputSpec,
    *,
    within: str = "",
    classes: Sequence[str] | None = None,
    name: str | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Samples:
    """Read a folder, an archive (tar, zip) or a table (``.csv``, ``.tsv``: path, label) of pictures.

    A class is a folder: see ``docs/data.md``.

    Parameters
    ----------
    path
        The folder, archive or table.
    spec
        What one input is; it must be a picture.
    within
        Read only what lies below this folder inside it.
    classes
        Read only these classes; all by default, in alphabetical order.
    name
        All pictures are of this one class, whatever folder they lie in.
    skip_broken
        Leave out pictures that cannot be read, and list them in `Samples.skipped`.
    progress
        Wraps the pictures, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError
        There are no pictures, one cannot be read, or the folders are not as the rule says.
    """
    if (image := spec.as_image()) is None:
        raise DataError(f"{path}: images were given, but this classifier's inputs are {spec}; give arrays")
    found = plan(Path(path), within=within, classes=classes, name=name, told=str(path))
    order = {file: place for place, file in enumerate(sorted(found.label))}
    pictures: list[np.ndarray | None] = [None] * len(order)
    keys, skipped = np.zeros(len(order), np.uint64), list[str]()
    for file, content in shown(files.contents(found.path, found.label), len(order), progress, "reading pictures"):
        try:
            pictures[order[file]] = image.read(content)
        except OSError as error:
            if not skip_broken:
                raise DataError(
                    f"{path}: {file} cannot be read as an image ({error}); "
                    "repair or remove it, or pass skip_broken=True (--skip-broken) to go on without it"
                ) from error
            skipped.append(str(file))
        keys[order[file]] = content_key(content)
    return _samples(path, found, pictures, keys, skipped)


def _samples(
    path: str | os.PathLike[str], found: Plan, pictures: list[np.ndarray | None], keys: np.ndarray, skipped: list[str]
) -> Samples:
    names = sorted(found.label)
    if lost := [
        name for name, picture in zip(names, pictures, strict=True) if picture is None and str(name) not in skipped
    ]:
        raise DataError(f"{path}: {lost[0]} vanished while the pictures were read")
    kept = np.asarray([picture is not None for picture in pictures])
    index = {name: number for number, name in enumerate(found.classes)}
    labels = np.asarray([index[found.label[name]] for name in names], np.int64)[kept]
    if len(empty := np.setdiff1d(np.arange(len(found.classes)), labels)):
        raise DataError(f"{path}: class {found.classes[empty[0]]!r} has no image that can be read")
    return Samples(
        np.stack([picture for picture in pictures if picture is not None]),
        labels,
        found.classes,
        keys[kept],
        tuple(sorted(skipped)),
        found.notes,
        tuple(str(name) for name, keep in zip(names, kept, strict=True) if keep),
    )


def pictures(paths: Sequence[Path], spec: InputSpec) -> Iterator[tuple[str, np.ndarray | str]]:
    """Yield single inputs with their names: pictures, those in folders and archives, and the rows of ``.npy`` files.

    What cannot be read is yielded as what is wrong with it, and the next one follows.

    Raises
    ------
    DataError
        The classifier's inputs are no pictures, and a picture was given.
    """
    for path in paths:
        if path.suffix.lower() == ".npy" and path.is_file():
            yield from _rows(path, spec)
            continue
        if (image := spec.as_image()) is None:
            raise DataError(f"{path}: images were given, but this classifier's inputs are {spec}; give a .npy file")
        try:
            several = path.is_dir() or files.is_archive(path)
            names = pictures_in(path) if several else []
            contents = files.contents(path, names) if several else ((path, path.read_bytes()) for _ in range(1))
            if several and not names:
                yield str(path), f"no images found in {path}"
            for name, content in contents:
                file = str(path / name) if several else str(path)
                try:
                    yield file, image.read(content)
                except OSError as error:
                    yield file, f"{file} cannot be read as an image ({error})"
        except DataError as error:
            yield str(path), str(error)
        except OSError as error:
            yield str(path), f"{path} cannot be read as an image ({error.strerror or error})"


def sizes_of(path: str | os.PathLike[str], most: int) -> list[tuple[int, int]]:
    """Return the height and width of the first so many pictures of a data set that can be read, undecoded."""
    found = plan(Path(path))
    some = sorted(found.label)[:: max(1, len(found.label) // most)][:most]
    sizes = []
    for _, content in files.contents(found.path, some):
        try:
            sizes.append(size_of(content))
        except OSError:
            continue
    return sizes


def _rows(path: Path, spec: InputSpec) -> Iterator[tuple[str, np.ndarray | str]]:
    try:
        rows = spec.check(spec.with_batch_axis(np.load(path, allow_pickle=False)), str(path))
    except (OSError, ValueError, EOFError) as error:
        yield str(path), f"{path}: {error}" if str(path) not in str(error) else str(error)
        return
    for number, row in enumerate(rows):
        yield f"{path}[{number}]", row
