"""Lines of text, drawn, turned, and brought to the input of the text direction classifier of PP-OCR."""

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SEEN = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
UNSEEN = ("", "DejaVuSerif-Bold", "DejaVuSansMono-Oblique", "STIXGeneralBol", "cmr10")
"""The empty name is Pillow's own font."""
WORDS = [
    "the", "of", "and", "Invoice", "Total", "Date", "Payment", "Amount", "number", "Street", "city", "Name",
    "Phone", "order", "delivery", "2024", "18.50", "tax", "net", "March", "please", "return", "within", "days",
    "Account", "balance", "report", "system", "value", "page", "Figure", "Table", "January", "monthly", "price",
    "item", "quantity", "customer", "address", "shipping", "thank", "you", "ref", "No.", "EUR", "USD", "code",
    "signed", "approval", "office",
]  # fmt: skip


def model_file() -> Path:
    """The classifier (0 or 180 degrees) in the package rapidocr_onnxruntime, which is not imported."""
    name = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
    return Path(str(next(file.locate() for file in files("rapidocr_onnxruntime") or () if file.name == name)))


def turned_lines(seed: int, fonts: tuple[str, ...], words: list[str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` lines of one to four words, each at 0, 180, 90 and 270 degrees.

    Returns float32 ``[4 count, 3, 48, 192]`` and labels 0 to 3. The pictures are stretched to the input's size and
    normalised as the model's authors do: blue first, -1 to 1.
    """
    rng = np.random.default_rng(seed)
    pictures, labels = [], []
    for number in range(count):
        text = " ".join(rng.choice(words, int(rng.integers(1, 5))))
        picture = _line(text, fonts[number % len(fonts)], rng)
        for label, angle in enumerate((0, 180, 90, 270)):
            turned = picture.rotate(angle, expand=True).resize((192, 48), Image.Resampling.BILINEAR)
            pictures.append((np.asarray(turned, np.float32)[:, :, ::-1] / 255 - 0.5) / 0.5)
            labels.append(label)
    return np.stack(pictures).transpose(0, 3, 1, 2).copy(), np.array(labels)


def _line(text: str, name: str, rng: np.random.Generator) -> Image.Image:
    size = int(rng.integers(24, 40))
    font = ImageFont.truetype(str(FONTS / f"{name}.ttf"), size) if name else ImageFont.load_default(size=size)
    left, top, right, bottom = font.getbbox(text)
    margin, paper, ink = (int(rng.integers(*ends)) for ends in ((2, 8), (170, 256), (0, 90)))
    size_ = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
    picture = Image.new("RGB", size_, (paper,) * 3)
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, font=font, fill=(ink,) * 3)
    return picture
