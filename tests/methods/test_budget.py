"""The budget from the user's side: halves, estimates, appended columns, offsets that stay."""

from dataclasses import replace

import numpy as np
import pytest
from flax import nnx

import extend
from extend.heads import Calibrated, LinearHead, place
from extend.methods import LDA
from extend.models import MLP
from tests.conftest import blobs, identity, names, several_labels, spec


def wide(each: int = 400, spread: float = 1.3, seed: int = 0) -> tuple[extend.Classifier, np.ndarray, np.ndarray]:
    """Three overlapping classes with `each` held-out rows that nothing has seen, and all rows of five classes."""
    x, y = blobs(5, 2 * each, 6, seed, spread)
    old, held = y < 3, np.arange(len(y)) % 2 == 1
    clf = extend.wrap(identity, names(3), (x[old & ~held], y[old & ~held]), held_out=(x[old & held], y[old & held]))
    return clf, x, y


@pytest.mark.parametrize("asked", [0.01, 0.05])
@pytest.mark.parametrize("method", ["auto", "lda", "gaussian"])
def test_the_budget_is_kept_on_fresh_data(asked: float, method: str) -> None:
    clf, x, y = wide()
    wider, report = extend.add_classes(clf, {"new": x[y == 3]}, method=method, max_forgetting=asked)
    assert report.budget is not None and report.budget.met and report.budget.upper is not None
    if asked == 0.05:
        assert report.budget.guaranteed is not None and report.budget.guaranteed <= asked + 1e-9
        assert report.forgetting_total == pytest.approx(report.budget.guaranteed)
        assert f"turns at most {report.budget.guaranteed:.1%} of old examples wrong" in str(report)
    fresh, label = blobs(5, 4000, 6, 0, 1.3)
    label, fresh = label[label < 3], fresh[label < 3] + 0
    right = clf.predict(fresh) == np.asarray(clf.classes)[label]
    lost = right & (wider.predict(fresh) != np.asarray(clf.classes)[label])
    assert np.mean([lost[label == c].mean() for c in range(3)]) < report.budget.upper + 0.01


def test_a_larger_budget_recalls_more_of_the_new_class() -> None:
    clf, x, y = wide()
    found = []
    for asked in (0.005, 0.02, 0.1):
        wider, _ = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=asked, spend=True)
        found.append((wider.predict(x[y == 3]) == "new").mean())
    assert found[0] < found[1] < found[2]


def test_the_rows_that_choose_the_method_do_not_calibrate() -> None:
    clf, x, y = wide()
    assert clf.memory is not None
    _, auto = extend.add_classes(clf, {"new": x[y == 3]}, max_forgetting=0.02)
    _, fixed = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=0.02)
    assert auto.budget is not None and fixed.budget is not None
    half = int((clf.memory.held_out_keys & np.uint64(1)).sum())
    assert auto.budget.rows == half and fixed.budget.rows == half
    linear = replace(clf, head=LDA().fit(clf.memory))
    _, appended = extend.add_classes(linear, {"new": x[y == 3]}, method="new_units", max_forgetting=0.02)
    assert appended.budget is not None and appended.budget.rows == len(clf.memory.held_out[0])
    assert appended.budget.guaranteed is not None and appended.budget.guaranteed <= 0.02


def test_where_half_is_too_few_the_method_is_fixed_beforehand() -> None:
    clf, x, y = wide(each=60)
    _, report = extend.add_classes(clf, {"new": x[y == 3]}, max_forgetting=0.01)
    assert report.method == "lda" and "all held-out rows are needed" in report.reason
    assert report.budget is not None and report.budget.rows == 180


def test_offsets_stay_when_more_classes_come_and_the_sum_is_told(tmp_path: object) -> None:
    clf, x, y = wide()
    one, first = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=0.02)
    two, second = extend.add_classes(one, {"other": x[y == 4]}, method="lda", max_forgetting=0.02)
    assert isinstance(one.head, Calibrated) and isinstance(two.head, Calibrated)
    assert one.head.offset[3] == two.head.offset[3] and two.head.offset[4] != 0
    assert first.forgetting_total is not None and second.budget is not None and second.forgetting_total is not None
    assert second.forgetting_total == pytest.approx(first.forgetting_total + second.budget.guaranteed)
    two.save(tmp_path)
    restored = extend.load(tmp_path, model=identity)
    assert np.array_equal(restored.decision_function(x), two.decision_function(x)) and restored.history == two.history
    three, _ = extend.add_classes(two, {"last": x[y == 4] + 9}, method="lda")
    assert isinstance(three.head, Calibrated) and np.array_equal(three.head.offset[:5], two.head.offset)


def test_where_solved_anew_old_columns_cost_too_much_columns_are_appended() -> None:
    """A network that is right where LDA on its first layer is not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    new = (rng.normal(size=(300, 2)) * 0.2 + 6).astype(np.float32)

    class Corners(nnx.Module):
        """Exact on the sign of a product; its penultimate features are |a + b| and |a - b|, in a ring for LDA."""

        def __init__(self) -> None:
            self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
            self.head.kernel[...] = np.array([[-9.0, 9.0], [0.0, 0.0], [0.0, 0.0]], np.float32)

        def __call__(self, x: object) -> object:
            import jax.numpy as jnp

            product = x[:, :1] * x[:, 1:]
            spikes = jnp.sign(product) * 1e-3 + 30 * product * (jnp.abs(product) > 1.5)
            return self.head(jnp.concatenate([spikes, x], axis=1))

    held = np.arange(len(y)) % 2 == 1
    clf = extend.wrap(Corners(), ["minus", "plus"], (x[~held], y[~held]), held_out=(x[held], y[held]))
    plainly, _ = extend.add_classes(clf, {"new": new}, method="nearest_mean")
    assert (plainly.predict(x) == np.asarray(clf.classes)[y]).mean() < 0.97
    wider, report = extend.add_classes(clf, {"new": new}, method="nearest_mean", max_forgetting=0.01)
    assert report.budget is not None and report.budget.met
    assert report.method == "new_units" and "appended to the old head" in report.reason
    assert (wider.predict(x) == np.asarray(clf.classes)[y]).mean() > 0.97


def test_held_out_rows_of_no_class_measure_nothing() -> None:
    x, y = blobs(4, 40, 5)
    clf = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]), held_out=0)
    _, report = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=0.05)
    assert report.budget is not None and not report.budget.met and "nothing could be measured" in report.budget.note


@pytest.mark.parametrize("asked", [-0.01, 1.01, "1%"])
def test_a_budget_that_is_no_share(asked: object, plain: extend.Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a share of the old examples from 0 to 1"):
        extend.add_classes(plain, {"new": fourth}, max_forgetting=asked)


def test_a_budget_needs_a_new_class(plain: extend.Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="none of these is new"):
        extend.add_classes(plain, {"class 0": fourth}, on_existing="update", max_forgetting=0.1)


def test_the_picture_and_the_numbers_hold_the_curve(tmp_path: object) -> None:
    from pathlib import Path

    clf, x, y = wide()
    _, report = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=0.02)
    curve = report.to_dict()["budget"]["curve"]
    assert len(curve["offset"]) == len(curve["old"]) == len(curve["new"]) <= 200
    report.save(Path(str(tmp_path)) / "report.png")
    assert (Path(str(tmp_path)) / "report.png").stat().st_size > 20_000


def test_a_calibration_that_changes_nothing_is_left_out() -> None:
    head = LinearHead.of(np.eye(2), np.zeros(2))
    assert Calibrated.of(head).plain() is head and head.plain() is head


@pytest.mark.parametrize("second", ["ridge", "lda", "nearest_mean", "auto"])
def test_offsets_follow_the_size_of_the_scores(second: str) -> None:
    """Another method's scores are of another size: an offset of the first must not drown the class."""
    clf, x, y = wide()
    for first in ("lda", "nearest_mean", "ridge"):
        one, _ = extend.add_classes(clf, {"d": x[y == 3]}, method=first, max_forgetting=0.05)
        two, _ = extend.add_classes(one, {"e": x[y == 4] + 20}, method=second)
        before, after = ((c.predict(x[y == 3]) == "d").mean() for c in (one, two))
        assert after > 0.4, (first, before, after)


def test_rows_that_chose_the_feature_space_calibrate_no_budget() -> None:
    x, y = blobs(4, 600, 6, 0, 1.3)
    old, held = y < 3, np.arange(len(y)) % 2 == 1
    clf = extend.wrap(
        identity, names(3), (x[old & ~held], y[old & ~held]), held_out=(x[old & held], y[old & held]), transform="auto"
    )
    assert clf.memory is not None and clf.memory.held_out_used
    _, report = extend.add_classes(clf, {"new": x[y == 3]}, method="lda", max_forgetting=0.05)
    assert report.budget is not None and report.budget.rows == int((~clf.memory.choosing).sum())


def test_trained_methods_see_no_held_out_row() -> None:
    x, y = blobs(2, 120, 300, spread=8.0)
    more = blobs(3, 120, 300, spread=8.0)[0][240:]
    fresh = np.random.default_rng(1).normal(size=(400, 300)).astype(np.float32) * 8 + more.mean(axis=0)
    clf = extend.wrap(identity, names(2), (x, y))
    _, report = extend.add_classes(clf, {"new": more}, method="svm")
    wider, _ = extend.add_classes(clf, {"new": more}, method="svm")
    assert report.new is not None
    assert abs(report.new - (wider.predict(fresh) == "new").mean()) < 0.25


def test_a_floor_near_the_budget_guarantees_nothing() -> None:
    labels = np.zeros(150, int)
    scores = np.stack([np.ones(150), np.zeros(150), np.zeros(150)], axis=1)
    scores[:3, 1] = 2.0  # Three of 150 are wrong whatever the offset.
    found = place(0.04, scores, labels, np.ones(150, bool), scores[:0], labels[:0], 2, True)
    assert found.effective == 0 and found.guaranteed is None  # The second class has no rows.
    both = np.concatenate([scores, scores[:, [1, 0, 2]]])
    found = place(0.03, both, np.repeat([0, 1], 150), np.ones(300, bool), scores[:0], labels[:0], 2, True, False)
    assert found.met and found.guaranteed is None and "solved anew" in found.note


def test_samples_that_join_an_old_class_are_told_apart_from_new_ones() -> None:
    clf, x, y = wide()
    _, report = extend.add_classes(clf, {"class 0": x[y == 0], "new": x[y == 3]}, method="lda", on_existing="update")
    assert report.classes == ("new",) and "class 0" in report.notes[0]


def test_classes_that_do_not_exclude_each_other_stay_so() -> None:
    clf, x = several_labels()
    more, report = extend.add_classes(clf, {"c": x[160:]})
    assert report.method == "new_units" and "do not exclude each other" in report.reason
    assert "the likeliest class alone counts" in report.measured_on
    p = more.predict_proba(x)
    assert not more.head.link.exclusive and np.array_equal(more.decision_function(x)[:, :2], clf.decision_function(x))
    assert (p[160:, 2] > 0.5).mean() > 0.9 and (p[:160, 2] < 0.5).mean() > 0.9
    for method in ("lda", "ridge", "gaussian", "nearest_mean", "svm"):
        with pytest.raises(ValueError, match=r"gives every input one class .* use auto, new_units or imprint"):
            extend.add_classes(clf, {"c": x[160:]}, method=method)
    with pytest.raises(ValueError, match="none of these is new: only fine_tune, and joint"):
        extend.add_classes(clf, {"a": x[:20]}, on_existing="update")
    bare, _ = extend.add_classes(replace(clf, memory=None), {"c": x[160:]})
    assert not bare.head.link.exclusive and np.array_equal(bare.decision_function(x)[:, :2], clf.decision_function(x))


def test_columns_beside_a_sigmoid_that_reads_other_features() -> None:
    """The model's own head reads the penultimate features, and the memory describes the transformed ones."""
    x, y = blobs(4, 120, 5)
    old = {"a": x[y == 0], "b": x[y == 1], "c": x[y == 2]}
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, list(old), old, activation="sigmoid", transform="standardise", inputs=spec(5))
    more, report = extend.add_classes(clf, {"d": x[y == 3]})
    p = more.predict_proba(x)[:, 3]
    assert report.method == "new_units" and np.array_equal(more.decision_function(x)[:, :3], clf.decision_function(x))
    assert (p[y == 3] > 0.5).mean() > 0.9 and (p[y < 3] < 0.5).mean() > 0.9


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.05, 0.1, 0.3, 1.0])
def test_a_limit_never_forgets_more_than_none(limit: float) -> None:
    """Six overlapping classes and one more, judged on 500 fresh samples of each."""
    rng, names = np.random.default_rng(0), list("abcdefg")
    centre = rng.normal(size=(7, 32)) * 0.42

    def draw(n: int, classes: range) -> tuple[np.ndarray, np.ndarray]:
        y = np.repeat(np.asarray(classes), n)
        return (rng.normal(size=(len(y), 32)) + centre[y]).astype(np.float32), y

    clf = extend.wrap(identity, names[:6], draw(300, range(6)), held_out=draw(50, range(6)))
    new, (test, y) = draw(200, range(6, 7))[0], draw(500, range(6))
    truth = np.asarray(names)[y]
    free, _ = extend.add_classes(clf, {"g": new})
    bound, report = extend.add_classes(clf, {"g": new}, max_forgetting=limit)
    assert (bound.predict(test) == truth).mean() >= (free.predict(test) == truth).mean()
    assert report.budget is not None and report.budget.offset <= 0
    spent, _ = extend.add_classes(clf, {"g": new}, max_forgetting=limit, spend=True)
    assert (spent.predict(test) == "g").mean() >= (bound.predict(test) == "g").mean()


def test_what_a_limit_may_be(plain: extend.Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(extend.ArgumentError, match=r"such as 0.01 \(5 % is 0.05\)"):
        extend.add_classes(plain, {"new": fourth}, max_forgetting=5)
    with pytest.raises(extend.ArgumentError, match="give that too"):
        extend.add_classes(plain, {"new": fourth}, spend=True)
