"""Reports: the figures, the table, the dict, the picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import extend
from extend.classifier import Classifier, Evaluation
from extend.report import Report

CLASSES = ("a", "b", "c")


def evaluation(classes: tuple[str, ...], confusion: list[list[int]]) -> Evaluation:
    return Evaluation(classes, np.asarray(confusion), 0.1, 0.02)


def report(**changes: object) -> Report:
    before = evaluation(("a", "b"), [[9, 1], [0, 10]])
    after = evaluation(CLASSES, [[8, 0, 2], [1, 9, 0], [0, 1, 19]])
    values: dict = {
        "action": "add",
        "classes": ("c",),
        "method": "lda",
        "reason": "",
        "before": before,
        "after": after,
        "forgetting_since_learnt": 0.1,
        "measured_on": "held-out features",
        "seconds": 0.5,
        "fit_seconds": 0.002,
        "samples": 200,
        "bytes": 1000,
    }
    return Report(**{**values, **changes})


def test_figures_are_the_confusions() -> None:
    r = report()
    assert r.old_before == 19 / 20 and r.old_after == 17 / 20 and r.new == 19 / 20 and r.overall == 36 / 40
    assert r.forgetting == pytest.approx(0.1)
    assert r.worst == ("a", 0.8) and r.n_measured == 40
    assert r.confused() == [("a", "c", 2), ("c", "b", 1)]
    low, high = r.intervals()["new"]
    assert low < 0.95 < high


def test_the_dict_is_json_with_the_stated_keys() -> None:
    saved = json.loads(json.dumps(report().to_dict()))
    for key in ("classes", "method", "old_before", "old_after", "new", "overall", "forgetting", "seconds"):
        assert key in saved
    assert saved["measured_on"] == "held-out features" and saved["n_measured"] == 40


def test_the_table_shows_them() -> None:
    text = str(report(notes=("mind this",)))
    for part in ("added c with lda", "95.0%", "85.0%", "+10.00 points", "a as c 2", "note: mind this", "fit 2 ms"):
        assert part in text


def test_nothing_measured_is_said(tmp_path: Path) -> None:
    r = report(before=None, after=None, forgetting_since_learnt=None, measured_on="nothing")
    assert r.overall is None and r.forgetting is None and "nothing to measure on" in str(r)
    with pytest.raises(ValueError, match="nothing was measured"):
        r.save(tmp_path / "x.png")


def test_only_new_classes_measured() -> None:
    r = report(before=None, after=evaluation(CLASSES, [[0] * 3, [0] * 3, [0, 1, 3]]))
    assert r.new == 0.75 and r.old_after is None and r.forgetting is None
    assert "new classes" in str(r) and "old classes after" not in str(r)


def test_the_picture_is_a_png(tmp_path: Path, plain: Classifier, fourth: np.ndarray) -> None:
    _, made = extend.add_classes(plain, {"new": fourth})
    with pytest.raises(ValueError, match=r"give a name that ends in \.png"):
        made.save(tmp_path / "r.html")
    made.save(tmp_path / "r.png")
    with Picture.open(tmp_path / "r.png") as picture:
        assert picture.format == "PNG" and picture.size[0] > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_the_worst_class_is_the_one_most_surely_bad() -> None:
    """One row, wrong, says less than four of four."""
    after = Evaluation(("a", "b", "c"), np.array([[0, 1, 0], [2, 0, 2], [0, 0, 30]]), 0.1, 0.0)
    report = Report(action="add", classes=("c",), method="lda", after=after, seconds=0.1)
    assert report.worst == ("b", 0.0)
