"""Heads do the same at any scale of the features and with a common offset, through the public call."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extend
from extend.classifier import Classifier
from extend.methods import LDA, SVM, Gaussian, Imprint, Method, NearestMean, NewUnits, Ridge
from tests.conftest import blobs, identity, names

SCALED: list[Method] = [
    LDA(),
    LDA(empirical_bayes=False),
    LDA(1.0),
    Ridge(),
    Ridge(balanced=True),
    Ridge(intercept=False),
    NearestMean(),
    NearestMean("cosine"),
    NearestMean(shrinkage=0.5),
    Gaussian(),
    Gaussian("fecam"),
    SVM(),
]
SHIFTED = [m for m in SCALED if m not in (Ridge(intercept=False), NearestMean("cosine"))]
"""Angles, and planes through 0, do depend on where 0 is."""
TRAINED: list[Method] = [SVM(), NewUnits("exemplars", steps=50)]


def extended(x: np.ndarray, y: np.ndarray, method: Method) -> Classifier:
    """Three classes, and one more by a method; nothing is held out, as that depends on the very bytes of a sample.

    What trains on rows is given real ones: random draws follow eigenvectors, which rounding may turn.
    """
    known = (x[y < 3], y[y < 3])
    base = extend.wrap(identity, names(3), known, held_out=0)
    return extend.add_classes(base, {"class 3": x[y == 3]}, method=method, old=known if method in TRAINED else None)[0]


@pytest.mark.parametrize("method", SCALED, ids=str)
@settings(max_examples=3)
@given(
    seed=st.integers(0, 1000),
    each=st.integers(3, 40),
    dim=st.integers(2, 8),
    power=st.sampled_from([-66, -27, -14, 14, 27, 60]),
)
def test_the_scale_does_not_matter(method: Method, seed: int, each: int, dim: int, power: int) -> None:
    """From 1e-20 to 1e18 times the features, by a power of two, so that no digit of them changes."""
    x, y = blobs(4, each, dim, seed, spread=2.0)
    scale = np.float32(2.0**power)
    one, two = extended(x, y, method), extended(x * scale, y, method)
    np.testing.assert_allclose(two.predict_proba(x * scale), one.predict_proba(x), atol=2e-5)


@pytest.mark.parametrize("method", SHIFTED, ids=str)
@settings(max_examples=3)
@given(seed=st.integers(0, 1000), each=st.integers(3, 40), dim=st.integers(2, 8), power=st.sampled_from([10, 14, 20]))
def test_a_common_offset_does_not_matter(method: Method, seed: int, each: int, dim: int, power: int) -> None:
    """Up to 1e6 times the spread; features on a grid, so that float32 holds their sum with the offset exactly."""
    x, y = blobs(4, each, dim, seed, spread=2.0)
    x = np.round(x * 8) / 8
    offset = np.float32(2.0**power)
    assert np.array_equal((x + offset) - offset, x)
    one, two = extended(x, y, method), extended(x + offset, y, method)
    np.testing.assert_allclose(two.predict_proba(x + offset), one.predict_proba(x), atol=2e-4)


@pytest.mark.parametrize("method", [TRAINED[1], Imprint()], ids=str)
@pytest.mark.parametrize(("scale", "offset"), [(2.0**-27, 0.0), (2.0**27, 0.0), (1.0, 2.0**14)])
def test_appended_columns_follow_scale_and_offset(method: Method, scale: float, offset: float) -> None:
    x, y = blobs(4, 30, 5, spread=2.0)
    x = np.round(x * 8) / 8
    moved = x * np.float32(scale) + np.float32(offset)
    one, two = extended(x, y, method), extended(moved, y, method)
    np.testing.assert_allclose(two.predict_proba(moved), one.predict_proba(x), atol=1e-3)
