"""Small skops files, and what they hold without the archive's check sums, so that mutants come through to skops."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from extend.formats.scikit_learn import model as format


def write(folder: Path) -> list[Path]:
    """A pipeline of a linear model, a binary network, an averaged model of three classes; archives and contents."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 5)) + y[:, None]
    names = np.asarray(["ant", "bee", "cow"])[y]
    models = [
        make_pipeline(StandardScaler(), PCA(3), LogisticRegression()).fit(x, names),
        MLPClassifier((4,), max_iter=2, random_state=0).fit(x[y < 2], y[y < 2]),
        SGDClassifier(average=True, random_state=0).fit(x, y),
    ]
    paths = []
    for number, model in enumerate(models):
        path = folder / f"model-{number}.skops"
        skops.io.dump(model, path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        members = path.with_suffix(f".members-{number}")
        members.write_bytes(
            b"\0\0NEXT\0\0".join(part for item in parts.items() for part in (item[0].encode(), item[1]))
        )
        paths += [path, members]
    return paths


def open(path: Path) -> Any:
    """Open a skops file; of bare members, an archive is made first, with check sums that fit."""
    if path.suffix == ".skops":
        return format.open(path)
    parts = path.read_bytes().split(b"\0\0NEXT\0\0")
    packed = path.with_suffix(".packed.skops")
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in dict(zip(parts[::2], parts[1::2], strict=False)).items():
            archive.writestr(name.decode("latin-1") or "empty", content)
    try:
        return format.open(packed)
    finally:
        packed.unlink()
