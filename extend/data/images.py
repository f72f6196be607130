"""TODO"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")


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
