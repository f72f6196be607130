"""remove(add(c, x)) = x: exact unlearning, also in the saved file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extend
from extend.data import Features
from extend.memory import Memory
from extend.methods import Ridge
from tests.conftest import blobs, identity, names
from tests.laws.strategies import Labelled, close, labelled


@given(labelled(fewest_classes=3))
def test_a_memory_forgets_a_class_entirely(data: Labelled) -> None:
    rows = data.y == len(data.names) - 1
    rest = Memory.of(data.part(~rows, -1))
    whole = Memory.of(Features(data.x, data.y, data.names, data.keys)).without(data.names[-1])
    assert whole.classes == rest.classes
    assert np.array_equal(whole.statistics.count, rest.statistics.count)
    assert close(whole.statistics.mean, rest.statistics.mean)
    assert close(whole.statistics.within, rest.statistics.within)
    assert sorted(map(bytes, whole.rows.features)) == sorted(map(bytes, rest.rows.features))


@pytest.mark.parametrize("method", ["lda", "ridge", Ridge(balanced=True), "nearest_mean"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), each=st.integers(2, 60), dim=st.integers(2, 8))
def test_removing_what_was_added_gives_the_classifier_back(method: str | Ridge, seed: int, each: int, dim: int) -> None:
    x, y = blobs(5, each, dim, seed)
    base = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))
    before, _ = extend.add_classes(base, {"dog": x[y == 4]}, method=method)
    added, _ = extend.add_classes(before, {"secret": x[y == 3]}, method=method)
    after, report = extend.remove_classes(added, "secret")
    assert after.classes == before.classes
    assert report.classes == ("secret",)
    for one, two in zip(before.head.dense(dim), after.head.dense(dim), strict=True):
        assert close(one, two, 2e-6)


def test_the_removed_class_is_gone_from_the_saved_file(tmp_path: Path) -> None:
    x, y = blobs(4, 80, 5)
    base = extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))
    added, _ = extend.add_classes(base, {"Rumpelstiltskin": x[y == 3]}, method="lda")
    added.save(tmp_path / "with")
    assert b"Rumpelstiltskin" in everything(tmp_path / "with")
    after, _ = extend.remove_classes(added, "Rumpelstiltskin")
    after.save(tmp_path / "without")
    assert b"Rumpelstiltskin" not in everything(tmp_path / "without")
    restored = extend.load(tmp_path / "without", model=identity)
    assert restored.memory is not None and added.memory is not None
    kept = {bytes(row) for row in restored.memory.rows.features}
    gone = {bytes(row) for row in added.memory.rows.features[added.memory.rows.labels == 3]}
    assert gone and not kept & gone


def everything(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
