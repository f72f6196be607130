"""TODO"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from extend.core.errors import DataError
from extend.data.files import _files
from extend.data.samples import InputSpec, Samples, content_key, describe

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
BROKEN = (OSError, SyntaxError, ValueError, Picture.DecompressionBombError)
"""What Pillow raises for a file that it cannot decode."""


@dataclass(frozen=True)
class Image:
    """How a picture becomes an input: resized, scaled, normalised; float32 ``[height, width, channels]``.

    Args:
        height, width: pixels of one input.
        channels: 3 (RGB) or 1 (grey).
        scale: factor on the 8-bit values, before normalisation.
        mean, std: per channel (or one value for all), after scaling.
        resize: ``"bilinear"``, ``"bicubic"``, ``"nearest"``, ``"box"`` or ``"lanczos"``, Pillow's filters.
        order: ``"rgb"``, or ``"bgr"`` for networks that want blue first (Caffe's, OpenCV's); `mean` and `std` are in
            that order then. 8-bit pictures are RGB all the same.

    >>> Image(32, 32).shape
    (32, 32, 3)
    """

    height: int
    width: int
    channels: int = 3
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: str = "bilinear"
    order: Literal["rgb", "bgr"] = "rgb"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, self.channels)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def normalise(self, pictures: np.ndarray) -> np.ndarray:
        """8-bit pictures ``[n, height, width, channels]`` -> float32 inputs of the same shape."""
        slope = np.float32(self.scale) / np.asarray(self.std, np.float32)
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return (pictures[..., ::-1] if self.order == "bgr" else pictures).astype(np.float32) * slope - offset

    def read(self, content: bytes) -> np.ndarray:
        """Decode one image file's bytes to uint8 ``[height, width, channels]``; raises ``OSError`` if it is broken."""
        try:
            opened = Picture.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError:
            raise OSError(f"it is none of {', '.join(FORMATS)}") from None
        with opened as picture:
            converted = picture.convert("RGB" if self.channels == 3 else "L")
        if converted.size != (self.width, self.height):
            converted = converted.resize((self.width, self.height), Picture.Resampling[self.resize.upper()])
        return np.asarray(converted, np.uint8).reshape(self.shape)


def read_images(
    path: str | os.PathLike[str],
    spec: InputSpec,
    *,
    within: str = "",
    classes: Sequence[str] | None = None,
    skip_broken: bool = False,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> Samples:
    """Read a folder or archive (tar, zip) of images; an image's class is the name of the folder that holds it.

    Args:
        path: the folder or archive.
        within: read only what lies below this folder inside it.
        classes: read only these classes; all by default, in alphabetical order.
    """
    if not isinstance(spec, Image):
        raise DataError(f"{path}: images were given, but this classifier's inputs are {describe(spec)}; give arrays")
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
    for name, content in progress(kept, len(kept)) if progress else kept:
        content_bytes = content()
        try:
            pictures.append(spec.read(content_bytes))
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

    Raises:
        ValueError: the classifier does not take images, a path does not exist, or an image cannot be read.
    """
    if not isinstance(spec, Image):
        raise DataError(f"images were given, but this classifier's inputs are {describe(spec)}")
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
            pictures.append(spec.read(file.read_bytes()))
        except BROKEN as error:
            raise DataError(f"{file} cannot be read as an image ({error})") from error
    return [str(file) for file in files], np.stack(pictures)


def _image_files(path: Path, within: str) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    inside = PurePosixPath(within)

    def wanted(name: PurePosixPath) -> bool:
        image = name.suffix.lower() in SUFFIXES and bool(name.parent.name) and not name.name.startswith(".")
        return image and (not within or inside in name.parents)

    yield from _files(path, wanted)
