import numpy as np
from flax import nnx
from sklearn.linear_model import LogisticRegression

import extend
from extend.classifier import Evaluation
from extend.models import MLP
from extend.report import fine_tuning_advice
from tests.conftest import blobs, identity, names
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


def test_a_wide_feature_of_a_network_is_named_with_what_to_do() -> None:
    x, y = blobs(4, 40, 5)
    model = MLP(3, inputs=5, hidden=(8, 8), rngs=nnx.Rngs(0))
    model.layers[-1].kernel[...] = model.layers[-1].kernel[...].at[:, 6].multiply(1e6)
    model.layers[-1].bias[...] = model.layers[-1].bias[...].at[6].set(1e6)
    clf = extend.wrap(model, names(3), (x[y < 3], y[y < 3]))
    _, report = extend.add_classes(clf, {"class 3": x[y == 3]}, method="lda")
    (note,) = [note for note in report.notes if "spreads" in note]
    assert note.startswith("feature 6 (counted from 0) spreads ") and note.endswith("transform='standardise'")
    even = extend.wrap(model, names(3), (x[y < 3], y[y < 3]), transform="standardise")
    _, report = extend.add_classes(even, {"class 3": x[y == 3]}, method="lda")
    assert not [note for note in report.notes if "spreads" in note]


def test_a_feature_that_new_samples_make_wide_is_named_too() -> None:
    x, y = blobs(4, 40, 5)
    clf = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))
    new = x[y == 3] * np.float32([1, 1, 1, 1e4, 1])
    _, report = extend.add_classes(clf, {"class 3": new}, method="lda")
    assert report.notes[0].startswith("feature 3 (counted from 0) spreads ")
    assert "feature 3" in str(report)


def test_a_file_is_told_of_methods_that_standardise() -> None:
    x, y = blobs(4, 40, 5)
    wide = x * np.float32([1, 1e4, 1, 1, 1])
    model = LogisticRegression(max_iter=5).fit(wide[y < 3], np.asarray(names(3))[y[y < 3]])
    clf = extend.wrap(model, data=(wide[y < 3], np.asarray(names(3))[y[y < 3]]))
    _, report = extend.add_classes(clf, {"class 3": wide[y == 3]}, method="lda")
    assert report.notes[0].startswith("feature 1 (counted from 0)") and "method='svm'" in report.notes[0]
