"""Memory beyond the laws: sampling, held-out features, strengths, saving."""

from dataclasses import replace

import numpy as np
import pytest

from extend.data import Features
from extend.memory import Exemplars, Fisher, Memory, gcv
from extend.memory import statistics as module
from extend.memory.serialise import to_tree
from extend.memory.strengths import oas
from tests.conftest import blobs


def memory_of(scatter: str = "class", each: int = 200, dim: int = 4, **options: object) -> Memory:
    x, y = blobs(3, each, dim)
    keys = np.random.default_rng(0).integers(0, 2**64, len(y), dtype=np.uint64)
    return Memory.of(Features(x, y, ("a", "b", "c"), keys), scatter=scatter, **options)


@pytest.mark.parametrize("scatter", ["class", "pooled"])
def test_samples_have_the_class_mean_and_covariance(scatter: str) -> None:
    memory = memory_of(scatter)
    drawn = memory.sample("b", 200_000, seed=1).astype(np.float64)
    known = memory.statistics
    if scatter == "class":
        covariance = known.scatter(1) / (known.count[1] - 1)
    else:
        covariance = known.within / (known.count.sum() - 3)
    assert np.allclose(drawn.mean(axis=0), known.mean[1], atol=0.01)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.02)


def test_classes_of_a_pooled_scatter_share_one_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, done = memory_of("pooled"), []
    monkeypatch.setattr(module, "eigh", lambda matrix: done.append(len(matrix)) or np.linalg.eigh(matrix))
    for name in memory.classes:
        memory.sample(name, 3)
    assert done == [4]


def test_samples_from_an_exact_factor_stay_in_its_span() -> None:
    memory = memory_of(each=5, dim=30)
    scatters = memory.statistics.scatters
    assert scatters is not None and scatters[0].ndim == 2
    drawn = memory.sample("a", 50).astype(np.float64) - memory.statistics.mean[0]
    outside = drawn - drawn @ np.linalg.pinv(scatters[0]) @ scatters[0]
    assert np.abs(outside).max() < 1e-4


def test_samples_depend_on_the_name_and_the_seed_alone() -> None:
    memory = memory_of()
    reordered = memory.without("a")
    assert np.array_equal(memory.sample("c", 9, seed=3), reordered.sample("c", 9, seed=3))
    assert not np.array_equal(memory.sample("c", 9, seed=3), memory.sample("c", 9, seed=4))


def test_a_user_sets_the_number_of_held_out_features() -> None:
    keys = np.arange(3 * 200, dtype=np.uint64)  # All of them candidates.
    x, y = blobs(3, 200, 4)
    for most in (0, 7, 50):
        memory = Memory.of(Features(x, y, ("a", "b", "c"), keys), max_held_out=most)
        assert np.bincount(memory.held_out[1], minlength=3).tolist() == [most] * 3
        assert memory.statistics.count.tolist() == [200 - most] * 3


def test_held_out_features_given_by_the_user_stay_apart() -> None:
    memory = memory_of()
    x, y = blobs(3, 80, 4, seed=5)
    given = memory.with_held_out(x, y, np.arange(len(y), dtype=np.uint64))
    assert np.array_equal(given.held_out[0], x)
    assert given.statistics.count.tolist() == [200] * 3
    assert not given.trained_on.any()


def test_a_class_that_grows_past_ten_begins_to_hold_out() -> None:
    keys = np.arange(12, dtype=np.uint64)
    x, y = blobs(1, 12, 4)
    small = Memory.of(Features(x[:6], y[:6], ("a",), keys[:6]))
    assert len(small.held_out[0]) == 0 and small.statistics.count.tolist() == [6]
    grown = small + Memory.of(Features(x[6:], y[6:], ("a",), keys[6:]))
    assert len(grown.held_out[0]) == 6 and grown.statistics.count.tolist() == [6]  # Never more than half.


def test_pooled_scatter_says_what_it_cannot_do() -> None:
    memory = memory_of("pooled", each=400)
    with pytest.raises(ValueError, match='scatter="class"'):
        memory.without("a")
    with pytest.raises(ValueError, match='scatter="class"'):
        memory.statistics.scatter(0)


def test_different_feature_spaces_do_not_add() -> None:
    with pytest.raises(ValueError, match="different feature spaces"):
        memory_of(dim=4) + memory_of(dim=5)


def test_an_unknown_class_is_named() -> None:
    with pytest.raises(ValueError, match="no class 'z'; there are a, b, c"):
        memory_of().without("z")


@pytest.mark.parametrize("scatter", ["class", "pooled"])
def test_it_knows_how_many_bytes_it_takes_in_a_checkpoint(scatter: str) -> None:
    memory = memory_of(scatter).with_strengths()
    more = Exemplars(800).add(
        (np.zeros((6, 5), np.float32),), np.repeat([0, 1, 2], 2), np.arange(6, dtype=np.uint64), np.tile([0, 1], 3), 3
    )
    full = replace(memory.recursive(), exemplars=more, fisher=Fisher(2, {"w": np.ones(7, np.float32)}))
    few = memory_of(scatter, each=2, dim=9)
    for one in (memory, full, few, few + memory_of(scatter, each=30, dim=9)):
        assert one.nbytes == sum(array.nbytes for array in to_tree(one)[0].values())


def test_strengths_are_those_of_the_statistics_and_inverses_follow() -> None:
    memory = memory_of()
    chosen = memory.with_strengths()
    assert (chosen.shrinkage, chosen.ridge) == (oas(memory.statistics), gcv(memory.statistics)) and not chosen.inverses
    kept = memory.with_inverses(3.0).with_strengths()
    assert [inverse.strength for inverse in kept.inverses] == [kept.shared_strength()[0], kept.ridge]


def test_the_limit_of_exemplars() -> None:
    memory = memory_of()
    assert memory.with_exemplar_limit(None) is memory
    limited = memory.with_exemplar_limit(100)
    assert limited.exemplars is not None and limited.exemplars.limit == 100
    assert limited.with_exemplar_limit(None) is limited and limited.with_exemplar_limit(0).exemplars is None
