"""CIFAR-10 and other data sets, from the folder that EXTEND_DATA names (the digits are in `extend.demo`)."""

from __future__ import annotations

import os
from pathlib import Path

from extend import data

CIFAR10 = data.Image(32, 32, 3, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR8_NAMES = tuple(name for name in CIFAR10_NAMES if name not in ("cat", "dog"))


def cifar10(part: str, classes: tuple[str, ...] = CIFAR10_NAMES) -> data.Samples:
    """CIFAR-10's ``"train"`` (5,000 a class) or ``"test"`` (1,000 a class) images of these classes."""
    return data.read_images(folder("cifar10"), CIFAR10, within=part, classes=classes)


def folder(name: str) -> Path:
    """The folder or archive of a data set under EXTEND_DATA.

    Raises:
        SystemExit: the variable is not set or the data are not there; the message says what is missing.
    """
    root = os.environ.get("EXTEND_DATA")
    if not root:
        raise SystemExit("EXTEND_DATA is not set; it names the folder of the data sets (see README, Benchmarks)")
    path = Path(root) / name
    archives = sorted(path.glob("*.tar.xz")) if path.is_dir() else []
    if not path.is_dir():
        raise SystemExit(f"{path} is missing; see README, Benchmarks, for where the data come from")
    return archives[0] if archives else path
