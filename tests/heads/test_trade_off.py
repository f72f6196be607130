"""The trade-off against a loop over offsets, and the offset that a budget chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from extend.heads import checked_limit, conformal, effective_rows, place
from extend.heads.trade_off import trade_off


def case(seed: int, n: int = 80, m: int = 20, old: int = 3, new: int = 2, shift: float = 2.0) -> tuple:
    rng = np.random.default_rng(seed)
    labels, fresh_labels = rng.integers(0, old, n), rng.integers(old, old + new, m)
    scores, fresh = rng.normal(size=(n, old + new)), rng.normal(size=(m, old + new))
    scores[np.arange(n), labels] += shift
    fresh[np.arange(m), fresh_labels] += shift
    return scores, labels, rng.random(n) < 0.9, fresh, fresh_labels, old


def averaged(hit: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([hit[labels == c].mean() for c in np.unique(labels)]))


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 90), st.integers(1, 30))
def test_the_curve_is_what_every_offset_does(seed: int, n: int, m: int) -> None:
    scores, labels, was_right, fresh, fresh_labels, old = case(seed, n, m)
    curve = trade_off(scores, labels, was_right, fresh, fresh_labels, old)
    assert (np.diff(curve.offset) > 0).all() and (np.diff(curve.forgetting) >= -1e-12).all()
    for i in range(1, len(curve.offset)):
        raised = np.zeros(scores.shape[1])
        raised[old:] = curve.offset[i]
        right = (scores + raised).argmax(axis=1) == labels
        assert curve.forgetting[i] == pytest.approx(averaged(was_right & ~right, labels), abs=1e-9)
        assert curve.old[i] == pytest.approx(averaged(right, labels), abs=1e-9)
        hit = (fresh + raised).argmax(axis=1) == fresh_labels
        assert curve.new[i] == pytest.approx(averaged(hit, fresh_labels), abs=1e-9)
    raised = np.where(np.arange(scores.shape[1]) < old, 0.0, -1e9)
    right = (scores + raised).argmax(axis=1) == labels
    assert curve.forgetting[0] == pytest.approx(averaged(was_right & ~right, labels), abs=1e-9)


@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.05, 0.2]))
def test_the_largest_offset_within_the_budget(seed: int, asked: float) -> None:
    arguments = case(seed, 400, shift=5.0)
    found = place(asked, *arguments[:5], arguments[5], True)
    curve = found.curve
    assert curve is not None
    n = effective_rows(arguments[1], 3)
    assert found.met == (conformal(float(curve.forgetting[0]), n) <= asked)
    if found.met:
        assert found.guaranteed == pytest.approx(conformal(found.forgetting, n)) and found.guaranteed <= asked + 1e-9
        later = curve.offset > found.offset
        assert all(conformal(risk, n) > asked for risk in curve.forgetting[later])


def test_too_few_rows_estimate_and_say_what_they_could_guarantee() -> None:
    found = place(0.01, *case(0, 60, shift=9.0)[:5], 3, True)
    assert found.effective < 99 and found.guaranteed is not None and found.guaranteed > 0.01
    assert "1.0% is an estimate" in found.note and "takes 99 rows" in found.note
    nothing = place(0.0, *case(0, 400, shift=9.0)[:5], 3, True)
    assert nothing.forgetting == 0 and "takes no number of rows" in nothing.note


def test_rows_seen_by_the_backbone_guarantee_nothing() -> None:
    found = place(0.05, *case(0, 400, shift=9.0)[:5], 3, False)
    assert found.guaranteed is None and "no guarantee" in found.note and "nothing is guaranteed" in str(found)


def test_a_floor_above_the_budget_returns_the_best_and_says_so() -> None:
    scores, labels, was_right, fresh, fresh_labels, old = case(0, 400)
    wrong = scores.copy()
    wrong[np.arange(400), (labels + 1) % 3] += 50.0  # The old columns themselves are wrong now.
    found = place(0.05, wrong, labels, was_right, fresh, fresh_labels, old, True)
    assert (
        not found.met
        and found.forgetting == pytest.approx(found.forgetting_of_old_columns)
        and "no offset keeps within" in found.note
    )


def test_the_upper_bound_holds_in_95_of_100_runs() -> None:
    """Against the binomial law: rows that an order statistic chose, as the budget does."""
    truth, asked, n = [], 0.1, 99
    rng = np.random.default_rng(0)
    for _ in range(300):
        lead = rng.random(n)
        scores = np.stack([lead, np.zeros(n)], axis=1)
        found = place(asked, scores, np.zeros(n, int), np.ones(n, bool), scores[:0], np.zeros(0, int), 1, True)
        truth.append(found.offset <= found.upper + 1e-4)  # The lead is uniform: its law at the offset is the offset.
        assert np.isnan(found.curve.new).all()
    assert sum(truth) >= binom.ppf(1e-4, 300, 0.95)


@pytest.mark.parametrize("asked", [-0.1, 1.5, "much", None])
def test_what_is_no_share(asked: object) -> None:
    with pytest.raises(ValueError, match="share of the old examples from 0 to 1"):
        checked_limit(asked)


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**40])
def test_offsets_follow_the_size_of_the_scores(scale: float) -> None:
    scores, labels, was_right, fresh, fresh_labels, old = case(0, 400)
    one = place(0.05, scores, labels, was_right, fresh, fresh_labels, old, True)
    two = place(0.05, scores * scale, labels, was_right, fresh * scale, fresh_labels, old, True)
    assert two.offset == pytest.approx(one.offset * scale, rel=1e-9)
    assert two.forgetting == one.forgetting and two.guaranteed == one.guaranteed
    assert one.curve is not None and two.curve is not None
    assert np.array_equal(one.curve.new, two.curve.new) and np.array_equal(one.curve.forgetting, two.curve.forgetting)
