"""``extend evaluate``: a classifier is measured on labelled images."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from extend.cli.arguments import add_command, add_model_file, add_skip_broken
from extend.cli.model_files import holds_images, open_classifier
from extend.cli.outputs import check_new_file
from extend.cli.terminal import bar_of, say

if TYPE_CHECKING:
    from extend.cli.arguments import Commands

SHOWN = 10
"""So many of the files that were taken for another class are listed on the terminal."""


def add_parser(commands: Commands) -> None:
    """Declare the command's arguments."""
    parser = add_command(commands, "evaluate", run, "measure a checkpoint on labelled images")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", help="folder, archive or .csv with one folder or label a class, or .npz of arrays")
    parser.add_argument("--picture", type=Path, help="draw accuracy and confusion to this PNG")
    parser.add_argument("--wrong", type=Path, help="list the files that were taken for another class in this CSV")
    add_skip_broken(parser)
    add_model_file(parser)


def run(options: argparse.Namespace) -> None:
    """Measure the classifier; print its accuracy, for all classes and for each, and the files that it got wrong."""
    from extend import data
    from extend.backbone import extract
    from extend.classifier import evaluate_features
    from extend.heads import head_scores, host_probabilities
    from extend.report import draw

    check_new_file(options.picture, "--picture", (".png",))
    check_new_file(options.wrong, "--wrong")
    clf = open_classifier(options, images=holds_images(options.data))
    samples = data.read_into(
        clf.classes,
        options.data,
        clf.backbone.inputs,
        "the data",
        skip_broken=options.skip_broken,
        progress=bar_of("images"),
    )
    for note in samples.notes:
        say(f"note: {note}")
    features = extract(clf.backbone, samples, progress=bar_of("batches")).features
    result = evaluate_features(clf.head, clf.classes, features, samples.labels)
    shares = host_probabilities(clf.head.link, head_scores(clf.head, features))
    taken = shares.argmax(axis=1)
    names = samples.files or [f"sample {i}" for i in range(len(samples))]
    wrong = [
        (names[i], clf.classes[samples.labels[i]], clf.classes[taken[i]], float(shares[i, taken[i]]))
        for i in (taken != samples.labels).nonzero()[0]
    ]
    if options.picture:
        draw(options.picture, f"{options.checkpoint} on {options.data}: {result.accuracy:.1%} of {result.n}", result)
    if options.wrong:
        with options.wrong.open("w", newline="") as file:
            csv.writer(file).writerows([("input", "class", "taken_for", "share"), *wrong])
    if options.json:
        listed = [
            {"input": name, "class": true, "taken_for": other, "share": share} for name, true, other, share in wrong
        ]
        print(json.dumps({**result.to_dict(), "wrong": listed, "notes": list(samples.notes)}))
        return
    print(result)
    if wrong:
        print(f"\n{len(wrong)} taken for another class" + (f", the first {SHOWN}:" if len(wrong) > SHOWN else ":"))
        for name, true, other, share in wrong[:SHOWN]:
            print(f"  {name}: {true} as {other} ({share:.0%})")
