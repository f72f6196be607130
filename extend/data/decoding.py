"""What a picture file is by its first bytes, and its pixels: upright, 8 bit, RGB or grey, whatever they were stored as.

A picture is refused, with the reason, where what is black and what is white in it cannot be told. Of several frames
or pages the first one counts. Colour profiles are not applied.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Float
from PIL import Image as Picture
from PIL import UnidentifiedImageError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".jpx", ".avif", ".heic", ".heif", ".hif"),
)
"""The suffixes of pictures; a file of another one, or of none, is told by its first bytes."""
RAW = (".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".pef", ".srw", ".raf", ".cr3")
"""Of a camera's raw file only a thumbnail could be read: such files are no pictures here."""
FORMATS = "JPEG, PNG, BMP, GIF, TIFF, WEBP, PPM, JPEG2000, AVIF, HEIF"
BRIGHT = 16
"""Floats above this are pixels of 0 to 255: nothing that a network takes as normalised is as large."""
TURNS = {
    2: Picture.Transpose.FLIP_LEFT_RIGHT,
    3: Picture.Transpose.ROTATE_180,
    4: Picture.Transpose.FLIP_TOP_BOTTOM,
    5: Picture.Transpose.TRANSPOSE,
    6: Picture.Transpose.ROTATE_270,
    7: Picture.Transpose.TRANSVERSE,
    8: Picture.Transpose.ROTATE_90,
}
"""What brings a picture upright, by its EXIF orientation."""
ORIENTATION, BITS, DNG_VERSION = 0x0112, 258, 50706
"""EXIF and TIFF tags."""


def format_of(head: bytes) -> str | None:
    """Return Pillow's name for the format of a picture that begins with these bytes, 32 at least; None: no picture.

    Examples
    --------
    >>> format_of(b"GIF89a" + bytes(26)), format_of(b"plain text" + bytes(26))
    ('GIF', None)
    """
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and re.search(rb"avi[fs]", head[16:32])):
            return "AVIF"
        heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
        return "HEIF" if brand in heif else None
    known = {
        "JPEG": head.startswith(b"\xff\xd8\xff"),
        "PNG": head.startswith(b"\x89PNG\r\n\x1a\n"),
        "GIF": head.startswith((b"GIF87a", b"GIF89a")),
        "BMP": head.startswith(b"BM") and head[6:10] == bytes(4),
        "TIFF": head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")),
        "WEBP": head[:4] == b"RIFF" and head[8:12] == b"WEBP",
        "PPM": re.match(rb"P[1-6f]\s", head) is not None,
        "JPEG2000": head.startswith((b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  \r\n\x87\n")),
    }
    return next((name for name, found in known.items() if found), None)


def is_picture(name: PurePosixPath, head: bytes) -> bool:
    """Whether a file is a picture, by its suffix or by its first bytes."""
    suffix = name.suffix.lower()
    return suffix in SUFFIXES or (suffix not in RAW and format_of(head) is not None)


@contextmanager
def opened(content: bytes) -> Iterator[Picture.Image]:
    """Open a picture file's bytes; no pixel is decoded yet.

    Raises
    ------
    OSError
        It is no picture, of a format that needs an extra, damaged, or has too many pixels; in one line.
    """
    kind = format_of(content)
    if kind is None:
        raise OSError(f"it is none of {FORMATS}")
    if kind == "HEIF":
        _know_heif()
    with _one_error(), warnings.catch_warnings():
        warnings.simplefilter("ignore", Picture.DecompressionBombWarning)  # Of half as many as are refused.
        try:
            picture = Picture.open(io.BytesIO(content), formats=(kind,))
        except (UnidentifiedImageError, KeyError):
            raise OSError(f"this {kind} is damaged, or of a kind that Pillow cannot decode") from None
        with picture:
            if 0 in picture.size:
                raise OSError(f"it has {picture.width} x {picture.height} pixels")
            if DNG_VERSION in getattr(picture, "tag_v2", ()):
                raise OSError("it is a camera's raw file; save it as JPEG or PNG")
            yield picture


def size_of(content: bytes) -> tuple[int, int]:
    """Return height and width of a picture file's bytes, once it is upright, undecoded. Raises as `opened`."""
    with opened(content) as picture:
        turned = _orientation(picture) >= 5
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def decoded(content: bytes, channels: int, enough: int = 0) -> Picture.Image:
    """Return the pixels of a picture file's bytes: upright, RGB (3 channels) or grey (1), 8 bit.

    Parameters
    ----------
    content
        The bytes of the file.
    channels
        3 or 1.
    enough
        A JPEG may be decoded at a half, a quarter or an eighth of its height and width while both stay as large as
        this. That is 2 to 5 times as fast, and it shows little once the picture is resized to half of this size: on
        average less than one grey level. 0: it is decoded in full.

    Raises
    ------
    OSError
        As `opened`; or what is white in it cannot be told.
    """
    with opened(content) as picture:
        if enough:
            picture.draft(None, (enough, enough))  # None: the mode stays.
        return eight_bit(picture, channels)


def eight_bit(picture: Picture.Image, channels: int) -> Picture.Image:
    """Return a picture upright, RGB (3 channels) or grey (1), 8 bit; what is transparent becomes white.

    Raises
    ------
    OSError
        It is damaged, or what is white in it cannot be told.

    Examples
    --------
    >>> eight_bit(Picture.new("1", (2, 2), 1), 3).getpixel((0, 0))
    (255, 255, 255)
    """
    with _one_error():
        picture.load()
        bits = int(getattr(picture, "tag_v2", {}).get(BITS, (16,))[0])
        turn = TURNS.get(_orientation(picture))
        if picture.has_transparency_data and not picture.mode.startswith(("I", "F")):
            whole = picture.convert("RGBA")
            picture = Picture.alpha_composite(Picture.new("RGBA", whole.size, "white"), whole).convert("RGB")
        elif picture.mode.startswith(("I", "F")):
            values = np.asarray(picture)
            grey = _grey(values, picture, bits)
            if isinstance(clear := picture.info.get("transparency"), int):
                grey[values == clear] = 255
            picture = Picture.fromarray(grey)
        elif picture.mode == "LAB":
            from PIL import ImageCms  # Some builds of Pillow have none, and few pictures need it.

            lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
            rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
            picture = ImageCms.ImageCmsTransform(lab, rgb, "LAB", "RGB").apply(picture)
        mode = "RGB" if channels == 3 else "L"
        if picture.mode != mode:
            picture = picture.convert(mode)
        return picture if turn is None else picture.transpose(turn)


def _grey(values: Float[np.ndarray, "h w"], picture: Picture.Image, bits: int) -> np.ndarray:
    """The 8-bit grey values of numbers that are no 8 bits: 16 bits, 32-bit integers or floats."""
    low, high = values.min(), values.max()
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM")):
        white = 2**bits - 1
    elif not np.isfinite(values).all():
        raise OSError("it holds NaN or infinity")
    elif picture.mode == "F" and low >= 0 and high <= 1:
        white = 1
    elif low >= 0 and high <= 255 and (picture.mode != "F" or high > BRIGHT):
        white = 255
    else:
        kind, known = ("floats", "0 to 1, or 0 to 255") if picture.mode == "F" else ("32-bit integers", "0 to 255")
        raise OSError(
            f"it holds {kind} of {low:.5g} to {high:.5g}; expected {known}: save it as an 8- or 16-bit picture"
        )
    return np.rint(values.astype(np.float64) * (255 / white)).clip(0, 255).astype(np.uint8)


def _orientation(picture: Picture.Image) -> int:
    """The EXIF orientation, 1 to 8; pictures whose EXIF cannot be read are upright."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # Whatever a parser of damaged bytes raises: the pixels are what counts.
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _know_heif() -> None:
    if "HEIF" not in Picture.OPEN:
        try:
            import pillow_heif
        except ImportError:
            raise OSError("HEIC and HEIF pictures need pillow-heif: pip install 'class-extend[heif]'") from None
        pillow_heif.register_heif_opener()


@contextmanager
def _one_error() -> Iterator[None]:
    """Turn what Pillow's decoders raise for damaged bytes, which may be anything, into one OSError of one line."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise OSError(text) from error
