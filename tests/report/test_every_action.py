"""The report of every action, made by the public functions and rendered in every form."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from flax import nnx
from PIL import Image as Picture

import extend
from extend.classifier import Evaluation
from extend.models import MLP
from extend.report import Action, Report
from tests.conftest import blobs, identity, names

X, Y = blobs(4, 60, 5)
FOURTH = X[Y == 3]


@cache
def start() -> extend.Classifier:
    """Three classes, and held-out features of each."""
    return extend.wrap(identity, names(3), (X[Y < 3], Y[Y < 3]))


@cache
def wider() -> tuple[extend.Classifier, Report]:
    return extend.add_classes(start(), {"new": FOURTH}, method="lda")


def adapted() -> Report:
    model = extend.wrap(MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0)), names(3), (X[Y < 3], Y[Y < 3]))
    return extend.adapt(model, (X[Y < 3], Y[Y < 3]), training=extend.Training(epochs=1, batch_size=32))[1]


def made(action: Action, **fields: object) -> Report:
    """The report of an action that no public function reports yet."""
    after = Evaluation(("a", "b", "c"), np.array([[8, 1, 1], [0, 10, 0], [0, 0, 5]]), 0.1, 0.02)
    return Report(action=action, seconds=0.1, **{"after": after, **fields})  # type: ignore[arg-type]


BEFORE = Evaluation(("a", "b", "d"), np.array([[9, 1, 0], [0, 10, 0], [0, 0, 5]]), 0.1, 0.02)
REPORTS: dict[str, Callable[[], Report]] = {
    "add": lambda: wider()[1],
    "add, validated": lambda: extend.add_classes(start(), {"new": FOURTH}, validation=(X + 0.01, Y), method="lda")[1],
    "add, limited": lambda: extend.add_classes(start(), {"new": FOURTH}, max_forgetting=0.1, method="lda")[1],
    "update": lambda: extend.add_classes(start(), {"class 1": FOURTH}, on_existing="update", method="lda")[1],
    "remove": lambda: extend.remove_classes(wider()[0], "class 1")[1],
    "calibrate": lambda: extend.calibrate(wider()[0])[1],
    "retune": lambda: extend.retune(wider()[0])[1],
    "adapt": adapted,
    "rename": lambda: extend.rename_classes(wider()[0], {"new": "newer"})[1],
    "merge": lambda: extend.merge_classes(wider()[0], {"both": ["class 0", "new"]})[1],
    "split": lambda: extend.split_class(wider()[0], "new", {"left": FOURTH[:30], "right": FOURTH[30:] + 9})[1],
    "remove_samples": lambda: extend.remove_samples(wider()[0], {"new": FOURTH[:2]})[1],
    "undo": lambda: extend.undo(wider()[0])[1],
    "replace_head": lambda: made("replace_head", classes=("a", "b", "c")),
    "wrap": lambda: made("wrap", classes=("a", "b", "c"), method="own head"),
}
FIRST_WORDS = {
    "add": "added new with lda",
    "update": "updated class 1 with lda",
    "remove": "removed class 1 with lda",
    "calibrate": "calibrated all classes with temperature",
    "retune": "retuned all classes with lda",
    "adapt": "adapted to class 0, class 1, class 2 with",
    "rename": "renamed newer",
    "merge": "merged both with lda",
    "split": "split into left, right with",
    "remove_samples": "removed samples of new with lda",
    "undo": "undid the last step, new with",
    "replace_head": "replaced the head for a, b, c",
    "wrap": "wrapped a, b, c with own head",
}


def test_every_action_is_here() -> None:
    assert {name.partition(",")[0] for name in REPORTS} == set(FIRST_WORDS) == set(get_args(Action))
    with pytest.raises(extend.ArgumentError, match="action is 'dance'; expected one of add, update"):
        made("dance")  # type: ignore[arg-type]


@pytest.fixture(params=list(REPORTS))
def case(request: pytest.FixtureRequest) -> tuple[str, Report]:
    return request.param.partition(",")[0], REPORTS[request.param]()


def test_every_action_in_every_form(case: tuple[str, Report], tmp_path: Path) -> None:
    action, report = case
    text = str(report)
    assert report.action == action and text.startswith(FIRST_WORDS[action])
    assert ("new classes" in text) == (action in ("add", "split"))
    assert ("updated classes" in text) == (action == "update")
    assert "measured on" in text and "worst class" in text
    assert "\n  0 samples" not in text

    saved = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert saved["action"] == action and saved["classes"] == list(report.classes)
    assert (saved["new"] is not None) == (action in ("add", "update", "rename", "merge", "split"))
    assert saved["overall"] is not None and set(saved["intervals"]) >= {"overall"}

    report.save(tmp_path / "report.png")
    with Picture.open(tmp_path / "report.png") as picture:
        grey = np.asarray(picture.convert("L"))
    assert grey.shape[0] > 400 and grey.shape[1] > 1000
    for half in (grey[:, : grey.shape[1] // 2], grey[:, grey.shape[1] // 2 :]):
        assert len(np.unique(half)) > 20 and 0.005 < (half < 200).mean() < 0.5


def test_a_removal_compares_the_classes_that_stay() -> None:
    report = REPORTS["remove"]()
    stay = ("class 0", "class 2", "new")
    assert report.old == stay and report.before is not None and report.after is not None
    assert report.old_before == report.before.of(stay) and report.old_after == report.after.accuracy == report.overall
    assert "other classes before" in str(report) and "overall" not in str(report)
    assert report.new is None and report.confused() == []


def test_where_no_class_is_new_all_classes_are_compared() -> None:
    for action in ("calibrate", "retune", "adapt"):
        report = REPORTS[action]()
        assert "all classes before" in str(report) and "old classes" not in str(report)
        assert report.new is None and report.old_after == report.overall


@pytest.mark.parametrize("action", get_args(Action))
@pytest.mark.parametrize("before", [None, BEFORE])
def test_nothing_measured_has_a_text_and_no_picture(action: Action, before: Evaluation | None, tmp_path: Path) -> None:
    report = Report(action=action, classes=("c",), seconds=0.1, before=before)
    assert "nothing to measure on" in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["overall"] is None
    with pytest.raises(extend.ArgumentError, match="nothing was measured, so there is nothing to draw"):
        report.save(tmp_path / "report.png")
    assert not (tmp_path / "report.png").exists()


def test_names_that_would_be_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    odd = ("$\\frac$", "a$b^c$", "_")
    after = Evaluation(odd, np.eye(3, dtype=int), 0.1, 0.0)
    made("add", after=after, classes=odd[:1], method="$x^$").save(tmp_path / "odd.png")
    assert (tmp_path / "odd.png").is_file()


def test_many_classes_are_drawn(tmp_path: Path) -> None:
    many = tuple(f"class number {i}" for i in range(120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns where labels leave no room for the axes.
        made("wrap", after=Evaluation(many, np.eye(120, dtype=int), 0.1, 0.0), classes=many).save(tmp_path / "many.png")
    assert (tmp_path / "many.png").is_file()
