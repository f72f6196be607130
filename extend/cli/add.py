"""``extend add``: the classes of a folder of images are added to a classifier."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file, add_seed, add_skip_broken, positive, share, whole
from extend.cli.model_files import holds_images, open_classifier
from extend.cli.outputs import Output, add_overwrite, check_new_file
from extend.cli.terminal import bar_of
from extend.core.errors import ArgumentError

if TYPE_CHECKING:
    from extend.classifier import Classifier
    from extend.cli.arguments import Commands
    from extend.methods import FineTune, Joint
    from extend.report import Report

METHODS = (
    "auto",
    "lda",
    "ridge",
    "gaussian",
    "nearest_mean",
    "logistic",
    "blend",
    "svm",
    "new_units",
    "imprint",
    "fine_tune",
    "joint",
)
"""The methods' names, repeated here because help must not import the methods; a test compares them."""
TRAINING = ("epochs", "select", "learning_rate", "flip", "padding", "state")
"""The options of the methods that train the backbone."""


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "add", run, "add the classes of a folder of images to a checkpoint")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint or a file of another framework; it is not changed")
    parser.add_argument(
        "--new", required=True, help="folder, archive, .csv or .tsv with one folder or label a class, or .npz of arrays"
    )
    parser.add_argument("--name", help="all images of --new are of this one class")
    parser.add_argument("--out", type=Path, required=True, help="what to write (may be the same)")
    parser.add_argument("--method", choices=METHODS, default="auto", help="default: auto")
    parser.add_argument("--epochs", type=whole(1), help="fine_tune, joint: passes over the images (default 5)")
    parser.add_argument("--select", help="fine_tune, joint: all, last_block, norm, or a pattern such as 'stage3.*'")
    parser.add_argument("--learning-rate", type=positive, help="fine_tune, joint: of the backbone")
    parser.add_argument("--flip", action="store_true", default=None, help="fine_tune, joint: mirror half of the images")
    parser.add_argument("--padding", type=whole(0), help="fine_tune, joint: crop at random, from so many pixels more")
    parser.add_argument("--state", help="fine_tune, joint: folder to go on from after an interruption")
    parser.add_argument("--old", help="real images of old classes, if you still have some")
    parser.add_argument("--validation", help="images of old and new classes to measure on")
    parser.add_argument("--on-existing", choices=("error", "update"), default="error", help="if a class exists already")
    parser.add_argument("--similar-names", action="store_true", help="a new class may be called Cat where cat exists")
    parser.add_argument("--max-forgetting", type=share, help="share of old examples that may turn wrong: 0.01 or 1%%")
    parser.add_argument(
        "--exemplars", type=whole(0), help="keep so many bytes of images from now on, for fine_tune; 0: none"
    )
    add_seed(parser)
    parser.add_argument("--picture", type=Path, help="draw accuracy and confusion to this PNG")
    add_overwrite(parser)
    add_skip_broken(parser)
    add_model_file(parser)


def run(options: argparse.Namespace) -> int | None:
    """Add the classes, save the extended classifier, and print the report."""
    from extend.operations import add_classes

    check_new_file(options.picture, "--picture", (".png",))
    output = Output.checked(options.out, source=options.checkpoint, overwrite=options.overwrite)
    method = _method(options)
    clf = open_classifier(options, images=holds_images(options.new))
    if clf.backbone.own_format is not None and options.checkpoint.suffix and not options.out.suffix:
        raise ArgumentError(f"--out {options.out}: give it a suffix, such as {options.checkpoint.suffix}")
    output.rehearse(clf)
    extended, report = add_classes(
        clf,
        options.new if options.name is None else {options.name: options.new},
        method=method,
        old=options.old,
        validation=options.validation,
        on_existing=options.on_existing,
        similar_names=options.similar_names,
        max_forgetting=options.max_forgetting,
        exemplars=options.exemplars,
        seed=options.seed,
        skip_broken=options.skip_broken,
        progress=bar_of("batches"),
    )
    cut_short = any("interrupted at step" in note for note in report.notes)
    _refuse_to_lose_the_start(options, cut_short)
    output.write(extended)
    if options.picture and report.after is not None:
        report.save(options.picture)
    _print(options, extended, report)
    return 130 if cut_short else None


def _method(options: argparse.Namespace) -> str | FineTune | Joint:
    """The method's name; a method that trains the backbone is made with the options given for it."""
    given = {name: getattr(options, name) for name in TRAINING if getattr(options, name) is not None}
    if options.method not in ("fine_tune", "joint"):
        if given:
            raise ArgumentError(f"--{next(iter(given)).replace('_', '-')} is for --method fine_tune and joint")
        return options.method
    from extend import methods

    return methods.FineTune(**given) if options.method == "fine_tune" else methods.Joint(**given)


def _refuse_to_lose_the_start(options: argparse.Namespace, cut_short: bool) -> None:
    """Keep the checkpoint that a training began with, if that training was interrupted and may go on from it."""
    if cut_short and options.state and options.out.resolve() == options.checkpoint.resolve():
        raise ArgumentError(
            f"interrupted; {options.out} is left as it was, so that the same command goes on from {options.state}"
        )


def _print(options: argparse.Namespace, extended: Classifier, report: Report) -> None:
    """Print the report, and where the classifier and the picture are."""
    if options.json:
        print(json.dumps({**report.to_dict(), "all_classes": list(extended.classes), "checkpoint": str(options.out)}))
        return
    picture = ""
    if options.picture:
        measured = report.after is not None
        picture = f"; picture {options.picture}" if measured else "; no picture, as nothing was measured"
    print(report)
    print(f"saved {options.out}: {len(extended.classes)} classes{picture}")
