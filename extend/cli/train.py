"""``extend train``: a first classifier is trained from a folder of images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_seed, add_skip_broken, positive, whole
from extend.cli.outputs import Output, add_overwrite
from extend.cli.terminal import bar_of, say
from extend.core.errors import ArgumentError

if TYPE_CHECKING:
    from flax import nnx

    from extend.classifier import Classifier
    from extend.cli.arguments import Commands
    from extend.data import Image, Samples


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "train", run, "train a first classifier from a folder of images by class")
    parser.add_argument("photos", type=Path, help="folder or archive with one folder of images a class")
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--size", type=whole(1), default=32, help="images are resized to SIZE x SIZE (default 32)")
    parser.add_argument("--grey", action="store_true", help="read images in grey instead of colour")
    parser.add_argument("--epochs", type=whole(1), default=20, help="passes over the images (default 20)")
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


def depth(text: str) -> int:
    """The type of ``--depth``: a ResNet has 6 n + 2 layers."""
    value = whole(8)(text)
    if value % 6 != 2:
        raise argparse.ArgumentTypeError(f"{value} is no depth of a ResNet; give 8, 14, 20, 26, 32, ...")
    return value


def run(options: argparse.Namespace) -> None:
    """Train a ResNet, save it with its memory, and measure it on images that it was not trained on."""
    from extend import data
    from extend.classifier import evaluate
    from extend.memory import exemplars_each, held_out_rows

    output = Output.checked(options.out, overwrite=options.overwrite)
    spec = data.Image(options.size, options.size, 1 if options.grey else 3, mean=(0.5,), std=(0.25,))
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
    clf = _classifier(options, _network(options, spec, kept), spec, kept, held)
    output.write(clf)
    measured = evaluate(clf, held) if len(held) else None
    if options.json:
        print(json.dumps({"checkpoint": str(options.out), "held_out": measured.to_dict() if measured else None}))
        return
    print(f"saved {options.out}: {', '.join(clf.classes)}")
    if measured:
        print(f"on {measured.n} held-out images that it was not trained on: {measured}")


def _network(options: argparse.Namespace, spec: Image, kept: Samples) -> nnx.Module:
    """A ResNet trained on these samples."""
    from flax import nnx

    from extend import models
    from extend.training import Phase, Recipe, train

    model = models.ResNet(len(kept.classes), options.depth, channels=spec.channels, rngs=nnx.Rngs(options.seed))
    recipe = Recipe(
        (Phase(options.epochs),),
        min(options.batch_size, len(kept)),
        options.learning_rate,
        padding=4,
        flip=options.flip,
    )
    return train(
        model,
        kept.inputs,
        kept.labels,
        recipe,
        prepare=spec.normalise,
        seed=options.seed,
        state=options.state,
        progress=bar_of("steps"),
        report=say,
    )


def _classifier(
    options: argparse.Namespace, model: nnx.Module, spec: Image, kept: Samples, held: Samples
) -> Classifier:
    """The trained network with a memory of the samples that it was trained on and of the held-out ones."""
    from extend.memory import Keep
    from extend.operations import wrap

    return wrap(
        model,
        kept.classes,
        kept,
        held_out=held if len(held) else 0,
        inputs=spec,
        taps=("stage2", "stage3"),
        scatter="pooled" if options.pooled else "class",
        keep=Keep(exemplar_bytes=options.exemplars),
    )
