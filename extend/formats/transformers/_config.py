"""The JSON files of a Hugging Face folder, checked before anything is built from them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image as Picture

from extend.core.errors import FormatError
from extend.data import Image
from extend.formats.base import read_bytes

PICTURES, TEXTS, SOUNDS = "ForImageClassification", "ForSequenceClassification", "ForAudioClassification"
KINDS = (PICTURES, TEXTS, SOUNDS)
DANGEROUS = ("quantization_config", "use_pretrained_backbone", "use_timm_backbone")
IGNORED = ("attn_implementation", "_attn_implementation", "experts_implementation", "torch_dtype", "dtype")
"""May name code to be fetched, or a dtype; the model runs as the library does by default, in float32."""
LARGEST, MOST_CLASSES, MOST_PIXELS = 4_000_000, 1_000_000, 4096
"""No number of a classifier's configuration is larger; the library makes lists as long as some of them say."""


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file of at most 8 MiB.

    Raises
    ------
    FormatError
        If the file is missing, too large, not JSON, or not an object.
    """
    content = read_bytes(file, most=8 << 20)
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{file}: not JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise FormatError(f"{file}: expected an object, found {type(parsed).__name__}")
    return parsed


def check(file: Path, config: Mapping[str, Any], trust: bool) -> str:
    """Return what a config.json describes: `PICTURES`, `TEXTS` (speech models among them) or `SOUNDS`.

    Raises
    ------
    FormatError
        If the model is of another kind or a regression, asks for code or downloads, or has numbers without measure.
    """
    kinds = config.get("architectures")
    name = kinds[0] if isinstance(kinds, list) and len(kinds) == 1 else None
    kind = next((kind for kind in KINDS if isinstance(name, str) and name.endswith(kind)), None)
    if kind is None:
        raise FormatError(f"{file}: architectures is {str(kinds)[:200]}; expected one that ends in {', '.join(KINDS)}")
    for key, value in _walk(config):
        if key == "auto_map" and value and not trust:
            raise FormatError(f"{file}: the model is defined by code in the folder; trust=True runs it")
        if key in DANGEROUS and value:
            raise FormatError(f"{file}: {key} is set, which is not supported; save the model without it")
        if isinstance(value, int) and abs(value) > (MOST_CLASSES if key == "num_labels" else LARGEST):
            raise FormatError(f"{file}: {key} is {value}, more than any such model has")
    named = config.get("id2label")
    count = len(named) if isinstance(named, dict) else config.get("num_labels", 2)
    if config.get("problem_type") == "regression" or count == 1:
        raise FormatError(f"{file}: a model of one number (regression), not of classes")
    return kind


def without(value: Any, keys: Sequence[str]) -> Any:
    """Return a JSON value without these keys, at any depth."""
    if isinstance(value, dict):
        return {name: without(inner, keys) for name, inner in value.items() if name not in keys}
    return [without(inner, keys) for inner in value] if isinstance(value, list) else value


def image_of(file: Path, channels: int) -> tuple[Image, str]:
    """Return how a preprocessor_config.json makes an input of a picture, and in words what is done otherwise here.

    Raises
    ------
    FormatError
        If sizes, means or a filter are not understood.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "preprocessor_config.json")
    >>> _ = file.write_text('{"size": {"height": 32, "width": 24}, "image_mean": [0.5], "resample": 3}')
    >>> image_of(file, 3)[0].shape, image_of(file, 3)[0].resize
    ((32, 24, 3), 'bicubic')
    """
    values = read_json(file)
    try:
        height, width, cropped = _size(values)
        mean, std = (values.get(f"image_{name}") for name in ("mean", "std"))
        normal = values.get("do_normalize", mean is not None)
        scale = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
        image = Image(
            height,
            width,
            channels,
            float(scale),
            tuple(map(float, mean)) if normal and mean is not None else (0.0,),
            tuple(map(float, std)) if normal and std is not None else (1.0,),
            Picture.Resampling(values.get("resample", 2)).name.lower(),
        )
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise FormatError(f"{file}: not a preprocessor that is understood ({error})") from error
    lengths = {len(image.mean), len(image.std)} <= {1, channels}
    finite = all(map(math.isfinite, (image.scale, *image.mean, *image.std)))
    small = 0 < height <= MOST_PIXELS and 0 < width <= MOST_PIXELS
    if not lengths or not finite or not small or channels not in (1, 3) or 0.0 in image.std:
        raise FormatError(f"{file}: {image} is not how a picture of 1 or 3 channels can be prepared")
    if image.resize == "hamming":
        raise FormatError(f"{file}: resample 5 (hamming) is not supported")
    return image, "pictures are resized to the input's size as a whole, not cropped" if cropped else ""


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, of dicts inside dicts and lists."""
    waiting = [("", value)]
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting.extend(value.items())
        elif isinstance(value, list):
            waiting.extend((key, inner) for inner in value)


def _size(values: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Height and width of an input, and whether the preprocessor crops to it."""
    size, crop = values.get("size", 224), values.get("crop_size")
    if cropped := bool(values.get("do_center_crop") and crop is not None):
        size = crop
    if isinstance(size, dict):
        cropped = cropped or "height" not in size
        pair = (size["height"], size["width"]) if "height" in size else (size["shortest_edge"],) * 2
        return int(pair[0]), int(pair[1]), cropped
    return int(size), int(size), cropped
