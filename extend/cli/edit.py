"""``extend remove``, ``rename``, ``merge``, ``undo``, ``calibrate``, ``retune``, ``replace-head``: no samples needed.

Each changes the checkpoint that it is given, or writes the changed one to ``--out``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extend.cli.arguments import add_command, add_model_file
from extend.cli.model_files import open_classifier
from extend.cli.outputs import Output, add_overwrite
from extend.core.errors import ArgumentError

if TYPE_CHECKING:
    from extend.classifier import Classifier
    from extend.cli.arguments import Commands
    from extend.report import Report

    Change = Callable[[Classifier], tuple[Classifier, Report | None]]

STEPS = ("weights", "bias", "temperature")
"""The steps of `extend.calibrate`, repeated here because help must not import the engine; a test compares them."""


def add_parser(commands: Commands) -> None:
    """Declare the arguments of all of these commands."""
    parser = _command(commands, "remove", _remove, "take classes away, exactly where the head is a closed form")
    parser.add_argument("names", nargs="+", metavar="CLASS")
    parser = _command(commands, "rename", _rename, "give classes other names")
    parser.add_argument("names", nargs="+", metavar="NAME", help="OLD NEW, or several pairs: OLD NEW OLD NEW ...")
    parser = _command(commands, "merge", _merge, "make one class of several")
    parser.add_argument("names", nargs="+", metavar="CLASS")
    parser.add_argument("--into", required=True, metavar="NAME", help="the name of the class that they become")
    _command(commands, "undo", _undo, "take the last step back, where that can be done")
    parser = _command(commands, "calibrate", _calibrate, "correct scores on held-out features, so that they are shares")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=["temperature"], help="default: temperature")
    parser.add_argument("--new", nargs="+", metavar="CLASS", help="the new classes (default: those that came last)")
    _command(commands, "retune", _retune, "choose strengths, and the method if it was chosen, by all that is kept now")
    parser = _command(commands, "replace-head", _replace_head, "give the backbone an empty head for other classes")
    parser.add_argument("names", nargs="+", metavar="CLASS", help="the names of the new head's classes")


def _command(
    commands: Commands, name: str, change: Callable[[argparse.Namespace], Change], summary: str
) -> argparse.ArgumentParser:
    """Declare a command that changes a classifier by the function that `change` makes of its arguments."""
    parser = add_command(commands, name, lambda options: _run(options, change), summary)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a file of another framework")
    parser.add_argument("--out", type=Path, help="what to write (default: the checkpoint itself)")
    add_overwrite(parser)
    add_model_file(parser)
    return parser


def _run(options: argparse.Namespace, change: Callable[[argparse.Namespace], Change]) -> None:
    """Check the output, change the classifier, save it, and print the report."""
    target: Path = options.out if options.out is not None else options.checkpoint
    made = change(options)
    output = Output.checked(target, source=options.checkpoint, overwrite=options.overwrite)
    clf = open_classifier(options, images=False)
    output.rehearse(clf)
    changed, report = made(clf)
    output.write(changed)
    if options.json:
        told: dict[str, Any] = {**report.to_dict()} if report is not None else {}
        print(json.dumps({**told, "all_classes": list(changed.classes), "checkpoint": str(target)}))
        return
    if report is not None:
        print(report)
    print(f"saved {target}: {len(changed.classes)} classes")


def _remove(options: argparse.Namespace) -> Change:
    from extend.operations import remove_classes

    return lambda clf: remove_classes(clf, options.names)


def _rename(options: argparse.Namespace) -> Change:
    if len(options.names) % 2:
        raise ArgumentError(f"{len(options.names)} names given; expected pairs: OLD NEW, such as: frog toad")
    from extend.operations import rename_classes

    return lambda clf: rename_classes(clf, dict(zip(options.names[::2], options.names[1::2], strict=True)))


def _merge(options: argparse.Namespace) -> Change:
    from extend.operations import merge_classes

    return lambda clf: merge_classes(clf, {options.into: options.names})


def _undo(options: argparse.Namespace) -> Change:
    from extend.operations import undo

    return undo


def _calibrate(options: argparse.Namespace) -> Change:
    from extend.operations import calibrate

    return lambda clf: calibrate(clf, options.steps, options.new)


def _retune(options: argparse.Namespace) -> Change:
    from extend.operations import retune

    return retune


def _replace_head(options: argparse.Namespace) -> Change:
    if options.out is None:
        raise ArgumentError("--out is needed: the new head is empty, and the checkpoint would lose its classes")
    from extend.operations import replace_head

    return lambda clf: (replace_head(clf, options.names), None)
