"""Single samples are taken out, and nothing of them stays where it can be told."""

from pathlib import Path

import numpy as np
import pytest

import extend
from extend.classifier import Classifier
from tests.conftest import blobs, names


def test_it_is_the_classifier_that_never_had_them(tmp_path: Path) -> None:
    x, y = blobs(3, 60, 5)
    gone = np.isin(np.arange(len(x)), [3, 70, 71, 130])
    clf, without = (
        extend.add_classes(
            extend.wrap(lambda x: x, names(3)[:2], (x[part & (y < 2)], y[part & (y < 2)])),
            {"class 2": x[part & (y == 2)]},
            method="logistic",
        )[0]
        for part in (np.ones(len(x), bool), ~gone)
    )
    left, report = extend.remove_samples(clf, x[gone], np.asarray(names(3))[y[gone]])
    assert left.memory is not None and without.memory is not None
    assert np.array_equal(left.memory.rows.keys, without.memory.rows.keys)
    assert np.array_equal(left.memory.rows.features, without.memory.rows.features)
    assert report.samples == 4 and report.action == "remove_samples" and "removed samples of" in str(report)
    extend.save(left, tmp_path / "left")
    stored = b"".join(file.read_bytes() for file in sorted((tmp_path / "left").rglob("*")) if file.is_file())
    assert not any(row.tobytes() in stored for row in x[gone])


def test_strangers_are_refused(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(extend.DataError, match="not among those that class 'class 0' was measured from"):
        extend.remove_samples(plain, {"class 0": fourth[:2]})
    with pytest.raises(extend.DataError, match="not one of"):
        extend.remove_samples(plain, {"cow": fourth[:2]})


def test_an_own_head_says_what_stays(network: Classifier) -> None:
    x, y = blobs(4, 40, 5)
    left, report = extend.remove_samples(network, {"class 1": x[y == 1][:3]})
    assert np.array_equal(left.decision_function(x), network.decision_function(x))
    assert any("own head and stays as it is" in note for note in report.notes)
