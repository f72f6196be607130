"""The blend is what it says, of linear and of quadratic parts, and as good as the better part."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from extend.core.errors import ArgumentError
from extend.heads import LinearHead, QuadraticHead, class_weights
from extend.memory import Memory
from extend.methods import LDA, Blend, Gaussian, Logistic, Ridge, named
from extend.methods.blend import best_factors
from tests.methods.test_logistic import drawn, memory_of


def measured() -> tuple[Memory, np.ndarray]:
    x, y = drawn(60)
    held, truth = drawn(20)
    return memory_of(x, y, (held.astype(np.float32), truth)), x


@pytest.mark.parametrize(
    ("closed", "part", "kind"),
    [("gaussian", Gaussian(weight=6.0), QuadraticHead), ("lda", LDA(), LinearHead), ("ridge", Ridge(), LinearHead)],
)
def test_one_head_with_the_sum_of_both_parts(closed: str, part: object, kind: type) -> None:
    memory, x = measured()
    head = Blend(closed, 0.3, 0.9, strength=3.0, temperature=2.0).fit(memory)  # type: ignore[arg-type]
    assert isinstance(head, kind)
    expected = 0.3 * part.fit(memory).scores(x) + 0.9 * Logistic(3.0, 2.0).fit(memory).scores(x)  # type: ignore[attr-defined]
    assert np.allclose(head.scores(x), expected, atol=1e-3 * np.abs(expected).max())
    assert np.allclose(np.asarray(head.logits(x.astype(np.float32))), expected, atol=1e-3 * np.abs(expected).max())


def test_factors_are_those_of_lowest_log_loss() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 300)
    one, two = (1.5 * np.eye(5)[labels] + rng.normal(size=(300, 5)) for _ in range(2))
    two = 1e-4 * two
    doubt = 1 / 302
    target = np.where(np.eye(5)[labels] > 0, 1 - doubt, doubt / 4)

    def loss(factors: np.ndarray) -> float:
        shares = log_softmax(factors[0] * one + factors[1] * 1e4 * two, axis=1)
        return float(-class_weights(labels) @ (target * shares).sum(axis=1))

    found = minimize(loss, np.ones(2), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12}).x
    assert np.allclose(best_factors(one, two, labels), found * [1, 1e4], rtol=1e-2)


def test_a_part_that_knows_nothing_is_left_out() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 100)
    good, bad = np.eye(3)[labels] + 0.3 * rng.normal(size=(100, 3)), -np.eye(3)[labels]
    a, b = best_factors(good, bad, labels)
    assert a > 0 and b == 0
    assert np.isfinite(best_factors(np.zeros((100, 3)), np.zeros((100, 3)), labels)).all()


def test_what_it_chooses_is_frozen() -> None:
    memory, x = measured()
    method = Blend().frozen(memory)
    assert None not in (method.closed_factor, method.logistic_factor, method.strength, method.temperature)
    assert np.allclose(method.fit(memory).scores(x), Blend().fit(memory).scores(x), atol=0.5)
    assert named("blend") == Blend() and Blend("lda").title == "blend lda"


def test_without_held_out_rows_there_are_usual_shares() -> None:
    x, y = drawn()
    method = Blend().frozen(memory_of(x, y))
    assert method.temperature is not None
    assert (method.closed_factor, method.logistic_factor) == (pytest.approx(0.4 / method.temperature), 0.6)


@pytest.mark.parametrize("bad", [{"closed": "svm"}, {"closed_factor": 1.0}, {"strength": -1.0}])
def test_bad_settings(bad: dict) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        Blend(**bad)
