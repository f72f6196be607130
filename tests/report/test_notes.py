import numpy as np

import extend
from extend.classifier import Evaluation
from extend.report import fine_tuning_advice
from tests.conftest import blobs, names
from tests.operations.test_adapt import HOW, start


def evaluation(right: int, of: int) -> tuple[Evaluation, Evaluation]:
    before = Evaluation(("a", "b"), np.array([[90, 10], [5, 95]]), 0.1, 0.0)
    after = Evaluation(("a", "b", "c"), np.array([[88, 10, 2], [5, 95, 0], [of - right, 0, right]]), 0.1, 0.0)
    return before, after


def test_it_is_given_where_new_classes_are_worse_beyond_chance() -> None:
    text = fine_tuning_advice(*evaluation(30, 50), ("c",), 10.0, False)
    assert text is not None and "reach 60.0%" in text and "had 92.5%" in text and "about 4 minutes" in text
    assert "the accuracy on all did not rise" in text and "joint" not in text
    assert "22 minutes" in (fine_tuning_advice(*evaluation(30, 50), ("c",), 60.0, True) or "")
    assert "22 seconds" in (fine_tuning_advice(*evaluation(30, 50), ("c",), 1.0, True) or "")
    assert "with all of old=, method='joint'" in (fine_tuning_advice(*evaluation(30, 50), ("c",), 10.0, True) or "")
    assert fine_tuning_advice(*evaluation(46, 50), ("c",), 10.0, True) is None
    assert fine_tuning_advice(*evaluation(2, 3), ("c",), 10.0, True) is None
    assert fine_tuning_advice(None, evaluation(1, 50)[1], ("c",), 10.0, True) is None


def test_auto_says_so_and_does_not_do_it() -> None:
    network = start()[0]
    x, y = blobs(4, 200, 5, spread=1.0)
    network, _ = extend.adapt(network, (x[y < 3], y[y < 3]), training=HOW)
    rng = np.random.default_rng(0)
    between = x[y < 3] + 0.3 * rng.normal(size=(600, 5))
    more, report = extend.add_classes(network, {"hard": between})
    assert any("method='fine_tune'" in note for note in report.notes)
    assert more.backbone.fingerprint == network.backbone.fingerprint
    _, within = extend.add_classes(network, {"hard": between}, max_forgetting=0.01)
    assert not any("fine_tune" in note for note in within.notes)  # It is the budget that keeps the new class down.
    plainly, other = extend.add_classes(network, {"hard": between}, method="lda")
    assert not any("fine_tune" in note for note in other.notes) and plainly.classes == (*names(3), "hard")
