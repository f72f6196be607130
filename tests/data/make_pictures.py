"""Kinds of pictures and folders, each made by Pillow or by hand, with what must come of it; writes ``pictures.md``.

``python -m tests.data.make_pictures`` reads every kind and records what happened. `tests/data/test_pictures.py`
compares the same kinds with the values given here, which are computed in NumPy from the numbers that were stored.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image as Picture

from extend.core.errors import DataError
from extend.data import Image, read

HEIGHT, WIDTH = 16, 24
SPEC = Image(HEIGHT, WIDTH)
Y, X = np.mgrid[:HEIGHT, :WIDTH]
COLOUR = np.stack([10 * X, 255 - 14 * Y, 5 * X + 5 * Y], axis=-1).astype(np.uint8)
GREY = (9 * X + 2 * Y).astype(np.uint8)
ALPHA = (8 * X + 4 * Y).astype(np.uint8)
FEW = np.asarray([(0, 0, 0), (250, 30, 60), (20, 200, 90), (255, 255, 255)], np.uint8)
CHOICE = (X // 6 % 4).astype(np.uint8)
ROUNDING = 1.001
"""Of a value computed in floating point and one that Pillow computed in integers."""


@dataclass(frozen=True)
class Kind:
    """A picture file, and its pixels ``[height, width, 3]`` (within `within`), or what is said when it is refused."""

    name: str
    make: Callable[[], bytes]
    expected: Any
    within: float = 0
    needs: str = ""


def saved(picture: Any, kind: str, **how: Any) -> bytes:
    made = picture.copy() if isinstance(picture, Picture.Image) else Picture.fromarray(picture)
    buffer = io.BytesIO()
    made.save(buffer, kind, **how)
    return buffer.getvalue()


def red() -> Picture.Image:
    return Picture.new("RGB", (WIDTH, HEIGHT), "red")


def oriented(orientation: int) -> Any:
    exif = Picture.Exif()
    exif[0x0112] = orientation
    return exif


STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture under each orientation: 6 is shown turned by 90 degrees clockwise."""


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(grey, np.float64)[..., None], 3, axis=-1)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255.0
    return pixels * share + 255.0 * (1 - share)


def png(header: tuple[int, int, int, int], rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file by hand: width, height, bit depth, colour type, and the filtered rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    first = chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    others = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + first + others + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_rows(array: np.ndarray) -> bytes:
    return b"".join(b"\x00" + row.tobytes() for row in array)


def tiff(
    rows: bytes, bits: int, sample_format: int = 1, photometric: int = 1, *more: tuple[int, int, int, int]
) -> bytes:
    """A little-endian TIFF file of one strip by hand; `more` are tags with type, count and value."""
    tags = [(256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric)]
    tags += [(277, 3, 1, 1), (278, 3, 1, HEIGHT), (279, 4, 1, len(rows)), (339, 3, 1, sample_format), *more]
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted([*tags, (273, 4, 1, start)]))
    return b"II*\x00" + struct.pack("<IH", 8, len(tags) + 1) + entries + bytes(4) + rows


def twelve_bits(values: np.ndarray) -> bytes:
    pairs = values.reshape(-1, 2).astype(np.uint16)
    one, two = pairs.T
    return np.stack([one >> 4, (one & 15) << 4 | two >> 8, two & 255], axis=1).astype(np.uint8).tobytes()


def palette_picture(**info: Any) -> Picture.Image:
    made = Picture.fromarray(CHOICE, "P")
    made.putpalette(FEW.tobytes())
    made.info.update(info)
    return made


def lab() -> tuple[Picture.Image, np.ndarray]:
    """A picture in CIELAB and, by the formulae of CIE and IEC 61966-2-1, its colours in sRGB."""
    light, a, b = 80 + 6 * X, 120 + X, 136 - X
    stored = np.stack([light, a ^ 128, b ^ 128], axis=-1).astype(np.uint8)  # Signed, as in the file.
    fy = (light / 255 * 100 + 16) / 116
    f = np.stack([fy + (a - 128) / 500, fy, fy - (b - 128) / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.9642, 1, 0.8249)  # D50
    to_srgb = np.asarray(  # Bradford from D50 to D65, and to linear sRGB.
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = (xyz @ to_srgb.T).clip(0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return Picture.frombytes("LAB", (WIDTH, HEIGHT), stored.tobytes()), 255 * srgb


def ycbcr() -> tuple[Picture.Image, np.ndarray]:
    light, cb, cr = (60.0 + 6 * X, 100.0 + 2 * Y, 150.0 - 2 * Y)
    stored = np.stack([light, cb, cr], axis=-1).astype(np.uint8)
    blue, red = cb - 128, cr - 128
    made = np.stack([light + 1.402 * red, light - 0.344136 * blue - 0.714136 * red, light + 1.772 * blue], axis=-1)
    return Picture.frombytes("YCbCr", (WIDTH, HEIGHT), stored.tobytes()), made.clip(0, 255)


INKS = np.stack([4 * X, 3 * Y, 2 * X + Y, X + Y], axis=-1).astype(np.uint8)
PRINTED = (255.0 - INKS[..., :3]) * (255.0 - INKS[..., 3:]) / 255
SIXTEEN = (GREY.astype(np.uint16) * 257).astype(np.uint16)
JPEG = {"quality": 97, "subsampling": 0}
LOSSY = 8
"""A grey level of a lossy file may differ by so much."""


def cut(content: bytes, share: float = 0.5) -> bytes:
    return content[: int(len(content) * share)]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small JPEG file whose header tells another size."""
    content = bytearray(saved(COLOUR, "JPEG"))
    at = content.find(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def heic(pixels: np.ndarray = COLOUR, **how: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return saved(pixels, "HEIF", quality=95, **how)


def pictures() -> list[Kind]:
    """Every kind of picture file."""
    (lab_picture, lab_colours), (ycbcr_picture, ycbcr_colours) = lab(), ycbcr()
    flat = COLOUR.copy()
    flat[4:8] = (10, 20, 30)
    turned = [
        Kind(
            f"JPEG, EXIF orientation {o}",
            lambda o=o: saved(STORED[o](COLOUR), "JPEG", **JPEG, exif=oriented(o)),
            COLOUR,
            LOSSY,
        )
        for o in range(1, 9)
    ]
    rotated = STORED[6](COLOUR)
    white_key = flat.astype(float)
    white_key[4:8] = 255
    return [
        *turned,
        Kind("PNG, EXIF orientation 6", lambda: saved(rotated, "PNG", exif=oriented(6)), COLOUR),
        Kind("WebP, EXIF orientation 6", lambda: saved(rotated, "WEBP", lossless=True, exif=oriented(6)), COLOUR),
        Kind("TIFF, orientation 6", lambda: saved(rotated, "TIFF", tiffinfo={0x0112: 6}), COLOUR),
        Kind("AVIF, orientation 6", lambda: saved(rotated, "AVIF", quality=95, exif=oriented(6)), COLOUR, 12),
        Kind(
            "JPEG, EXIF that is damaged",
            lambda: saved(COLOUR, "JPEG", **JPEG, exif=b"Exif\0\0MM\0*\xff\xff"),
            COLOUR,
            LOSSY,
        ),
        Kind("JPEG, progressive", lambda: saved(COLOUR, "JPEG", **JPEG, progressive=True), COLOUR, LOSSY),
        Kind("JPEG, grey", lambda: saved(GREY, "JPEG", quality=97), three(GREY), LOSSY),
        Kind(
            "JPEG, CMYK as Adobe writes it, inverted",
            lambda: saved(Picture.frombytes("CMYK", (WIDTH, HEIGHT), INKS.tobytes()), "JPEG", **JPEG),
            PRINTED,
            LOSSY,
        ),
        Kind(
            "JPEG, several pictures in one (MPO)",
            lambda: saved(COLOUR, "MPO", save_all=True, append_images=[red()], **JPEG),
            COLOUR,
            LOSSY,
        ),
        Kind("PNG, RGB", lambda: saved(COLOUR, "PNG"), COLOUR),
        Kind("PNG, grey", lambda: saved(GREY, "PNG"), three(GREY)),
        Kind("PNG, 1 bit", lambda: saved(Picture.fromarray(GREY > 99), "PNG"), three(255 * (GREY > 99))),
        Kind(
            "PNG, grey of 4 bits",
            lambda: png((WIDTH, HEIGHT, 4, 0), png_rows((GREY[:, ::2] >> 4 << 4) | (GREY[:, 1::2] >> 4))),
            three((GREY >> 4) * 17),
        ),
        Kind("PNG, grey of 16 bits", lambda: saved(SIXTEEN + 99, "PNG"), three((SIXTEEN + 99.0) / 257), ROUNDING),
        Kind(
            "PNG, RGB of 16 bits",
            lambda: png((WIDTH, HEIGHT, 16, 2), png_rows((COLOUR * 257.0).astype(">u2"))),
            COLOUR,
            ROUNDING,
        ),
        Kind(
            "PNG, RGBA of 16 bits",
            lambda: png(
                (WIDTH, HEIGHT, 16, 6), png_rows((np.concatenate([COLOUR, ALPHA[..., None]], 2) * 257.0).astype(">u2"))
            ),
            on_white(COLOUR, ALPHA),
            2,
        ),
        Kind(
            "PNG, grey of 16 bits with a transparent value",
            lambda: png(
                (WIDTH, HEIGHT, 16, 0), png_rows(SIXTEEN.astype(">u2")), (b"tRNS", struct.pack(">H", SIXTEEN[3, 4]))
            ),
            three(np.where(GREY == GREY[3, 4], 255, GREY)),
            ROUNDING,
        ),
        Kind("PNG, palette", lambda: saved(palette_picture(), "PNG"), FEW[CHOICE]),
        Kind(
            "PNG, palette with transparency",
            lambda: saved(palette_picture(), "PNG", transparency=b"\xff\x80\x00\xff"),
            on_white(FEW[CHOICE], np.asarray([255, 128, 0, 255])[CHOICE]),
            ROUNDING,
        ),
        Kind(
            "PNG, RGBA: on white", lambda: saved(np.dstack([COLOUR, ALPHA]), "PNG"), on_white(COLOUR, ALPHA), ROUNDING
        ),
        Kind(
            "PNG, grey and alpha: on white",
            lambda: saved(Picture.merge("LA", [Picture.fromarray(GREY), Picture.fromarray(ALPHA)]), "PNG"),
            on_white(three(GREY), ALPHA),
            ROUNDING,
        ),
        Kind(
            "PNG, RGB with a transparent colour: white",
            lambda: saved(flat, "PNG", transparency=(10, 20, 30)),
            white_key,
        ),
        Kind(
            "PNG, animated: its first frame", lambda: saved(COLOUR, "PNG", save_all=True, append_images=[red()]), COLOUR
        ),
        Kind("GIF", lambda: saved(palette_picture(), "GIF"), FEW[CHOICE]),
        Kind(
            "GIF, transparent: on white",
            lambda: saved(palette_picture(), "GIF", transparency=2),
            np.where(CHOICE[..., None] == 2, 255, FEW[CHOICE]),
        ),
        Kind(
            "GIF, animated: its first frame",
            lambda: saved(palette_picture(), "GIF", save_all=True, append_images=[red()]),
            FEW[CHOICE],
        ),
        Kind("WebP, lossless", lambda: saved(COLOUR, "WEBP", lossless=True), COLOUR),
        Kind("WebP, lossy", lambda: saved(three(GREY).astype(np.uint8), "WEBP", quality=98), three(GREY), 12),
        Kind(
            "WebP, alpha: on white",
            lambda: saved(np.dstack([COLOUR, ALPHA]), "WEBP", lossless=True, exact=True),
            on_white(COLOUR, ALPHA),
            ROUNDING,
        ),
        Kind(
            "WebP, animated: its first frame",
            lambda: saved(COLOUR, "WEBP", lossless=True, save_all=True, append_images=[red()]),
            COLOUR,
        ),
        Kind("BMP, RGB", lambda: saved(COLOUR, "BMP"), COLOUR),
        Kind("BMP, palette", lambda: saved(palette_picture(), "BMP"), FEW[CHOICE]),
        Kind("BMP, 1 bit", lambda: saved(Picture.fromarray(GREY > 99), "BMP"), three(255 * (GREY > 99))),
        Kind("TIFF, RGB", lambda: saved(COLOUR, "TIFF"), COLOUR),
        Kind("TIFF, LZW", lambda: saved(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
        Kind(
            "TIFF, deflate, 1 bit",
            lambda: saved(Picture.fromarray(GREY > 99), "TIFF", compression="tiff_adobe_deflate"),
            three(255 * (GREY > 99)),
        ),
        Kind("TIFF, white is 0", lambda: tiff((255 - GREY).tobytes(), 8, photometric=0), three(GREY)),
        Kind(
            "TIFF, several pages: the first",
            lambda: saved(COLOUR, "TIFF", save_all=True, append_images=[red()]),
            COLOUR,
        ),
        Kind("TIFF, large offsets (BigTIFF)", lambda: saved(COLOUR, "TIFF", big_tiff=True), COLOUR),
        Kind("TIFF, 16 bits", lambda: saved(SIXTEEN, "TIFF"), three(GREY)),
        Kind(
            "TIFF, 16 bits, big-endian",
            lambda: saved(Picture.frombytes("I;16B", (WIDTH, HEIGHT), SIXTEEN.astype(">u2").tobytes()), "TIFF"),
            three(GREY),
        ),
        Kind("TIFF, 12 bits", lambda: tiff(twelve_bits(GREY * 16.0), 12), three(GREY * 16.0 / 4095 * 255), ROUNDING),
        Kind(
            "TIFF, signed 16 bits of -9 to 291",
            lambda: tiff((GREY * 1.2 - 9).astype("<i2").tobytes(), 16, 2),
            "32-bit integers of -9 to",
        ),
        Kind("TIFF, 32-bit integers of 0 to 255", lambda: saved(GREY.astype(np.int32), "TIFF"), three(GREY)),
        Kind(
            "TIFF, 32-bit integers above 255",
            lambda: saved(GREY.astype(np.int32) * 300, "TIFF"),
            "it holds 32-bit integers of 0 to",
        ),
        Kind("TIFF, floats of 0 to 1", lambda: saved((GREY / 255).astype(np.float32), "TIFF"), three(GREY), ROUNDING),
        Kind("TIFF, floats of 0 to 255", lambda: saved(GREY.astype(np.float32), "TIFF"), three(GREY)),
        Kind(
            "TIFF, floats of 0 to 5000", lambda: saved(GREY.astype(np.float32) * 20, "TIFF"), "it holds floats of 0 to"
        ),
        Kind("TIFF, floats below 0", lambda: saved(GREY.astype(np.float32) - 3, "TIFF"), "it holds floats of -3 to"),
        Kind(
            "TIFF, NaN", lambda: saved(np.where(GREY > 9, GREY, np.nan).astype(np.float32), "TIFF"), "NaN or infinity"
        ),
        Kind(
            "TIFF, CMYK",
            lambda: saved(Picture.frombytes("CMYK", (WIDTH, HEIGHT), INKS.tobytes()), "TIFF"),
            PRINTED,
            ROUNDING,
        ),
        Kind("TIFF, YCbCr", lambda: saved(ycbcr_picture, "TIFF"), ycbcr_colours, 2),
        Kind("TIFF, LAB", lambda: saved(lab_picture, "TIFF"), lab_colours, 2),
        Kind(
            "TIFF, a camera's raw file (DNG)",
            lambda: tiff(GREY.tobytes(), 8, 1, 1, (50706, 1, 4, 0x00000401)),
            "it is a camera's raw file",
        ),
        Kind("PPM", lambda: saved(COLOUR, "PPM"), COLOUR),
        Kind("PGM", lambda: saved(GREY, "PPM"), three(GREY)),
        Kind(
            "PGM, 16 bits", lambda: b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + SIXTEEN.astype(">u2").tobytes(), three(GREY)
        ),
        Kind(
            "PGM, 10 bits",
            lambda: b"P5\n%d %d\n1023\n" % (WIDTH, HEIGHT) + (GREY * 4).astype(">u2").tobytes(),
            three(((GREY.astype(int) * 4) % 256) / 1023 * 255),
            ROUNDING,
        ),
        Kind("PBM", lambda: saved(Picture.fromarray(GREY > 99), "PPM"), three(255 * (GREY > 99))),
        Kind(
            "PPM, as text",
            lambda: b"P3 %d %d 255\n" % (WIDTH, HEIGHT) + " ".join(map(str, COLOUR.flatten())).encode(),
            COLOUR,
        ),
        Kind("PFM, floats of 0 to 1", lambda: saved((GREY / 255).astype(np.float32), "PPM"), three(GREY), ROUNDING),
        Kind("JPEG 2000", lambda: saved(COLOUR, "JPEG2000", irreversible=False), COLOUR),
        Kind("JPEG 2000, 16 bits", lambda: saved(SIXTEEN, "JPEG2000", irreversible=False), three(GREY)),
        Kind("JPEG 2000, bare codestream", lambda: saved(COLOUR, "JPEG2000", no_jp2=True), COLOUR),
        Kind("AVIF", lambda: saved(COLOUR, "AVIF", quality=95), COLOUR, 12),
        Kind("HEIC", heic, COLOUR, 14, needs="pillow_heif"),
        Kind(
            "HEIC, orientation 6",
            lambda: heic(STORED[6](COLOUR), exif=oriented(6).tobytes()),
            COLOUR,
            14,
            needs="pillow_heif",
        ),
        Kind("empty", lambda: b"", "it is none of JPEG, PNG"),
        Kind(
            "text", lambda: b"BMW and others: a list of cars, of which no picture is there", "it is none of JPEG, PNG"
        ),
        Kind(
            "SVG", lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>' * 2, "it is none of JPEG"
        ),
        Kind("TGA", lambda: saved(COLOUR, "TGA"), "it is none of JPEG, PNG"),
        Kind("JPEG, cut off", lambda: cut(saved(COLOUR, "JPEG", **JPEG), 0.9), "truncated"),
        Kind("JPEG, cut off within its header", lambda: cut(saved(COLOUR, "JPEG"), 0.1), ""),
        Kind("PNG, cut off", lambda: cut(saved(COLOUR, "PNG", compress_level=0)), ""),
        Kind("PNG, a damaged header", lambda: saved(COLOUR, "PNG")[:18] + b"\x01" + saved(COLOUR, "PNG")[19:], ""),
        Kind("GIF, cut off", lambda: cut(saved(palette_picture(), "GIF"), 0.9), ""),
        Kind("WebP, cut off", lambda: cut(saved(COLOUR, "WEBP")), ""),
        Kind("TIFF, cut off", lambda: tiff(GREY.tobytes(), 8)[:-99], ""),
        Kind("BMP, cut off", lambda: cut(saved(COLOUR, "BMP")), "truncated"),
        Kind("PPM, cut off", lambda: cut(saved(COLOUR, "PPM")), ""),
        Kind("AVIF, cut off", lambda: cut(saved(COLOUR, "AVIF")), ""),
        Kind("JPEG 2000, cut off", lambda: cut(saved(COLOUR, "JPEG2000"), 0.2), ""),
        Kind("PNG of 30,000 x 30,000 pixels", lambda: png((30_000, 30_000, 1, 0), b""), "900000000 pixels"),
        Kind("JPEG of 60,000 x 60,000 pixels", lambda: jpeg_of_size(60_000, 60_000), "3600000000 pixels"),
        Kind(
            "BMP without pixels",
            lambda: b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
            "",
        ),
        Kind("GIF without pixels", lambda: b"GIF89a" + bytes(7) + b";", ""),
    ]


SMALL = saved(COLOUR, "PNG")
OTHER = saved(COLOUR[::-1], "PNG")


@dataclass(frozen=True)
class Tree:
    """A folder of files, and how many pictures of each class it holds, or what is said when it is refused."""

    name: str
    files: dict[str, bytes]
    expected: dict[str, int] | str
    notes: str = ""


def folders() -> list[Tree]:
    """Every kind of folder."""
    one = {"cat/1.png": SMALL, "dog/1.png": OTHER}
    jpeg = saved(COLOUR, "JPEG")
    return [
        Tree("one folder for each class", one, {"cat": 1, "dog": 1}),
        Tree("suffixes in capital letters", {"cat/1.PNG": SMALL, "dog/1.JPG": jpeg}, {"cat": 1, "dog": 1}),
        Tree(
            ".jpe, .jfif, .pnm", {"a/1.jpe": jpeg, "a/2.jfif": jpeg, "b/3.pnm": saved(COLOUR, "PPM")}, {"a": 2, "b": 1}
        ),
        Tree("no suffix", {"cat/1": SMALL, "dog/IMG_0001": jpeg}, {"cat": 1, "dog": 1}),
        Tree("a wrong suffix: told by content", {"cat/1.jpg": SMALL, "dog/1.dat": jpeg}, {"cat": 1, "dog": 1}),
        Tree("sub-folders of a class", {**one, "cat/close/2.png": OTHER}, {"cat": 2, "dog": 1}, "in sub-folders"),
        Tree("hidden files", {**one, "cat/._1.png": b"", ".DS_Store": b"", "Thumbs.db": b""}, {"cat": 1, "dog": 1}),
        Tree("texts beside pictures", {**one, "cat/a.txt": b"BMW, a list of cars"}, {"cat": 1, "dog": 1}, "1 .txt"),
        Tree("a camera's raw files", {**one, "cat/1.nef": b"MM\0*" + bytes(60)}, {"cat": 1, "dog": 1}, "1 .nef"),
        Tree("films", {**one, "cat/1.mov": b"\0\0\0\x14ftypqt  " + bytes(60)}, {"cat": 1, "dog": 1}, "1 .mov"),
        Tree("TGA files", {**one, "cat/1.tga": saved(COLOUR, "TGA")}, {"cat": 1, "dog": 1}, "1 .tga"),
        Tree("names that are not Latin", {"кошка/1.png": SMALL, "犬/1.png": OTHER}, {"кошка": 1, "犬": 1}),
        Tree("a class without pictures", {**one, "newt/a.txt": b"none"}, "class folder 'newt' holds no picture"),
        Tree("pictures that lie flat", {"1.png": SMALL}, "1 picture lies in it directly"),
        Tree("pictures beside the classes", {**one, "1.png": SMALL}, "1 picture lies beside the class folders"),
        Tree("nothing but texts", {"cat/a.txt": b"none"}, "no images found"),
        Tree("a broken picture", {**one, "cat/2.png": cut(SMALL)}, "cat/2.png cannot be read as an image"),
        Tree("an empty file", {**one, "cat/2.png": b""}, "cat/2.png cannot be read as an image"),
    ]


def outcome(kind: Kind) -> str:
    """What happens to a kind of picture, in words."""
    try:
        found = SPEC.read(kind.make())
    except OSError as error:
        return f"refused: {error}"
    except ImportError:
        return "not tried: pillow-heif is not installed"
    if isinstance(kind.expected, str):
        return "READ, but it must be refused"
    off = np.abs(found - np.asarray(kind.expected, np.float64)).max()
    if off > kind.within:
        return f"READ WRONG, by {off:.0f} grey levels"
    return "read, as stored" if off < 0.01 else f"read, within {off:.1f} of 255 grey levels"


def put(files: dict[str, bytes], folder: Path) -> Path:
    """Write files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def outcome_of_folder(tree: Tree) -> str:
    """What happens to a kind of folder, in words."""
    with tempfile.TemporaryDirectory() as place:
        folder = put(tree.files, Path(place) / "data")
        try:
            found = read(folder, SPEC)
        except DataError as error:
            return f"refused: {str(error).replace(place + '/', '').replace(place, 'PARENT')}"
        counts = ", ".join(f"{name} {count}" for name, count in zip(found.classes, found.counts, strict=True))
        return "; ".join([f"read: {counts}", *found.notes])


def page() -> str:
    """The list of all kinds with what happens to them."""
    head = "# Kinds of pictures and folders\n\nWritten by `python -m tests.data.make_pictures`; "
    versions = f"Pillow {PIL.__version__}, pixels compared with values computed in NumPy.\n"
    kinds = [(kind.name, outcome(kind)) for kind in pictures()]
    trees = [(tree.name, outcome_of_folder(tree)) for tree in folders()]
    parts = [head + versions]
    for title, rows in (("picture", kinds), ("folder", trees)):
        lines = [f"| {name} | {what.replace('|', '/')} |" for name, what in rows]
        parts.append("\n".join([f"| {title} | outcome |", "|---|---|", *lines]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("pictures.md").write_text(page(), encoding="utf-8")
