"""Heads do the same at any scale of the features and with a common offset, through the public call."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

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
    assert base.memory is not None
    base = replace(base, head=LDA().fit(base.memory))  # What auto takes depends on the very bytes of a sample too.
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


def tenfold() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ten classes that scikit-learn's LDA tells apart: 80 samples each to learn from, 60 each to test on."""
    rng = np.random.default_rng(0)
    centres = 0.9 * rng.normal(size=(10, 32))
    y, truth = (np.repeat(np.arange(10), each) for each in (80, 60))
    return rng.normal(size=(800, 32)) + centres[y], y, rng.normal(size=(600, 32)) + centres[truth], truth


@pytest.mark.parametrize(("scale", "offset"), [(1e-20, 0.0), (1e-8, 0.0), (1e8, 0.0), (1.0, 1e4), (1.0, 1e6)])
@pytest.mark.parametrize("method", ["auto", "nearest_mean", LDA(empirical_bayes=False), "ridge", "svm"], ids=str)
def test_it_is_as_accurate_as_scikit_learn(method: str | Method, scale: float, offset: float) -> None:
    x, y, test, truth = tenfold()
    x, test = ((part * scale + offset).astype(np.float32) for part in (x, test))
    # At 1e6, float32 inputs are a sixteenth apart, which is all that there is to learn from.
    reference = LinearDiscriminantAnalysis().fit((x.astype(np.float64) - offset) / scale, y)
    expected = reference.score((test.astype(np.float64) - offset) / scale, truth)
    old, said = y < 8, np.asarray(names(10))
    clf = extend.wrap(identity, names(8), (x[old], y[old]))
    clf, _ = extend.add_classes(clf, (x[~old], said[y[~old]]), method=method)
    assert (clf.predict(test) == said[truth]).mean() > expected - 0.012


@pytest.mark.parametrize("method", ["auto", "lda", "gaussian", "nearest_mean", "svm"])
def test_a_wide_column_drowns_no_other(method: str) -> None:
    x, y, test, truth = tenfold()
    stretch = np.ones(32)
    stretch[7] = 1e5
    expected = LinearDiscriminantAnalysis().fit(x * stretch, y).score(test * stretch, truth)
    old, said = y < 8, np.asarray(names(10))
    base = extend.wrap(identity, names(8), ((x[old] * stretch).astype(np.float32), y[old]))
    assert base.backbone.space.transform == "standardise"
    (told,) = base.recipe.settings["tried"]
    assert told.startswith("transform standardise: feature 7 spreads ")
    new = (x[~old] * stretch).astype(np.float32), said[y[~old]]
    clf, report = extend.add_classes(base, new, method=method)
    found = clf.predict((test * stretch).astype(np.float32))
    assert (found == said[truth]).mean() > expected - 0.012 and not report.notes


@pytest.mark.parametrize("method", [LDA(), Gaussian(), SVM(), Ridge()], ids=str)
def test_a_head_about_a_centre_comes_back_bit_for_bit(method: Method, tmp_path: Path) -> None:
    x, y = blobs(4, 30, 5)
    x += np.float32(1e5)
    clf = extended(x, y, method)
    extend.save(clf, tmp_path / "here")
    again = extend.load(tmp_path / "here", identity)
    assert np.array_equal(again.decision_function(x), clf.decision_function(x))


def test_columns_appended_to_a_head_about_a_centre_leave_its_bits() -> None:
    x, y = blobs(4, 30, 5)
    x += np.float32(1e5)
    clf = extended(x, y, LDA())
    wider, _ = extend.add_classes(clf, {"more": x[:20] + 9}, method=NewUnits(steps=20))
    assert clf.head.blocks[0].centre is not None and wider.head.as_linear().blocks[1].centre is not None
    assert np.array_equal(wider.decision_function(x)[:, :4], clf.decision_function(x))
