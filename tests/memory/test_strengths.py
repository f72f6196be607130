"""The units, the centre and the wide feature, which strengths and heads are measured by."""

import numpy as np
import pytest

from extend.memory import held_centre, spreads, unit_scatter, wide_feature
from extend.memory.statistics import measure
from extend.memory.strengths import average_scatter, gcv, oas, shared_strength

RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], 20)
X = RNG.normal(size=(60, 4)) * [1, 2, 3, 4] + 5 * RNG.normal(size=(3, 4))[Y]


@pytest.mark.parametrize("power", [-70, 60])
def test_strengths_follow_the_square_of_the_scale(power: int) -> None:
    known, scaled = (measure(x, Y, 3, "pooled") for x in (X, X * 2.0**power))
    for strength in (oas, gcv, unit_scatter, lambda s: shared_strength(s, None)[0]):
        assert strength(scaled) == pytest.approx(strength(known) * 4.0**power, rel=1e-9)
    assert np.allclose(spreads(known), X.std(axis=0))


def test_equal_samples_are_measured_by_what_lies_between_the_classes() -> None:
    x = np.float32([[1e6, 0.1], [1e6 + 1, 0.3], [1e6 + 7, 0.7]])[Y]
    known = measure(x, Y, 3, "pooled")
    assert average_scatter(known) == 0
    between = ((x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)) ** 2).sum() / 2
    assert unit_scatter(known) == pytest.approx(between) and oas(known) == pytest.approx(between)
    assert shared_strength(known, None) == (pytest.approx(between), 0.0)
    assert unit_scatter(measure(np.full((60, 2), 1e6 / 3), Y, 3, "pooled")) == 1


def test_a_centre_is_held_where_a_feature_lies_far_from_0() -> None:
    centre, spread = np.array([3.0, -20.0]), np.ones(2)
    assert held_centre(centre, spread) is centre
    assert not held_centre(centre, 2 * spread).any()


def test_the_widest_feature_is_named_where_it_is_a_hundred_times_the_median() -> None:
    assert wide_feature(np.array([1.0, 0.0, 1.0, 101.0, 0.5])) == (3, pytest.approx(101))
    assert wide_feature(np.array([1.0, 0.0, 1.0, 99.0, 0.5])) is None and wide_feature(np.zeros(3)) is None
