import numpy as np
import pytest
from flax import nnx

import extend
from extend import data
from extend.memory import exemplar_samples, held_out_rows
from extend.memory.herding import herd
from tests.conftest import blobs, identity, names, spec


def test_exemplars_are_the_herded_samples_and_none_is_held_out() -> None:
    x, y = blobs(3, 100, 5)
    clf = extend.wrap(identity, names(3), (x, y), keep=extend.Keep(exemplar_bytes=3 * 7 * 20))
    assert clf.memory is not None
    kept = exemplar_samples(clf.memory, clf.backbone.inputs)
    assert kept is not None and np.bincount(kept.labels).tolist() == [7] * 3
    samples = data.read((x, y, tuple(names(3))), spec(5))
    free = ~held_out_rows(samples.keys, samples.labels)
    for c in range(3):
        rows = np.flatnonzero((y == c) & free)
        assert np.array_equal(kept.inputs[kept.labels == c], x[rows[herd(x[rows], 7)]])


def test_pictures_and_arrays_mix() -> None:
    from extend.models import ResNet

    rng = np.random.default_rng(0)
    image = extend.Image(8, 8, mean=(0.5,), std=(0.25,), values="normalised")
    pictures = rng.integers(0, 255, (60, 8, 8, 3)).astype(np.uint8)
    model = ResNet(2, depth=8, width=4, rngs=nnx.Rngs(0))
    labels = np.repeat([0, 1], 30)
    clf = extend.wrap(model, ["a", "b"], (pictures, labels), inputs=image, keep=extend.Keep(exemplar_bytes=100 * 192))
    more, _ = extend.add_classes(clf, {"c": image.normalise(pictures[:30])})
    assert more.memory is not None
    kept = exemplar_samples(more.memory, image)
    assert kept is not None and kept.inputs.dtype == np.float32
    rows = [np.flatnonzero(kept.labels == c)[0] for c in (0, 2)]
    assert all(np.abs(kept.inputs[row]).max() <= 2.01 for row in rows)


def test_the_limit_can_be_changed(network: extend.Classifier, fourth: np.ndarray) -> None:
    x, y = blobs(4, 40, 5)
    clf = extend.wrap(network.backbone, names(3), (x[y < 3], y[y < 3]), keep=extend.Keep(exemplar_bytes=3 * 20))
    with pytest.raises(ValueError, match="give a larger exemplars="):
        extend.add_classes(clf, {"new": fourth}, method="lda")
    none, _ = extend.add_classes(clf, {"new": fourth}, method="lda", exemplars=0)
    more, _ = extend.add_classes(clf, {"new": fourth}, method="lda", exemplars=400)
    assert none.memory is not None and none.memory.exemplars is None
    assert more.memory is not None and more.memory.exemplars is not None
    assert np.bincount(more.memory.exemplars.labels).tolist() == [1, 1, 1, 5]
    with pytest.raises(ValueError, match="taken from data="):
        extend.wrap(network.backbone, names(3), keep=extend.Keep(exemplar_bytes=100))


def test_a_closed_form_addition_keeps_exemplars_too(network: extend.Classifier, fourth: np.ndarray) -> None:
    x, y = blobs(4, 40, 5)
    clf = extend.wrap(network.backbone, names(3), (x[y < 3], y[y < 3]), keep=extend.Keep(exemplar_bytes=12 * 20))
    more, report = extend.add_classes(clf, {"new": fourth})
    assert more.memory is not None and more.memory.exemplars is not None
    assert np.bincount(more.memory.exemplars.labels).tolist() == [3] * 4
    smaller, _ = extend.remove_classes(more, names(3)[1])
    assert smaller.memory is not None and smaller.memory.exemplars is not None
    assert np.bincount(smaller.memory.exemplars.labels).tolist() == [3] * 3
    gone = more.memory.exemplars.keys[more.memory.exemplars.labels == 1]
    assert not np.isin(gone, smaller.memory.exemplars.keys).any()
    assert report.bytes > 12 * 20
    with pytest.raises(ValueError, match="less than one input a class"):
        extend.wrap(network.backbone, names(3), (x[y < 3], y[y < 3]), keep=extend.Keep(exemplar_bytes=30))


def test_herding_follows_the_scale() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)) + 1
    assert np.array_equal(herd(rows * 2.0**-70, 8), herd(rows, 8))
    assert len(herd(np.zeros((3, 2)), 3)) == 3
