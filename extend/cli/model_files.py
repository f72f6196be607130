"""The classifier that a command works on: a checkpoint of this package, or a file of another framework."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import PIXELS
from extend.core.errors import ArgumentError

if TYPE_CHECKING:
    from extend.classifier import Classifier


def open_classifier(options: argparse.Namespace, *, images: bool) -> Classifier:
    """Open ``options.checkpoint``, reading the options of `add_model_file`; `images`: whether it is to read images."""
    from extend.formats import is_model
    from extend.operations import load

    path: Path = options.checkpoint
    if not path.exists():
        raise ArgumentError(f"{path}: no such file or folder")
    if not is_model(path):
        return load(path)
    names = options.classes.split(",") if options.classes else None
    clf = load(path, classes=names, pixels=options.pixels, size=options.size, trust=options.trust)
    if images and clf.backbone.needs_pixels:
        raise ArgumentError(
            f"{path} takes pictures, and does not say how their pixels are scaled: pass --pixels {'|'.join(PIXELS)}"
        )
    return clf


def holds_images(data: str) -> bool:
    """Whether the samples at this path are images: everything but an ``.npz`` file of arrays."""
    return not data.endswith(".npz")
