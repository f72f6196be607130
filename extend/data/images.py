"""Pictures as inputs: decoded, resized, kept as 8-bit values, and normalised batch by batch."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Literal

import jax
import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from extend.data.input_spec import Array, Batch, Json, checked_shape, converted

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""The suffixes of pictures; a file of another one, or of none, is told by its first bytes."""
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"P4\n", b"P5\n", b"P6\n")


def is_picture(name: PurePosixPath, head: bytes) -> bool:
    """Whether a file is a picture, by its suffix or by its first bytes."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return name.suffix.lower() in SUFFIXES or webp or head.startswith(BEGINNINGS)


@dataclass(frozen=True)
class Image:
    """How a picture becomes an input: resized, scaled, normalised; float32 ``[height, width, channels]``.

    Parameters
    ----------
    height, width
        Pixels of one input.
    channels
        3 (RGB) or 1 (grey).
    scale
        Factor on the 8-bit values, before normalisation.
    mean, std
        Per channel (or one value for all), after scaling.
    resize
        ``"bilinear"``, ``"bicubic"``, ``"nearest"``, ``"box"`` or ``"lanczos"``, Pillow's filters.
    order
        ``"rgb"``, or ``"bgr"`` for networks that want blue first (Caffe's, OpenCV's); `mean` and `std` are in that
        order then. 8-bit pictures are RGB all the same.

    Examples
    --------
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
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __str__(self) -> str:
        return f"images {list(self.shape)} {self.dtype.name}"

    def leaves(self) -> list[Array | Image]:
        return [self]

    def names(self) -> list[str]:
        return ["pictures"]

    def check(self, given: object, what: str) -> np.ndarray:
        """Return 8-bit pictures as they are, and anything else as float32 that is normalised already."""
        array = checked_shape(given, self.shape, self.dtype, what)
        return np.ascontiguousarray(array) if array.dtype == np.uint8 else converted(array, self.dtype, what)

    def prepare(self, batch: Batch) -> Batch:
        return self.normalise(batch) if batch.dtype == np.uint8 else batch

    def structs(self, n: int, *, stored: bool = False) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *self.shape), np.dtype(np.uint8) if stored else self.dtype)

    def as_image(self) -> Image:
        return self

    def to_dict(self) -> Json:
        return {"image": asdict(self)}

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
