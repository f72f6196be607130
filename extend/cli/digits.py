"""The embedded default: a network that knows the digits 0 to 7 learns 8, then 9, without its old data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from extend import data
from extend.classifier.classifier import Classifier
from extend.classifier.evaluation import Evaluation, evaluate
from extend.classifier.serialise import load
from extend.core.errors import ArgumentError
from extend.memory.rows import held_out_rows
from extend.methods import ForgettingWarning, Method, NewUnits
from extend.models import ConvNet
from extend.operations.add import add_classes
from extend.operations.wrap import wrap
from extend.report.figures import draw_confusion
from extend.report.report import Report
from extend.training.from_scratch import Phase, Recipe, train

BASE = tuple(str(digit) for digit in range(8))
ALL = (*BASE, "8", "9")
SPEC = data.Array((8, 8, 1))
RECIPE = Recipe((Phase(40),), batch_size=32, learning_rate=0.05, padding=1)
TAPS = ("pooled",)

Say = Callable[[str], None]
Bar = Callable[[Iterable[int], int, str], Iterable[int]]


def digits(split: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits as float32 ``[n, 8, 8, 1]`` in [0, 1]: train and test inputs, train and test labels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    inputs, labels = load_digits(return_X_y=True)
    pictures = (inputs / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    x, x_test, y, y_test = train_test_split(pictures, labels, test_size=0.25, stratify=labels, random_state=split)
    return x, x_test, y, y_test


def train_base(split: int = 0) -> Classifier:
    """The network trained on 0 to 7 without the samples that the hash rule holds out, and its memory."""
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
    """Add the two classes in turn; each report is measured on the test samples of the classes known by then."""
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
    """New columns trained on new data alone, 8 then 9."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ForgettingWarning)  # It is what the demo shows.
        clf, reports = add_8_then_9(base, split, NewUnits(old="absent"))
    after = _on_test(clf, split)
    return _summary("new_units on new data alone", reports[0].before, after, sum(r.seconds for r in reports), reports)


def joint(base: Classifier, split: int, bar: Bar = lambda steps, total, text: steps) -> Report:
    """The same network trained from scratch on all ten classes, old data included: the upper bound."""
    x, x_test, y, y_test = digits(split)
    started = time.perf_counter()
    model = train(
        ConvNet(10, rngs=nnx.Rngs(split)),
        x,
        y,
        RECIPE,
        seed=split,
        progress=lambda steps, total: bar(steps, total, "steps"),
    )
    seconds = time.perf_counter() - started
    after = evaluate(wrap(model, ALL, inputs=SPEC), (x_test, y_test))
    old = y_test < 8
    return _summary("joint retraining", evaluate(base, (x_test[old], y_test[old])), after, seconds, [], len(x))


def run(out: Path, say: Say, bar: Bar) -> dict[str, Any]:
    """The whole demo; writes a checkpoint and a picture below `out` and returns what ``--json`` prints."""
    started = time.perf_counter()
    checkpoint = shipped("digits-0-7")
    say(f"restoring {checkpoint.name}: a network trained on the digits 0 to 7")
    base = load(checkpoint)
    say("adding 8, then 9, without old data")
    clf, steps = add_8_then_9(base, 0, "auto")
    say("the naive way: new columns trained on new data alone")
    plain = naive(base, 0)
    say("the upper bound: the same network retrained on everything")
    bound = joint(base, 0, bar)
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
    """The demo's result as a table."""
    head = ("", "old before", "old after", "new", "overall", "forgetting", "seconds", "method")
    rows = [(f"+ {', '.join(step['classes'])}", step) for step in result["steps"]]
    rows += [("naive, + 8, 9", result["naive"]), ("joint, 0 to 9", result["joint"])]
    lines = ["{:<14}{:>11}{:>11}{:>9}{:>9}{:>12}{:>9}  {}".format(*head)]
    for label, r in rows:
        parts = [f"{100 * r[key]:.2f} %" for key in ("old_before", "old_after", "new", "overall")]
        lines.append(
            f"{label:<14}{parts[0]:>11}{parts[1]:>11}{parts[2]:>9}{parts[3]:>9}"
            f"{100 * r['forgetting']:>+12.2f}{r['seconds']:>9.2f}  {r['method']}"
        )
    return "\n".join(lines)


def draw(path: Path, steps: list[Report], plain: Report, bound: Report) -> None:
    """Accuracy on old and new classes of the three ways, and their confusion matrices, as a PNG."""
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
    """The folder of a checkpoint that comes with the package (or lies in its source tree)."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "checkpoints" / name, here.parent / "checkpoints" / name):
        if folder.is_dir():
            return folder
    raise ArgumentError(f"the checkpoint {name!r} does not come with this installation; reinstall class-extend")


def _on_test(clf: Classifier, split: int) -> Evaluation:
    _, x_test, _, y_test = digits(split)
    return evaluate(clf, (x_test, y_test))


def _summary(
    method: str, before: Evaluation | None, after: Evaluation, seconds: float, steps: list[Report], samples: int = 0
) -> Report:
    fit = sum(step.fit_seconds for step in steps) if steps else seconds
    count = sum(step.samples for step in steps) or samples
    return Report("add", ("8", "9"), method, "", before, after, None, "validation samples", seconds, fit, count, 0)
