"""``extend convert``: a classifier is written in another format."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file
from extend.cli.model_files import open_classifier
from extend.cli.outputs import Output, add_overwrite

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "convert", run, "write a classifier in another format")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a file of another framework")
    parser.add_argument("out", type=Path, help="the file to write; its suffix says the format")
    add_overwrite(parser)
    add_model_file(parser)


def run(options: argparse.Namespace) -> None:
    """Open the classifier and write it in the format that the suffix names."""
    output = Output.checked(options.out, source=options.checkpoint, overwrite=options.overwrite, what="out")
    output.write(open_classifier(options, images=False))
    print(json.dumps({"written": str(options.out)}) if options.json else f"saved {options.out}")
