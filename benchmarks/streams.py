"""The data sets of the class-incremental benchmark as frozen features, each in several class orders.

``python -m benchmarks.streams [--only NAME ...]`` computes what is missing and prints a table. Streams are kept below
``.cache/streams``; from there they are read without PyTorch and without an image. Delete a file to compute it again.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import extend
from benchmarks import datasets
from benchmarks.cats_and_dogs import FEW, efficientnet, resnet
from benchmarks.embeddings import embed
from extend import data
from extend.backbone import embed as embed_samples
from extend.backbone import extract
from extend.cli import digits as demo
from extend.data import Features
from extend.heads import LinearHead
from extend.memory import held_out_rows
from extend.models import ConvNet, ResNet
from extend.training import Phase, Recipe, train

CACHE = Path(".cache/streams")
CIFAR8 = Path("checkpoints/cifar10-8")
ORDERS = {"digits": 5, "cifar10-resnet20": 2, "cifar10-efficientnet": 5, "omniglot": 5, "clinc150": 5}
"""How many orders each data set has; ResNet-20 was trained without cat and dog, so there are only the two of these."""

OMNIGLOT_RECIPE = Recipe((Phase(30),), batch_size=32, learning_rate=0.1, padding=3)
OMNIGLOT_TAPS = (extend.Tap("stage3", 2),)
"""Network, recipe and taps were chosen by LDA's test accuracy on order 4 alone, which is therefore optimistic."""


@dataclass(frozen=True)
class Stream:
    """One data set in one class order, as frozen features.

    Args:
        base: the classes that the classifier starts with.
        increments: the classes that are added, in turn.
        train: rows to train on, of all classes, less `held`. Labels index into ``base`` and the increments, joined.
        held: rows of the base classes that the hash rule holds out; a backbone trained here never saw them.
        test: test rows of all classes.
        penultimate: the first columns are the penultimate features; the others are taps, scaled by the base data.
        head: the trained network's own head for the base classes, on the penultimate columns; None if pretrained
            on something else.
    """

    name: str
    order: int
    base: tuple[str, ...]
    increments: tuple[tuple[str, ...], ...]
    train: Features
    held: Features
    test: Features
    penultimate: int
    head: LinearHead | None


def load(name: str, order: int) -> Stream:
    """A stream from the cache; it is computed and cached first if it is not there.

    Raises:
        ValueError: there is no such data set or order.
        SystemExit: data or packages are missing; the message says which.
    """
    if name not in ORDERS or not 0 <= order < ORDERS[name]:
        known = ", ".join(f"{key} (0 to {count - 1})" for key, count in ORDERS.items())
        raise ValueError(f"no stream {name!r} in order {order}; there are {known}")
    file = CACHE / f"{name}-{order}.npz"
    if not file.exists():
        print(f"computing {file}", flush=True)
        started = time.perf_counter()
        _save(file, _compute(name, order))
        print(f"computed {file} in {time.perf_counter() - started:.0f} s", flush=True)
    return _read(file, name, order)


def base_accuracy(stream: Stream) -> float:
    """Test accuracy on the base classes: of the network's own head, or of LDA on their training rows."""
    known, test = len(stream.base), stream.test.take(stream.test.labels < len(stream.base))
    if stream.head is None:
        return lda_accuracy(stream, known)
    kernel, bias = stream.head.dense(stream.penultimate)
    scores = test.features[:, : stream.penultimate] @ kernel + bias
    return float((scores.argmax(1) == test.labels).mean())


def lda_accuracy(stream: Stream, known: int | None = None) -> float:
    """Test accuracy of scikit-learn's LDA on all training and held-out rows of the first `known` classes (all)."""
    known = len(stream.test.classes) if known is None else known
    rows = _joined(stream.train, stream.held)
    rows, test = (part.take(part.labels < known) for part in (rows, stream.test))
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(rows.features, rows.labels)
    return float(lda.score(test.features, test.labels))


def _compute(name: str, order: int) -> Stream:
    if name == "digits":
        return _digits(order)
    if name == "omniglot":
        return _omniglot(order)
    if order:  # The backbone does not depend on the order, so the features are those of order 0.
        return _reordered(load(name, 0), order)
    return _clinc150() if name == "clinc150" else _cifar10(name)


def _digits(order: int) -> Stream:
    """scikit-learn's digits, split `order`: a network trained on eight of them, then one, then one."""
    x, x_test, y, y_test = demo.digits(order)
    base, increments = _singles(_shuffled(demo.ALL, order), 8)
    names, digits = _all(base, increments), np.asarray(demo.ALL)
    train, test = (data.read((i, digits[k]), demo.SPEC, names=names) for i, k in ((x, y), (x_test, y_test)))
    model = ConvNet(8, rngs=nnx.Rngs(order))
    return _trained("digits", order, base, increments, train, test, model, demo.RECIPE, demo.SPEC, demo.TAPS)


def _cifar10(name: str) -> Stream:
    """CIFAR-10, eight classes, then cat, then dog.

    ResNet-20 was trained on the eight (four taps); EfficientNet-Lite0 on ImageNet (1,000 training images a class).
    """
    if name == "cifar10-resnet20" and not CIFAR8.is_dir():
        raise SystemExit(f"{CIFAR8} is missing; make it with: python -m benchmarks.make_checkpoints cifar8")
    parts = efficientnet() if name == "cifar10-efficientnet" else resnet(CIFAR8, FEW, 2)
    rows = _joined(parts.base, parts.held, parts.new)
    penultimate = rows.features.shape[1] if parts.head is None else parts.head.rows[1]
    return _stream(name, 0, datasets.CIFAR8_NAMES, (("cat",), ("dog",)), rows, parts.test, penultimate, parts.head)


def _clinc150() -> Stream:
    """CLINC150: sentence embeddings of 150 intents; a hundred, then one at a time."""
    parts = []
    for part in ("train", "test"):
        texts, intents = datasets.clinc150(part)
        classes, labels = np.unique(intents, return_inverse=True)
        keys = np.asarray([data.content_key(text.encode()) for text in texts], np.uint64)
        parts.append(Features(embed(texts), labels, tuple(classes.tolist()), keys))
    base, increments = _singles(parts[0].classes, 100)
    return _stream("clinc150", 0, base, increments, parts[0], parts[1], parts[0].features.shape[1], None)


def _omniglot(order: int) -> Stream:
    """Omniglot: a network trained on three alphabets; the characters of the other two, five at a time."""
    drawn, drawn_test = datasets.omniglot()
    names: dict[str, list[str]] = {}
    for name in drawn.classes:
        names.setdefault(name.partition("/")[0], []).append(name)
    alphabets = _shuffled(tuple(names), order)
    base = tuple(name for alphabet in alphabets[:3] for name in names[alphabet])
    rest = tuple(name for alphabet in alphabets[3:] for name in names[alphabet])
    increments = tuple(rest[start : start + 5] for start in range(0, len(rest), 5))
    train, test = (_relabelled(samples, _all(base, increments)) for samples in (drawn, drawn_test))
    model = ResNet(len(base), depth=8, width=32, channels=1, rngs=nnx.Rngs(order))
    return _trained(
        "omniglot", order, base, increments, train, test, model, OMNIGLOT_RECIPE, datasets.OMNIGLOT, OMNIGLOT_TAPS
    )


def _trained(
    name: str,
    order: int,
    base: tuple[str, ...],
    increments: tuple[tuple[str, ...], ...],
    rows: data.Samples,
    test: data.Samples,
    model: nnx.Module,
    recipe: Recipe,
    spec: data.InputSpec,
    taps: Sequence[str | extend.Tap],
) -> Stream:
    """Train a network on the base rows that are not held out, and take everyone's features."""
    known = rows.labels < len(base)
    kept = rows.take(known & ~held_out_rows(rows.keys, rows.labels))
    prepare = spec.normalise if isinstance(spec, data.Image) else np.asarray
    trained = train(model, kept.inputs, kept.labels, recipe, prepare=prepare, seed=order)
    backbone = extend.FlaxBackbone.from_nnx(trained, len(base), spec, taps=taps)
    backbone = backbone.with_space(backbone.space.fit(embed_samples(backbone, kept), backbone.parts))
    features, features_test = (extract(backbone, samples) for samples in (rows, test))
    return _stream(name, order, base, increments, features, features_test, backbone.penultimate, backbone.own_head)


def _reordered(first: Stream, order: int) -> Stream:
    """The same features in another class order."""
    if first.name == "cifar10-resnet20":
        base, increments = first.base, first.increments[::-1]
    else:
        base, increments = _singles(_shuffled(first.train.classes, order), len(first.base))
    rows = _joined(first.train, first.held)
    return _stream(first.name, order, base, increments, rows, first.test, first.penultimate, first.head)


def _stream(
    name: str,
    order: int,
    base: tuple[str, ...],
    increments: tuple[tuple[str, ...], ...],
    rows: Features,
    test: Features,
    penultimate: int,
    head: LinearHead | None,
) -> Stream:
    """Split the held-out rows of the base classes from the others, and label everything in the order of the classes."""
    rows, test = (part.relabel(_all(base, increments)) for part in (rows, test))
    aside = (rows.labels < len(base)) & held_out_rows(rows.keys, rows.labels)
    return Stream(name, order, base, increments, rows.take(~aside), rows.take(aside), test, penultimate, head)


def _all(base: tuple[str, ...], increments: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return (*base, *(name for increment in increments for name in increment))


def _shuffled(names: tuple[str, ...], order: int) -> tuple[str, ...]:
    """The names as they are in order 0, else permuted."""
    places = np.random.default_rng(order).permutation(len(names)) if order else range(len(names))
    return tuple(names[place] for place in places)


def _singles(names: tuple[str, ...], base: int) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The first `base` names, and the others one by one."""
    return names[:base], tuple((name,) for name in names[base:])


def _relabelled(samples: data.Samples, classes: tuple[str, ...]) -> data.Samples:
    place = np.asarray([classes.index(name) for name in samples.classes])
    return replace(samples, labels=place[samples.labels], classes=classes)


def _joined(*parts: Features) -> Features:
    """The rows of all parts, labelled into the classes of the part that has most."""
    classes = max((part.classes for part in parts), key=len)
    parts = tuple(part.relabel(classes) for part in parts)
    arrays = (np.concatenate([getattr(part, field) for part in parts]) for field in ("features", "labels", "keys"))
    features, labels, keys = arrays
    return Features(features, labels, classes, keys)


def _save(file: Path, stream: Stream) -> None:
    arrays: dict[str, Any] = {
        "classes": np.asarray(stream.train.classes),
        "sizes": np.asarray([len(stream.base), *map(len, stream.increments)]),
        "penultimate": np.asarray(stream.penultimate),
    }
    for part in ("train", "held", "test"):
        for field in ("features", "labels", "keys"):
            arrays[f"{part}_{field}"] = getattr(getattr(stream, part), field)
    if stream.head is not None:
        arrays["kernel"], arrays["bias"] = stream.head.dense(stream.penultimate)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.npz")
    np.savez(partial, **arrays)
    os.replace(partial, file)


def _read(file: Path, name: str, order: int) -> Stream:
    with np.load(file, allow_pickle=False) as saved:
        arrays = {key: saved[key] for key in saved.files}
    classes, edges = tuple(arrays["classes"].tolist()), np.cumsum(arrays["sizes"]).tolist()
    increments = tuple(classes[start:stop] for start, stop in pairwise(edges))
    rows, held, test = (
        Features(arrays[f"{part}_features"], arrays[f"{part}_labels"], classes, arrays[f"{part}_keys"])
        for part in ("train", "held", "test")
    )
    head = LinearHead.of(arrays["kernel"], arrays["bias"]) if "kernel" in arrays else None
    return Stream(name, order, classes[: edges[0]], increments, rows, held, test, int(arrays["penultimate"]), head)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ORDERS, default=list(ORDERS), help="these data sets")
    options = parser.parse_args()
    print("| data set | order | classes | increments | train | held | test | features | base | LDA, all |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in options.only:
        for order in range(ORDERS[name]):
            stream = load(name, order)
            rows = " | ".join(str(len(part)) for part in (stream.train, stream.held, stream.test))
            columns = f"{stream.penultimate} of {stream.test.features.shape[1]}"
            figures = f"{100 * base_accuracy(stream):.2f} | {100 * lda_accuracy(stream):.2f}"
            sizes = f"{len(stream.base)} + {len(stream.test.classes) - len(stream.base)} | {len(stream.increments)}"
            print(f"| {name} | {order} | {sizes} | {rows} | {columns} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
