"""``extend classes``: the classes of a checkpoint, one a line, with what is kept of each."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file
from extend.cli.model_files import open_classifier

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "classes", run, "list the classes of a checkpoint and what is kept of each")
    parser.add_argument("checkpoint", type=Path, help="a checkpoint, or a file of another framework")
    add_model_file(parser)


def run(options: argparse.Namespace) -> None:
    """Print each class with its samples, how many of them are held out, and its accuracy when it was learnt."""
    import numpy as np

    clf = open_classifier(options, images=False)
    k, memory = len(clf.classes), clf.memory
    samples = memory.total.tolist() if memory is not None else [None] * k
    held = np.bincount(memory.held_out_labels, minlength=k).tolist() if memory is not None else [None] * k
    rows = [
        {"class": name, "samples": count, "held_out": aside, "accuracy_when_learnt": clf.recipe.learnt.get(name)}
        for name, count, aside in zip(clf.classes, samples, held, strict=True)
    ]
    if options.json:
        print(json.dumps(rows))
        return
    width = max(len(name) for name in clf.classes)
    print(f"{'class':<{width}}  samples  held out  accuracy when learnt")
    for row in rows:
        counts = "  ".join(
            f"{'-' if row[key] is None else row[key]:>{n}}" for key, n in (("samples", 7), ("held_out", 8))
        )
        right = row["accuracy_when_learnt"]
        print(f"{row['class']:<{width}}  {counts}  {'-' if right is None else f'{right:.1%}'}")
