"""What a memory keeps, and what it refuses."""

import numpy as np
import pytest

import extend
from tests.conftest import blobs, names

X, Y = blobs(3, 300, 8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rows": 1}, "expected 0 for statistics alone, or a whole number from 2 on"),
        ({"rows": -3}, "rows is -3"),
        ({"rows": 2.5}, r"rows is 2\.5"),
        ({"dtype": "float64"}, "dtype is 'float64'; expected one of float32, float16, int8"),
        ({"exemplar_bytes": -1}, "exemplar_bytes is -1"),
        ({"most_bytes": "1 MB"}, "most_bytes is '1 MB'"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extend.Keep(**options)


def test_keep_is_one_of_ours() -> None:
    with pytest.raises(ValueError, match=r"expected extend.Keep\(...\)"):
        extend.wrap(lambda x: x, names(3), (X, Y), keep={"rows": 5})


def test_statistics_alone() -> None:
    clf = extend.wrap(lambda x: x, names(3), (X, Y), keep=extend.Keep(rows=0))
    assert clf.memory is not None and not len(clf.memory.training.features)
    assert clf.score(X, Y) > 0.9
    for method in ("logistic", "blend"):
        with pytest.raises(ValueError, match=r"keeps none of 'class 0': wrap with keep=extend.Keep\(rows=200\)"):
            extend.add_classes(clf, {"new": X[Y == 0] + 9}, method=method)
    more, _ = extend.add_classes(clf, {"new": X[Y == 0] + 9})
    assert more.score(X, Y) > 0.9 and (more.predict(X[Y == 0] + 9) == "new").mean() > 0.9


@pytest.mark.parametrize("dtype, share", [("float16", 0.6), ("int8", 0.45)])
def test_rows_in_fewer_bytes_do_as_well(dtype: str, share: float) -> None:
    whole, less = (extend.wrap(lambda x: x, names(3), (X, Y), keep=extend.Keep(dtype=d)) for d in ("float32", dtype))
    wide = np.random.default_rng(0).normal(size=(900, 64)).astype(np.float32)
    wide[:, 0] += 5 * Y
    sizes = [
        extend.wrap(lambda x: x, names(3), (wide, Y), scatter="pooled", keep=extend.Keep(dtype=d)).memory.rows
        for d in ("float32", dtype)
    ]
    assert sizes[1].stored_bytes(dtype) < share * sizes[0].stored_bytes("float32")
    assert abs(less.score(X, Y) - whole.score(X, Y)) < 0.01


def test_a_memory_beyond_its_limit_is_refused_before_the_work() -> None:
    calls = []

    def features(batch: np.ndarray) -> np.ndarray:
        calls.append(len(batch))
        return batch

    with pytest.raises(
        ValueError, match=r"the memory would take at least .* bytes, and most_bytes is 1,000: keep fewer"
    ):
        extend.wrap(lambda x: x, names(3), (X, Y), keep=extend.Keep(most_bytes=1000))
    clf = extend.wrap(features, names(3), (X, Y), keep=extend.Keep(most_bytes=40_000))
    before = len(calls)
    with pytest.raises(ValueError, match="most_bytes is 40,000"):
        extend.add_classes(clf, {str(i): X + i + 9 for i in range(5)})
    assert len(calls) == before


def test_equal_samples() -> None:
    """A class whose samples are all equal, and two classes of equal samples, in every method of the default call."""
    same, other = np.repeat(X[:1], 20, axis=0), np.repeat(X[:1] + 5, 20, axis=0)
    clf = extend.wrap(lambda x: x, names(3), (X, Y))
    more, report = extend.add_classes(clf, {"one": other})
    assert more.memory is not None and more.memory.statistics.count[-1] == 20
    assert (more.predict(other) == "one").all() and report.new is None  # One sample, twenty times.
    both = extend.wrap(lambda x: x, ["a", "b"], {"a": same, "b": other})
    assert both.predict(np.concatenate([same[:1], other[:1]])).tolist() == ["a", "b"]
    twice = extend.wrap(lambda x: x, ["a", "b", "c"], {"a": same, "b": same, "c": other})
    assert np.isfinite(twice.predict_proba(X)).all() and twice.predict(other[:1]).tolist() == ["c"]


def test_a_class_of_a_million_beside_one_sample() -> None:
    rng = np.random.default_rng(0)
    large = rng.normal(size=(1_000_000, 2)).astype(np.float32)
    clf = extend.wrap(lambda x: x, ["large", "one"], {"large": large, "one": np.float32([[9, 9]])})
    assert clf.predict(np.float32([[9, 9], [0, 0]])).tolist() == ["one", "large"]
    assert clf.memory is not None and clf.memory.nbytes < 10_000


def test_a_hundred_thousand_classes_of_one_sample() -> None:
    x = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    clf = extend.wrap(lambda x: x, [str(i) for i in range(len(x))], (x, [str(i) for i in range(len(x))]))
    more, report = extend.add_classes(clf, {"new": np.float32([[50, 50, 50, -50]])})
    assert more.predict(np.float32([[50, 50, 50, -50]])).tolist() == ["new"] and report.new is None
