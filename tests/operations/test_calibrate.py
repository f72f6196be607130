from dataclasses import replace

import numpy as np
import pytest

import extend
from extend.heads import Calibrated
from extend.heads.links import SIGMOID
from extend.methods import NearestMean
from tests.conftest import blobs, identity, names


def unsure(spread: float = 1.6) -> tuple[extend.Classifier, np.ndarray, np.ndarray]:
    """Four overlapping classes, 600 samples each; held-out rows that nothing has seen."""
    x, y = blobs(4, 1200, 6, spread=spread)
    first, second = np.arange(len(y)) % 2 == 0, np.arange(len(y)) % 2 == 1
    old = y < 3
    held_out = (x[second & old], y[second & old])
    clf = extend.wrap(identity, names(3), (x[first & old], y[first & old]), held_out=held_out)
    clf, _ = extend.add_classes(clf, {"new": x[first & (y == 3)]}, method="ridge")
    return clf, x[second], y[second]


def test_temperature_lowers_the_calibration_error_on_fresh_data() -> None:
    clf, x, y = unsure()
    better, report = extend.calibrate(clf)
    labelled = (x, [clf.classes[i] for i in y])
    before, after = extend.evaluate(clf, labelled), extend.evaluate(better, labelled)
    assert after.ece < before.ece / 2 and after.log_loss < before.log_loss
    assert np.array_equal(clf.predict(x), better.predict(x))
    assert report.before is not None and report.after is not None and report.after.ece < report.before.ece
    assert "calibration error" in str(report) and report.to_dict()["ece"][1] < report.to_dict()["ece"][0]


def test_bias_and_weights_are_applied_to_the_new_class_alone() -> None:
    clf, x, _ = unsure()
    better, _ = extend.calibrate(clf, ("weights", "bias"))
    assert np.allclose(better.decision_function(x)[:, :3], clf.decision_function(x)[:, :3], atol=1e-5)
    assert not np.allclose(better.decision_function(x)[:, 3], clf.decision_function(x)[:, 3])
    assert better.history[-1].action == "calibrate"


def test_a_calibrated_classifier_is_saved_and_goes_on(tmp_path: object) -> None:
    clf, x, _ = unsure()
    better, _ = extend.calibrate(clf, ("bias", "temperature"))
    better.save(tmp_path)
    restored = extend.load(tmp_path, model=identity)
    assert (
        np.array_equal(restored.decision_function(x), better.decision_function(x))
        and restored.history == better.history
    )
    smaller, _ = extend.remove_classes(restored, "new")
    assert smaller.classes == tuple(names(3))


def test_what_calibration_needs() -> None:
    clf, _, _ = unsure()
    with pytest.raises(ValueError, match="expected some of 'weights', 'bias', 'temperature'"):
        extend.calibrate(clf, ("heat",))
    with pytest.raises(ValueError, match="no class 'cow'"):
        extend.calibrate(clf, ("bias",), new=["cow"])
    with pytest.raises(ValueError, match="say which are new"):
        extend.calibrate(clf, ("bias",), new=clf.classes)


def test_retune_chooses_what_wrapping_all_data_would() -> None:
    x, y = blobs(4, 40, 8)
    clf = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]), held_out=0)
    clf, _ = extend.add_classes(clf, {"class 3": x[y == 3]}, method="lda")
    whole = extend.wrap(identity, names(4), (x, y), held_out=0)
    tuned, report = extend.retune(clf)
    assert clf.memory is not None and tuned.memory is not None and whole.memory is not None
    assert clf.memory.shrinkage != tuned.memory.shrinkage
    assert tuned.memory.shrinkage == pytest.approx(whole.memory.shrinkage)
    assert tuned.memory.ridge == pytest.approx(whole.memory.ridge)
    assert report.action == "retune" and tuned.history[-1].method == "lda"
    again, _ = extend.add_classes(tuned, {"more": x[:30] + 9}, method="lda")
    assert again.memory is not None and again.memory.shrinkage == tuned.memory.shrinkage


def test_retune_needs_a_memory_and_a_closed_form() -> None:
    x, y = blobs(3, 40, 5)
    from flax import nnx

    from extend.models import MLP
    from tests.conftest import spec

    bare = extend.wrap(MLP(2, inputs=5, rngs=nnx.Rngs(0)), names(2), inputs=spec(5))
    with pytest.raises(ValueError, match="has none"):
        extend.retune(bare)
    with pytest.raises(ValueError, match="has none"):
        extend.calibrate(bare)
    network = extend.wrap(MLP(2, inputs=5, rngs=nnx.Rngs(0)), names(2), (x[y < 2], y[y < 2]))
    with pytest.raises(ValueError, match="no strength to choose"):
        extend.retune(network)


def test_retune_after_calibrate_and_after_a_budget() -> None:
    clf, _, _ = unsure()
    better, _ = extend.calibrate(clf)
    tuned, report = extend.retune(better)
    assert tuned.history[-1].method == "ridge" and not report.notes
    x, _ = blobs(1, 60, 6, seed=5)
    budgeted, _ = extend.add_classes(clf, {"more": x}, method="lda", max_forgetting=0.05)
    assert "earlier budgets" in extend.retune(budgeted)[1].notes[0]


def test_aligning_twice_is_aligning_once() -> None:
    clf, x, _ = unsure()
    once, _ = extend.calibrate(clf, ("weights",))
    twice, _ = extend.calibrate(once, ("weights",), new=["new"])
    assert np.allclose(once.decision_function(x), twice.decision_function(x), atol=1e-5)


def test_bias_needs_held_out_rows_of_both_sides_and_sigmoid_is_refused() -> None:
    x, y = blobs(3, 60, 6)
    clf = extend.wrap(identity, names(2), (x[y < 2], y[y < 2]))
    few, _ = extend.add_classes(clf, {"few": x[y == 2][:8]}, method="lda")
    with pytest.raises(ValueError, match="one of them has none"):
        extend.calibrate(few, ("bias",), new="few")
    inner = replace(Calibrated.of(clf.head).head, link=SIGMOID)
    with pytest.raises(ValueError, match="sigmoid"):
        extend.calibrate(replace(clf, head=inner))


def test_a_function_whose_head_was_chosen_is_fitted_again_with_its_settings() -> None:
    """Rows of very different length, so that nearest means by the angle are chosen: not the method's default."""
    rng = np.random.default_rng(0)
    length = np.exp(rng.uniform(np.log(0.01), np.log(50), (600, 1)))
    y = np.repeat([0, 1, 2], 200)
    x = ((rng.normal(size=(3, 3))[y] + 0.5 * rng.normal(size=(600, 3))) * length).astype(np.float32)
    clf = extend.wrap(identity, names(3), (x, y))
    assert clf.recipe.method == "nearest_mean" and clf.recipe.settings["metric"] == "cosine"
    tuned, _ = extend.retune(clf)
    assert tuned.recipe.settings.items() >= clf.recipe.settings.items()
    assert np.array_equal(tuned.decision_function(x), clf.decision_function(x))
    smaller, _ = extend.remove_classes(clf, "class 1")
    expected = NearestMean("cosine").fit(smaller.memory).dense(3)[0]
    assert np.array_equal(Calibrated.of(smaller.head).head.dense(3)[0], expected)
