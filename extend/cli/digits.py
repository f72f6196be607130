"""The demonstration: a network that knows the digits 0 to 7 learns 8, then 9, without its old data.

It is compared with two other ways: training new columns on new data alone, which forgets, and training the same network
again on all data, which is the upper bound. `extend demo` runs it once; the benchmarks repeat it over random splits.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from extend import data
from extend.classifier import Classifier, Evaluation, evaluate, load
from extend.cli.terminal import Say
from extend.core.errors import ArgumentError
from extend.data import Progress
from extend.memory import held_out_rows
from extend.methods import ForgettingWarning, Method, NewUnits
from extend.models import ConvNet
from extend.operations import add_classes, wrap
from extend.report import Report, draw_confusion
from extend.training import Phase, Recipe, train

BASE = tuple(str(digit) for digit in range(8))
"""The classes of the base network."""
ALL = (*BASE, "8", "9")
"""The base network's classes, then the ones that are added."""
SPEC = data.Array((8, 8, 1))
"""One input: a grey picture of 8 x 8 pixels in [0, 1]."""
RECIPE = Recipe((Phase(40),), batch_size=32, learning_rate=0.05, padding=1)
"""How the base network and the upper bound are trained."""
TAPS = ("pooled",)
"""The inner layer whose output is taken as features beside the head's inputs."""

Split = tuple[
    Float[np.ndarray, "train 8 8 1"],
    Float[np.ndarray, "test 8 8 1"],
    Int[np.ndarray, " train"],
    Int[np.ndarray, " test"],
]
"""Training inputs, test inputs, training labels and test labels."""


def digits(split: int = 0) -> Split:
    """Read scikit-learn's digits, a quarter of them as test samples.

    Parameters
    ----------
    split
        The seed of the stratified split.

    Returns
    -------
    tuple
        Training inputs and test inputs (float32 in [0, 1]), training labels and test labels (0 to 9).

    Examples
    --------
    >>> x, x_test, y, y_test = digits()
    >>> x.shape, x_test.shape
    ((1347, 8, 8, 1), (450, 8, 8, 1))
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    pictures = (inputs / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    x, x_test, y, y_test = train_test_split(pictures, labels, test_size=0.25, stratify=labels, random_state=split)
    return x, x_test, y, y_test


def train_base(split: int = 0) -> Classifier:
    """Train a network on the digits 0 to 7 and wrap it with its memory.

    The samples that the memory holds out for measuring are not trained on.
    """
    x, _, y, _ = digits(split)
    samples = data.read((x[y < 8], y[y < 8]), SPEC, names=BASE)
    aside = held_out_rows(samples.keys, samples.labels)
    kept, held = samples.take(~aside), samples.take(aside)
    model = train(ConvNet(8, rngs=nnx.Rngs(split)), kept.inputs, kept.labels, RECIPE, seed=split)
    return wrap(
        model,
        BASE,
        (kept.inputs, kept.labels),
        held_out=(held.inputs, held.labels),
        inputs=SPEC,
        taps=TAPS,
        scatter="pooled",
    )


def add_8_then_9(base: Classifier, split: int, method: str | Method) -> tuple[Classifier, list[Report]]:
    """Add 8, then 9.

    Returns
    -------
    Classifier, list of Report
        The classifier that knows all ten digits, and one report for each addition. A report is measured on the test
        samples of the digits that are known by then.
    """
    x, x_test, y, y_test = digits(split)
    clf, reports = base, []
    for digit in (8, 9):
        known = y_test <= digit
        clf, report = add_classes(
            clf, {str(digit): x[y == digit]}, method=method, validation=(x_test[known], y_test[known])
        )
        reports.append(report)
    return clf, reports


def naive(base: Classifier, split: int) -> Report:
    """Add 8, then 9, by training new columns on new data alone: the old digits are forgotten."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForgettingWarning)  # It is what the demo shows.
        clf, steps = add_8_then_9(base, split, NewUnits(old="absent"))
    return _both_digits(
        "new_units on new data alone",
        steps[0].before,
        _on_test(clf, split),
        seconds=sum(step.seconds for step in steps),
        fit_seconds=sum(step.fit_seconds for step in steps),
        samples=sum(step.samples for step in steps),
    )


def joint(base: Classifier, split: int, progress: Progress | None = None) -> Report:
    """Train the same network from scratch on all ten digits, old data included: the upper bound."""
    x, x_test, y, y_test = digits(split)
    started = time.perf_counter()
    model = train(
        ConvNet(10, rngs=nnx.Rngs(split)),
        x,
        y,
        RECIPE,
        seed=split,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    clf, old = wrap(model, ALL, inputs=SPEC), y_test < 8
    return _both_digits(
        "joint retraining",
        evaluate(base, (x_test[old], y_test[old])),
        _on_test(clf, split),
        seconds=seconds,
        fit_seconds=seconds,
        samples=len(x),
    )


def run(out: Path, say: Say, progress: Progress | None = None) -> dict[str, Any]:
    """Run the whole demo.

    Parameters
    ----------
    out
        An existing folder for the checkpoint ``digits-0-9`` and the picture ``demo.png``.
    say, progress
        Tell the user what happens, and how far a training is.

    Returns
    -------
    dict
        What ``--json`` prints: "steps" (the report of each addition), "naive" and "joint" (the reports of the two other
        ways), "seconds", "identical_after_restore", "picture" and "checkpoint".
    """
    started = time.perf_counter()
    checkpoint = shipped("digits-0-7")
    say(f"restoring {checkpoint.name}: a network trained on the digits 0 to 7")
    base = load(checkpoint)
    say("adding 8, then 9, without old data")
    clf, steps = add_8_then_9(base, 0, "auto")
    say("the naive way: new columns trained on new data alone")
    plain = naive(base, 0)
    say("the upper bound: the same network retrained on everything")
    bound = joint(base, 0, progress)
    say("saving, restoring, comparing")
    _, x_test, _, _ = digits(0)
    clf.save(out / "digits-0-9")
    identical = bool(np.array_equal(load(out / "digits-0-9").decision_function(x_test), clf.decision_function(x_test)))
    picture = out / "demo.png"
    draw(picture, steps, plain, bound)
    return {
        "steps": [step.to_dict() for step in steps],
        "naive": plain.to_dict(),
        "joint": bound.to_dict(),
        "seconds": time.perf_counter() - started,
        "identical_after_restore": identical,
        "picture": str(picture),
        "checkpoint": str(out / "digits-0-9"),
    }


def table(result: dict[str, Any]) -> str:
    """Lay out what `run` returned as a table, one line for each addition and each other way."""
    head = ("", "old before", "old after", "new", "overall", "forgetting", "seconds", "method")
    rows = [(f"+ {', '.join(step['classes'])}", step) for step in result["steps"]]
    rows += [("naive, + 8, 9", result["naive"]), ("joint, 0 to 9", result["joint"])]
    lines = ["{:<14}{:>11}{:>11}{:>9}{:>9}{:>12}{:>9}  {}".format(*head)]
    for label, report in rows:
        parts = [f"{100 * report[key]:.2f} %" for key in ("old_before", "old_after", "new", "overall")]
        lines.append(
            f"{label:<14}{parts[0]:>11}{parts[1]:>11}{parts[2]:>9}{parts[3]:>9}"
            f"{100 * report['forgetting']:>+12.2f}{report['seconds']:>9.2f}  {report['method']}"
        )
    return "\n".join(lines)


def draw(path: Path, steps: list[Report], plain: Report, bound: Report) -> None:
    """Draw the accuracy of the three ways on old and new classes, and their confusion matrices, to a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    FigureCanvasAgg(figure)
    bars, *matrices = figure.subplots(1, 4)
    ways = (("extend", steps[-1]), ("naive", plain), ("joint", bound))
    for number, (label, report) in enumerate(ways):
        assert report.after is not None  # The demo always measures.
        values = [100 * report.after.of(BASE), 100 * report.after.of(("8", "9")), 100 * report.after.accuracy]
        bars.bar(np.arange(3) + 0.27 * (number - 1), values, 0.27, label=label)
        draw_confusion(matrices[number], report.after)
        matrices[number].set_title(f"{label}: {report.after.accuracy:.1%}")
    bars.set_xticks(range(3), ("0 to 7", "8 and 9", "overall"))
    bars.set(ylabel="accuracy, %", ylim=(0, 120), title="after adding 8 and 9")
    bars.legend(loc="upper center", ncols=3)
    figure.savefig(path, dpi=110, format="png")


def shipped(name: str) -> Path:
    """Find the folder of a checkpoint that comes with the package, or that lies in its source tree.

    Raises
    ------
    ArgumentError
        No checkpoint of that name is installed.
    """
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "checkpoints" / name, here.parent / "checkpoints" / name):
        if folder.is_dir():
            return folder
    raise ArgumentError(f"the checkpoint {name!r} does not come with this installation; reinstall class-extend")


def _on_test(clf: Classifier, split: int) -> Evaluation:
    """Measure a classifier that knows all ten digits on the test samples."""
    _, x_test, _, y_test = digits(split)
    return evaluate(clf, (x_test, y_test))


def _both_digits(
    method: str, before: Evaluation | None, after: Evaluation, *, seconds: float, fit_seconds: float, samples: int
) -> Report:
    """The report of a way that is measured once, when both digits are known."""
    return Report(
        action="add",
        classes=("8", "9"),
        method=method,
        reason="",
        before=before,
        after=after,
        forgetting_since_learnt=None,
        measured_on="validation samples",
        seconds=seconds,
        fit_seconds=fit_seconds,
        samples=samples,
        bytes=0,
    )
