"""Pictures as inputs: decoded, resized, kept as 8-bit values, and normalised batch by batch."""

from __future__ import annotations

import os
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from PIL import Image as Picture

from extend.core.errors import ArgumentError, DataError
from extend.data.decoding import BRIGHT, decoded, eight_bit
from extend.data.input_spec import Array, Batch, Json, checked_shape, converted, with_batch_axis

VALUES = ("pixels", "unit", "normalised")
SMOOTH = ("bilinear", "bicubic", "lanczos")
"""Filters that average over so many pixels that a JPEG may be decoded smaller, as long as it is twice as large."""


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
    values
        What arrays of floats hold: ``"pixels"`` (0 to 255), ``"unit"`` (0 to 1), or ``"normalised"`` (what the backbone
        takes). None: floats of 0 to 255 are pixels where one is above 16, and others are refused. Integers of any dtype
        are always pixels of 0 to 255.

    Raises
    ------
    ArgumentError
        `values` is none of these.

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
    values: Literal["pixels", "unit", "normalised"] | None = None

    def __post_init__(self) -> None:
        if self.values not in (None, *VALUES):
            raise ArgumentError(f"values is {self.values!r}; expected one of {', '.join(map(repr, VALUES))}, or None")

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
        """Return pixels as uint8 ``[n, *shape]``, and floats that are no whole pixels as the backbone takes them.

        Parameters
        ----------
        given
            Arrays of integers of 0 to 255, of any dtype; of floats, as `values` says; or a list of Pillow's pictures
            and of paths of picture files.
        what
            What they are, for messages.

        Raises
        ------
        DataError
            As `InputSpec.check`; or numbers are no pixels, or it is not said what floats are: the message shows the
            line to write.
        """
        array = checked_shape(self._read_all(given, what), self.shape, self.dtype, what)
        if array.dtype == np.uint8:
            return np.ascontiguousarray(array)
        if array.dtype.kind in "iu":
            low, high = array.min(), array.max()
            if low < 0 or high > 255:
                raise DataError(
                    f"{what}: integers of {low} to {high} given; integers are pixels, 0 to 255: bring them to 8 bits "
                    "first, such as by (x // 257).astype('uint8') where white is 65535"
                )
            return np.ascontiguousarray(array, np.uint8)
        floats = converted(array, self.dtype, what)
        low, high = float(floats.min()), float(floats.max())
        if self.values == "normalised":
            return floats
        if self.values is None and not (low >= 0 and BRIGHT < high <= 255):
            raise DataError(f"{what}: {self._unclear(low, high)}")
        white = 1 if self.values == "unit" else 255
        if low < -1e-4 * white or high > (1 + 1e-4) * white:
            raise DataError(
                f"{what}: floats of {low:.4g} to {high:.4g} given; values={self.values!r} means 0 to {white}"
            )
        pixels = floats * np.float32(255 / white)
        whole = np.rint(pixels)
        return whole.clip(0, 255).astype(np.uint8) if np.abs(pixels - whole).max() < 1e-3 else self.normalise(pixels)

    def _read_all(self, given: object, what: str) -> object:
        """The pixels of Pillow's pictures and of paths; anything else as it is."""
        if isinstance(given, Picture.Image):
            given = [given]
        elif isinstance(given, np.ndarray) and given.ndim == 1 and given.dtype.kind in "OUT":
            given = given.tolist()
        if not isinstance(given, list | tuple):
            return given
        single = [isinstance(part, Picture.Image | str | os.PathLike) for part in given]
        if not any(single):
            return given
        if not all(single):
            raise DataError(
                f"{what}: the pictures are of several kinds; expected arrays, or Pillow's pictures and paths"
            )
        found = []
        for number, part in enumerate(given):
            path = "" if isinstance(part, Picture.Image) else f" ({part})"
            try:
                found.append(
                    self.fitted(part) if isinstance(part, Picture.Image) else self.read(Path(part).read_bytes())
                )
            except OSError as error:
                why = error.strerror or error
                raise DataError(f"{what}: number {number}{path} cannot be read as an image ({why})") from error
        return np.stack(found)

    def _unclear(self, low: float, high: float) -> str:
        """What to do about floats of which it is not said what they are."""
        told = f"floats of {low:.4g} to {high:.4g} given, and pixels are 0 to 255"
        if low >= 0 and high <= 1:
            return (
                f"{told}: give (255 * x).round().astype('uint8'); or say that floats are of 0 to 1: "
                f"{self._line('unit')}"
            )
        if low >= 0 and high <= 255:
            return (
                f"{told}, of which none is above {BRIGHT} here: give x.round().astype('uint8'); or say what they are: "
                f"{self._line('pixels')}, or values='normalised'"
            )
        return f"{told}: give the pixels; or say that floats are normalised already: {self._line('normalised')}"

    def _line(self, values: str) -> str:
        """The line that says what floats are."""
        told = []
        for field in fields(self)[2:-1]:
            if field.default is MISSING or getattr(self, field.name) != field.default:
                told.append(f"{field.name}={getattr(self, field.name)!r}")
        return f"inputs=extend.Image({', '.join([str(self.height), str(self.width), *told, f'values={values!r}'])})"

    def with_batch_axis(self, given: object) -> Batch:
        return with_batch_axis(given, self.shape)

    def prepare(self, batch: Batch) -> Batch:
        return self.normalise(batch) if batch.dtype == np.uint8 else batch

    def structs(self, n: int, *, stored: bool = False) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *self.shape), np.dtype(np.uint8) if stored else self.dtype)

    def as_image(self) -> Image:
        return self

    def to_dict(self) -> Json:
        told = asdict(self)
        if self.values is None:  # As before there was such a field.
            del told["values"]
        return {"image": told}

    def normalise(self, pictures: np.ndarray) -> np.ndarray:
        """8-bit pictures ``[n, height, width, channels]`` -> float32 inputs of the same shape."""
        slope = np.float32(self.scale) / np.asarray(self.std, np.float32)
        offset = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return (pictures[..., ::-1] if self.order == "bgr" else pictures).astype(np.float32) * slope - offset

    def read(self, content: bytes) -> np.ndarray:
        """Decode one image file's bytes to uint8 ``[height, width, channels]``; raises ``OSError`` if it is broken."""
        enough = 2 * max(self.height, self.width) if self.resize.lower() in SMOOTH else 0
        return self._resized(decoded(content, self.channels, enough))

    def fitted(self, picture: Picture.Image) -> np.ndarray:
        """Return one of Pillow's pictures as uint8 ``[height, width, channels]``; raises ``OSError`` as `read`."""
        return self._resized(eight_bit(picture, self.channels))

    def _resized(self, picture: Picture.Image) -> np.ndarray:
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), Picture.Resampling[self.resize.upper()])
        return np.asarray(picture, np.uint8).reshape(self.shape)
