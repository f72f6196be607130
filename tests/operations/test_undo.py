"""The last step is taken back, or it is said why it cannot be."""

from pathlib import Path

import numpy as np
import pytest

import extend
from extend.classifier import Classifier
from tests.conftest import blobs, names


@pytest.fixture
def clf() -> Classifier:
    x, y = blobs(3, 60, 5)
    return extend.wrap(lambda x: x, names(3), (x, y))


def test_every_step_that_can_be_is_taken_back(clf: Classifier, fourth: np.ndarray, tmp_path: Path) -> None:
    x, _ = blobs(4, 60, 5)
    steps = [
        lambda c: extend.add_classes(c, {"new": fourth})[0],
        lambda c: extend.rename_classes(c, {"new": "newer", "class 0": "first"})[0],
        lambda c: extend.calibrate(c, ("bias", "temperature"), new=["newer"])[0],
        lambda c: extend.retune(c)[0],
        lambda c: extend.rename_classes(c, {"newer": "newest"})[0],
    ]
    reached = [clf]
    for step in steps:
        reached.append(step(reached[-1]))
    extend.save(reached[-1], tmp_path / "saved")
    now = extend.load(tmp_path / "saved", lambda x: x)
    for before in reached[-2::-1]:
        now, report = extend.undo(now)
        assert report.action == "undo" and now.classes == before.classes and len(now.history) == len(before.history)
        assert np.allclose(now.predict_proba(x), before.predict_proba(x), atol=1e-5)
        assert now.recipe.method == before.recipe.method
    with pytest.raises(extend.ArgumentError, match=r"\(wrap .*cannot be undone: there is nothing before it"):
        extend.undo(now)


def test_what_cannot_be_taken_back_says_why(clf: Classifier, fourth: np.ndarray) -> None:
    wider = extend.add_classes(clf, {"new": fourth})[0]
    for changed, said in (
        (extend.update_classes(wider, {"new": fourth + 0.1})[0], "remove_samples"),
        (extend.merge_classes(wider, {"both": ["class 0", "new"]})[0], "split_class"),
        (extend.remove_classes(wider, "class 0")[0], "add_classes adds it again"),
        (
            extend.add_classes(clf, {"new": fourth, "class 0": fourth - 3}, on_existing="update")[0],
            r"remove_samples .*\(class 0\)",
        ),
    ):
        with pytest.raises(extend.ArgumentError, match=said):
            extend.undo(changed)
