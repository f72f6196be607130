"""CIFAR-10 and other data sets, from the folder that EXTEND_DATA names (the digits are in `extend.cli.digits`)."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from extend import data

CIFAR10 = data.Image(32, 32, 3, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR8_NAMES = tuple(name for name in CIFAR10_NAMES if name not in ("cat", "dog"))
OMNIGLOT = data.Image(28, 28, 1, scale=-1 / 255, mean=(-1.0,))
"""Ink is 1 on a background of 0; the drawings are black on white."""
OMNIGLOT_TRAIN = 15


def cifar10(part: str, classes: tuple[str, ...] = CIFAR10_NAMES) -> data.Samples:
    """CIFAR-10's ``"train"`` (5,000 a class) or ``"test"`` (1,000 a class) images of these classes."""
    return data.read_images(folder("cifar10"), CIFAR10, within=part, classes=classes)


def omniglot() -> tuple[data.Samples, data.Samples]:
    """Omniglot's small set 1 (5 alphabets, 136 characters): drawers 1 to 15 to train on, drawers 16 to 20 to test on.

    A class is called ``"<alphabet>/<character>"``, such as ``"Greek/character01"``; the names are sorted.
    """
    pictures, names, drawers, keys = [], [], [], []
    with zipfile.ZipFile(_file("omniglot", "images_background_small1.zip")) as archive:
        for path in sorted(PurePosixPath(name) for name in archive.namelist() if name.endswith(".png")):
            content = archive.read(str(path))
            pictures.append(OMNIGLOT.read(content))
            names.append(f"{path.parts[-3]}/{path.parts[-2]}")
            drawers.append(int(path.stem.partition("_")[2]))
            keys.append(data.content_key(content))
    classes, labels = np.unique(names, return_inverse=True)
    samples = data.Samples(np.stack(pictures), labels, tuple(classes.tolist()), np.asarray(keys, np.uint64))
    first = np.asarray(drawers) <= OMNIGLOT_TRAIN
    return samples.take(first), samples.take(~first)


def clinc150(part: str) -> tuple[list[str], list[str]]:
    """CLINC150's ``"train"`` (100 an intent) or ``"test"`` (30 an intent) sentences, and their intents."""
    pairs = json.loads(_file("clinc150", "data_full.json").read_text(encoding="utf-8"))[part]
    return [text for text, _ in pairs], [intent for _, intent in pairs]


def folder(name: str) -> Path:
    """The folder or archive of a data set under EXTEND_DATA.

    Raises:
        SystemExit: the variable is not set or the data are not there; the message says what is missing.
    """
    root = os.environ.get("EXTEND_DATA")
    if not root:
        raise SystemExit("EXTEND_DATA is not set; it names the folder of the data sets (see docs/performance.md)")
    path = Path(root) / name
    archives = sorted(path.glob("*.tar.xz")) if path.is_dir() else []
    if not path.is_dir():
        raise SystemExit(f"{path} is missing; see docs/performance.md, for where the data come from")
    return archives[0] if archives else path


def _file(name: str, file: str) -> Path:
    path = folder(name) / file
    if not path.is_file():
        raise SystemExit(f"{path} is missing; see docs/performance.md, for where the data come from")
    return path
