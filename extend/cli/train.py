"""``extend train``: a first classifier from a folder of images, by training or of a pretrained model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import PIXELS, add_command, add_seed, add_skip_broken, add_trust, positive, whole
from extend.cli.outputs import Output, add_overwrite, check_new_file
from extend.cli.terminal import bar_of, say
from extend.core.errors import ArgumentError

if TYPE_CHECKING:
    from flax import nnx

    from extend.classifier import Classifier, Evaluation
    from extend.cli.arguments import Commands
    from extend.data import Image, Samples

SIZES = (32, 48, 64, 96)
"""What ``--size auto`` chooses from."""
CYCLE = 20
"""So many epochs are trained at a time where the number is not given."""
CYCLES = 5
"""And so often at most."""
GAIN = 0.005
"""The training ends when held-out accuracy has twice not risen by more than this."""
FEWEST = 10
"""Of a class with fewer images none is held out."""
CLOSE = 0.05
"""An accuracy that is known to within so much, each way, is known well enough."""


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "train", run, "train a first classifier from a folder of images by class")
    parser.add_argument("photos", type=Path, help="folder, archive, .csv or .tsv with one folder or label a class")
    parser.add_argument(
        "--out", type=Path, required=True, help="the checkpoint (or, of a --backbone, the file) to write"
    )
    parser.add_argument(
        "--backbone", type=Path, help="a pretrained model of any framework, for photos: nothing is trained"
    )
    parser.add_argument("--pixels", choices=PIXELS, help="--backbone: how 8-bit pixels are scaled, if it does not say")
    parser.add_argument(
        "--size", type=size, default="auto", help="images become SIZE x SIZE (default: by their own size)"
    )
    parser.add_argument("--grey", action="store_true", help="read images in grey instead of colour")
    parser.add_argument(
        "--epochs", type=epochs, default="auto", help="passes over the images (default: while it helps)"
    )
    parser.add_argument("--depth", type=depth, default=20, help="layers of the ResNet: 8, 14, 20, 32, ... (default 20)")
    parser.add_argument("--batch-size", type=whole(1), default=128, help="images a step (default 128)")
    parser.add_argument("--learning-rate", type=positive, default=0.1, help="highest learning rate (default 0.1)")
    parser.add_argument("--no-flip", dest="flip", action="store_false", help="do not mirror images (text, digits)")
    parser.add_argument("--pooled", action="store_true", help="keep one scatter matrix for all classes: smaller files")
    parser.add_argument("--state", type=Path, help="folder to go on from after an interruption, epoch by epoch")
    parser.add_argument("--exemplars", type=whole(0), default=0, help="bytes of images to keep for fine_tune")
    add_seed(parser)
    add_overwrite(parser)
    add_skip_broken(parser)
    add_trust(parser)


def size(text: str) -> int | str:
    """The type of ``--size``."""
    return text if text == "auto" else whole(1)(text)


def epochs(text: str) -> int | str:
    """The type of ``--epochs``."""
    return text if text == "auto" else whole(1)(text)


def depth(text: str) -> int:
    """The type of ``--depth``: a ResNet has 6 n + 2 layers."""
    value = whole(8)(text)
    if value % 6 != 2:
        raise argparse.ArgumentTypeError(f"{value} is no depth of a ResNet; give 8, 14, 20, 26, 32, ...")
    return value


def run(options: argparse.Namespace) -> None:
    """Train a network or take a pretrained one, save it with its memory, and measure it on images it has not seen."""
    from extend import data
    from extend.classifier import evaluate
    from extend.memory import exemplars_each, held_out_rows
    from extend.operations.better_head import better_head

    output = Output.checked(options.out, overwrite=options.overwrite)
    if options.backbone is None and len(options.out.suffix) > 1 and not options.out.suffix[1:].isdecimal():
        check_new_file(options.out, "--out", (".onnx", ".stablehlo"))  # What a network of this package is written as.
    start = _pretrained(options) if options.backbone is not None else None
    spec = _spec(options) if start is None else start.backbone.inputs
    samples = data.read_images(options.photos, spec, skip_broken=options.skip_broken, progress=bar_of("images"))
    if len(samples.classes) < 2:
        raise ArgumentError(f"{options.photos}: one class only ({samples.classes[0]}); a classifier needs at least two")
    data.refuse_similar(samples.classes, ())
    for note in samples.notes:
        say(f"note: {note}")
    if options.exemplars:  # Refuse before the training, not after it.
        exemplars_each(options.exemplars, len(samples.classes), samples.inputs[:1].nbytes)
    aside = held_out_rows(samples.keys, samples.labels)
    kept, held = samples.take(~aside), samples.take(aside)
    if start is None:
        image = spec.as_image()
        assert image is not None  # Made above.
        clf = _wrapped(options, _network(options, image, kept, held), spec, kept, held)
        clf, said = better_head(clf)
        say(said)
    else:
        clf = _wrapped(options, start.backbone, None, kept, held)
        output.rehearse(clf)
    output.write(clf)
    measured = evaluate(clf, held) if len(held) else None
    if options.json:
        print(json.dumps({"checkpoint": str(options.out), "held_out": measured.to_dict() if measured else None}))
        return
    print(f"saved {options.out}: {', '.join(clf.classes)}")
    if measured:
        said = " (they also said how long to train)" if start is None and options.epochs == "auto" else ""
        print(f"on {measured.n} held-out images that it was not trained on{said}: {measured}")
    for line in _too_few(samples, measured):
        print(line)


def _spec(options: argparse.Namespace) -> Image:
    """What one input is, for a network trained from nothing."""
    from extend.data import Image

    side = options.size if options.size != "auto" else _own_size(options.photos)
    return Image(side, side, 1 if options.grey else 3, mean=(0.5,), std=(0.25,))


def _own_size(photos: Path) -> int:
    """The size of some of the pictures, as near as `SIZES` come: details that are not there are not looked for."""
    import numpy as np

    from extend.data import sizes_of

    smaller = [min(height, width) for height, width in sizes_of(photos, 50)]
    if not smaller:
        return SIZES[0]
    side = next((side for side in reversed(SIZES) if side <= float(np.median(smaller))), SIZES[0])
    say(f"--size {side}, as the pictures are {int(np.median(smaller))} pixels high or wide")
    return side


def _pretrained(options: argparse.Namespace) -> Classifier:
    """A model whose features are taken as they are; its own head is left behind."""
    from extend.operations import load

    if options.state is not None or options.epochs != "auto":
        raise ArgumentError(
            "--backbone takes features as they are, and trains no network: leave --epochs and --state out"
        )
    given = options.size if options.size != "auto" else None
    from extend.core import checkpoint

    ours = checkpoint.is_ours(options.backbone)
    clf = (
        load(options.backbone)
        if ours
        else load(options.backbone, pixels=options.pixels, size=given, trust=options.trust)
    )
    if clf.backbone.inputs.as_image() is None:
        raise ArgumentError(
            f"{options.backbone} takes {clf.backbone.inputs}; if these are pictures, pass --pixels {'|'.join(PIXELS)}"
        )
    return replace(clf, backbone=clf.backbone.without_own_head())


def _network(options: argparse.Namespace, spec: Image, kept: Samples, held: Samples) -> nnx.Module:
    """A ResNet trained on these samples, for as long as it helps on the held-out ones where nothing else is said."""
    from flax import nnx

    from extend import models

    model: nnx.Module = models.ResNet(
        len(kept.classes), options.depth, channels=spec.channels, rngs=nnx.Rngs(options.seed)
    )
    if options.epochs != "auto":
        return _trained(options, model, options.epochs, spec, kept, options.state)
    best, reached, still = model, -1.0, 0
    for cycle in range(CYCLES):
        state = options.state / f"cycle-{cycle}" if options.state is not None else None
        model = _trained(options, model, CYCLE, spec, kept, state)
        right = _accuracy(model, spec, held) if len(held) else 1.0
        if len(held):
            say(f"after {(cycle + 1) * CYCLE} epochs: {right:.1%} of {len(held)} held-out images")
        still = still + 1 if right <= reached + GAIN else 0
        best, reached = (model, right) if right >= reached else (best, reached)
        if still == 2 or right == 1.0:
            break
    return best


def _trained(
    options: argparse.Namespace, model: nnx.Module, count: int, spec: Image, kept: Samples, state: Path | None
) -> nnx.Module:
    """The network after so many epochs on these samples."""
    from extend.training import Phase, Recipe, train

    recipe = Recipe(
        (Phase(count),), min(options.batch_size, len(kept)), options.learning_rate, padding=4, flip=options.flip
    )
    how = {"prepare": spec.normalise, "seed": options.seed, "state": state}
    return train(model, kept.inputs, kept.labels, recipe, **how, progress=bar_of("steps"), report=say)


def _accuracy(model: nnx.Module, spec: Image, held: Samples) -> float:
    """The share of held-out samples that a network gets right."""
    import numpy as np
    from flax import nnx

    score = nnx.jit(lambda model, x: model(x))
    batches: Iterable[int] = range(0, len(held), 256)
    right = [
        np.asarray(score(model, spec.normalise(held.inputs[i : i + 256]))).argmax(axis=1) == held.labels[i : i + 256]
        for i in batches
    ]
    return float(np.concatenate(right).mean())


def _wrapped(options: argparse.Namespace, model: object, spec: object, kept: Samples, held: Samples) -> Classifier:
    """The network with a memory of the samples that it was trained on and of the held-out ones."""
    from extend.memory import Keep
    from extend.operations import wrap

    return wrap(
        model,
        kept.classes,
        kept,
        held_out=held if len(held) else 0,
        inputs=spec,
        taps=("stage2", "stage3") if spec is not None else (),
        scatter="pooled" if options.pooled else "class",
        keep=Keep(exemplar_bytes=options.exemplars),
    )


def _too_few(samples: Samples, measured: Evaluation | None) -> list[str]:
    """Say where there are too few images, and how many would do."""
    import numpy as np

    lines = []
    if len(few := np.flatnonzero(samples.counts < FEWEST)):
        named = ", ".join(f"{samples.classes[i]} {samples.counts[i]}" for i in few[:10])
        lines.append(f"too few images to hold any out: {named}; from {FEWEST} on some are, and 50 are a good start")
    if measured:
        low, high = measured.interval(measured.classes)
        p = min(max(measured.accuracy, 0.5 / measured.n), 1 - 0.5 / measured.n)
        if (high - low) / 2 > CLOSE:
            need = int(np.ceil(1.96**2 * p * (1 - p) / CLOSE**2))
            need = max(need, measured.n + 1)
            more = int(np.ceil(len(samples) * need / measured.n))
            lines.append(
                f"the accuracy lies between {low:.0%} and {high:.0%}: about {need} held-out images tell "
                f"it to {CLOSE:.0%} each way, which is what some {more} images in all give"
            )
    return lines
