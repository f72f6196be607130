"""``extend predict``: images get the names of their most probable classes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file, whole
from extend.cli.model_files import open_classifier

if TYPE_CHECKING:
    from extend.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "predict", run, "name the class of images")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument("--top", type=whole(1), default=3, help="how many classes to print (default 3)")
    add_model_file(parser)


def run(options: argparse.Namespace) -> None:
    """Print the most probable classes of each image, the most probable one first."""
    from extend import data

    clf = open_classifier(options, images=True)
    names, inputs = data.read_pictures(options.pictures, clf.backbone.inputs)
    results = []
    for name, row in zip(names, clf.predict_proba(inputs), strict=True):
        best = row.argsort()[::-1][: options.top]
        results.append({"input": name, "classes": [[clf.classes[i], float(row[i])] for i in best]})
    if options.json:
        print(json.dumps(results))
        return
    for result in results:
        ranked = "  ".join(f"{label} {share:.1%}" for label, share in result["classes"])
        print(f"{result['input']}: {ranked}")
