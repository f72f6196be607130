"""Imprinting: no memory, no old sample."""

import numpy as np
import pytest
from flax import nnx

import extend
from extend.cli import digits as demo
from extend.data import Features
from extend.heads import LinearHead, QuadraticHead
from extend.methods import Imprint, NewUnits
from tests.conftest import spec


def collapsed(seed: int = 0) -> tuple[LinearHead, np.ndarray, np.ndarray]:
    """Six classes at the corners of a simplex, the head of the first five, as neural collapse has it."""
    rng = np.random.default_rng(seed)
    corners = 4 * np.linalg.qr(rng.normal(size=(12, 6)))[0].T
    y = np.repeat(np.arange(6), 60)
    x = (corners[y] + 0.3 * rng.normal(size=(len(y), 12)) + 1.0).astype(np.float32)
    centred = corners[:5] - corners[:5].mean(axis=0)
    kernel = 0.6 * centred.T
    return LinearHead.of(kernel, -(corners[:5].mean(axis=0) + 1.0) @ kernel), x, y


def test_old_scores_keep_their_bits_and_most_are_kept_right() -> None:
    head, x, y = collapsed()
    new = Features(x[y == 5], y[y == 5], tuple("abcdef"), np.arange(60, dtype=np.uint64))
    wider = Imprint().fit(head, None, new, 0)
    assert np.array_equal(np.asarray(wider.logits(x))[:, :5], np.asarray(head.logits(x)))
    predicted = wider.scores(x).argmax(axis=1)
    assert (predicted == y)[y < 5].mean() > 0.95 and (predicted == y)[y == 5].mean() > 0.5


def test_inputs_like_neither_stay_with_the_old_classes_where_there_is_room() -> None:
    head, x, y = collapsed()
    rng = np.random.default_rng(0)
    middle, corners = x[y < 5].mean(axis=0), [x[y == i].mean(axis=0) for i in range(5)]
    between = 4 * (corners[0] + corners[1] - 2 * middle)  # Far out, and as much of the first as of the second.
    fresh = (middle + between + 0.3 * rng.normal(size=(60, 12))).astype(np.float32)
    new = Features(fresh, y[y == 5], tuple("abcdef"), np.arange(60, dtype=np.uint64))
    wider = Imprint().fit(head, None, new, 0)
    neither = (middle + 0.3 * rng.normal(size=(200, 12))).astype(np.float32)
    assert (wider.scores(neither).argmax(axis=1) < 5).mean() > 0.95
    assert (wider.scores(fresh).argmax(axis=1) == 5).mean() > 0.95


def test_a_larger_budget_takes_more_for_new() -> None:
    head, x, y = collapsed()
    new = Features(x[y == 5], y[y == 5], tuple("abcdef"), np.arange(60, dtype=np.uint64))
    scores = [Imprint(budget).fit(head, None, new, 0).scores(x)[:, 5] for budget in (0.0, 0.05, 0.5)]
    assert (scores[0] < scores[1]).all() and (scores[1] < scores[2]).all()


def test_far_better_than_new_columns_on_new_data_alone_on_digits() -> None:
    """The shipped network, its memory thrown away: 8, then 9."""
    base = extend.load(demo.shipped("digits-0-7"))
    assert base.backbone.own_head is not None
    bare = extend.Classifier(base.backbone, base.backbone.own_head, base.classes)
    clf, steps = demo.add_8_then_9(bare, 0, "auto")
    with pytest.warns(extend.methods.ForgettingWarning):
        _, naive = demo.add_8_then_9(bare, 0, NewUnits(old="absent"))
    assert [step.method for step in steps] == ["imprint", "imprint"]
    assert steps[-1].overall is not None and naive[-1].overall is not None
    assert steps[-1].overall > naive[-1].overall + 0.4
    assert steps[-1].old_after is not None and steps[-1].old_after > 0.9 and len(clf.classes) == 10


def test_a_budget_without_memory_is_kept_on_the_pseudo_sample_and_says_so() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    clf = extend.wrap(extend.models.MLP(3, inputs=4, rngs=nnx.Rngs(0)), ["a", "b", "c"], inputs=spec(4))
    _, report = extend.add_classes(clf, {"d": x}, max_forgetting=0.05)
    assert report.budget is not None and report.budget.guaranteed is None
    assert "pseudo-sample" in str(report) and report.method == "imprint"
    with pytest.raises(ValueError, match="there is no memory"):
        extend.add_classes(clf, {"d": x}, method="new_units", max_forgetting=0.05)


def test_bad_settings_and_heads() -> None:
    for wrong in ({"budget": -0.1}, {"budget": 2.0}, {"margin": 0.0}, {"draws": 0}):
        with pytest.raises(ValueError, match="expected budget"):
            Imprint(**wrong)
    head, x, y = collapsed()
    old = Features(x[y == 4], y[y == 4], tuple("abcde"), np.arange(60, dtype=np.uint64))
    with pytest.raises(ValueError, match="none of these is new"):
        Imprint().fit(head, None, old, 0)
    gaussians = QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]])
    new = Features(x[:5, :1], np.full(5, 2), tuple("abc"), np.arange(5, dtype=np.uint64))
    with pytest.raises(ValueError, match="linear head"):
        Imprint().fit(gaussians, None, new, 0)
