"""``extend evaluate``: a classifier is measured on labelled images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file, add_skip_broken
from extend.cli.model_files import holds_images, open_classifier
from extend.cli.terminal import bar_of

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "evaluate", run, "measure a checkpoint on labelled images")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", help="folder or archive with one folder of images a class, or .npz")
    add_skip_broken(parser)
    add_model_file(parser)


def run(options: argparse.Namespace) -> None:
    """Measure the classifier and print its accuracy, for all classes and for each."""
    from extend.classifier import evaluate

    clf = open_classifier(options, images=holds_images(options.data))
    result = evaluate(clf, options.data, skip_broken=options.skip_broken, progress=bar_of("batches"))
    print(json.dumps(result.to_dict()) if options.json else result)
