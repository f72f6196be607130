"""``extend predict``: images get the names of their most probable classes, one after the other."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extend.cli.arguments import add_command, add_model_file, whole
from extend.cli.model_files import open_classifier
from extend.cli.terminal import say

if TYPE_CHECKING:
    from extend.classifier import Classifier
    from extend.cli.arguments import Commands

BLOCK = 64
"""So many images are read before they are classified."""


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "predict", run, "name the class of images")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+", help="images, folders or archives of them, or .npy arrays")
    parser.add_argument("--top", type=whole(1), default=3, help="how many classes to print (default 3)")
    parser.add_argument("--csv", action="store_true", help="print input,class,share,..., a line as soon as it is known")
    add_model_file(parser)


def run(options: argparse.Namespace) -> int | None:
    """Print the most probable classes of each image, the most probable one first; a bad file does not end it."""
    clf = open_classifier(options, images=True)
    broken = 0
    results: list[dict[str, Any]] = []
    rows = csv.writer(sys.stdout, lineterminator="\n")
    top = min(options.top, len(clf.classes))
    if options.csv:
        rows.writerow(["input", *(f"{word}{i}" for i in range(1, top + 1) for word in ("class", "share")), "error"])
    for name, ranked, error in _ranked(clf, options.pictures, top):
        broken += bool(error)
        if options.json:
            results.append({"input": name, "error": error} if error else {"input": name, "classes": ranked})
        elif options.csv:
            cells = [cell for label, share in ranked for cell in (label, f"{share:.4f}")]
            rows.writerow([name, *(cells or [""] * 2 * top), error])
            sys.stdout.flush()
        elif error:
            say(f"extend: {error}")
        else:
            print(f"{name}: " + "  ".join(f"{label} {share:.1%}" for label, share in ranked), flush=True)
    if options.json and (len(results) > broken or broken > 1):
        print(json.dumps(results))
    elif options.json and broken:
        say(f"extend: {results[0]['error']}")
    return 1 if broken else None


def _ranked(clf: Classifier, paths: list[Path], top: int) -> Iterator[tuple[str, list[list[Any]], str]]:
    """Each input's name, its most probable classes with their shares, and what is wrong with it, block by block."""
    import numpy as np

    from extend import data

    names: list[str] = []
    inputs: list[np.ndarray] = []

    def classified() -> Iterator[tuple[str, list[list[Any]], str]]:
        if inputs:
            for name, row in zip(names, clf.predict_proba(np.stack(inputs)), strict=True):
                best = row.argsort()[::-1][:top]
                yield name, [[clf.classes[i], float(row[i])] for i in best], ""
        names.clear()
        inputs.clear()

    for name, found in data.pictures(paths, clf.backbone.inputs):
        if isinstance(found, np.ndarray):
            names.append(name)
            inputs.append(found)
            if len(names) == BLOCK:
                yield from classified()
        else:
            yield from classified()
            yield name, [], found
    yield from classified()
