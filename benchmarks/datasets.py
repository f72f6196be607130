"""The data sets of the benchmarks: scikit-learn's digits, and CIFAR-10 from the folder that EXTEND_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

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


def digits(split: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits as 8x8x1 pictures in [0, 1]: train inputs, test inputs, train and test labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    pictures = (inputs / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    x, x_test, y, y_test = train_test_split(pictures, labels, test_size=0.25, stratify=labels, random_state=split)
    return x, x_test, y, y_test
