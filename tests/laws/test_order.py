"""Adding cat then dog = dog then cat = both at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extend
from extend.methods import Ridge
from tests.conftest import blobs, identity, names
from tests.laws.strategies import close


@pytest.mark.parametrize("method", ["lda", "ridge", Ridge(balanced=True), "nearest_mean", "auto"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), each=st.integers(2, 60), dim=st.integers(2, 8))
def test_order_does_not_matter(method: str | Ridge, seed: int, each: int, dim: int) -> None:
    x, y = blobs(5, each, dim, seed)
    base = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))
    cat, dog = x[y == 3], x[y == 4]
    one, _ = extend.add_classes(base, {"cat": cat}, method=method)
    one, _ = extend.add_classes(one, {"dog": dog}, method=method)
    two, _ = extend.add_classes(base, {"dog": dog}, method=method)
    two, _ = extend.add_classes(two, {"cat": cat}, method=method)
    both, _ = extend.add_classes(base, {"cat": cat, "dog": dog}, method=method)
    kernel, bias = one.head.dense(dim)
    for other in (two, both):
        place = [other.classes.index(name) for name in one.classes]
        other_kernel, other_bias = other.head.dense(dim)
        assert close(kernel, other_kernel[:, place], 2e-6)  # 1e-6 in float64, plus float32's own rounding
        assert close(bias, other_bias[place], 2e-6)
        scores = np.sort(one.decision_function(x), axis=1)
        clear = scores[:, -1] - scores[:, -2] > 1e-4 * np.abs(scores).max()
        assert np.array_equal(one.predict(x)[clear], other.predict(x)[clear])


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), each=st.integers(2, 60), dim=st.integers(2, 8))
def test_order_does_not_matter_to_gaussians(seed: int, each: int, dim: int) -> None:
    x, y = blobs(5, each, dim, seed)
    base = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))
    parts = {"cat": x[y == 3], "dog": x[y == 4]}
    one, two = base, base
    for name in ("cat", "dog"):
        one, _ = extend.add_classes(one, {name: parts[name]}, method="gaussian")
    for name in ("dog", "cat"):
        two, _ = extend.add_classes(two, {name: parts[name]}, method="gaussian")
    both, _ = extend.add_classes(base, parts, method="gaussian")
    for other in (two, both):
        place = [other.classes.index(name) for name in one.classes]
        assert close(one.decision_function(x), other.decision_function(x)[:, place], 1e-4)  # float32 squares
