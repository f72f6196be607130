import numpy as np
import pytest
from flax import nnx

import extend
from extend.methods import Joint
from extend.models import MLP
from tests.conftest import blobs, names, spec


def test_all_data_again_is_the_upper_bound() -> None:
    x, y = blobs(4, 300, 5, spread=1.0)
    first = np.arange(len(y)) % 2 == 0
    old, new = first & (y < 3), first & (y == 3)
    model = MLP(3, inputs=5, hidden=(32, 16), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), (x[old], y[old]), keep=extend.Keep(exemplar_bytes=20 * 30))
    how = Joint(epochs=30, batch_size=64, learning_rate=1e-2)
    more, report = extend.add_classes(clf, {"new": x[new]}, old=(x[old], y[old]), method=how)
    frozen, _ = extend.add_classes(clf, {"new": x[new]})
    truth = np.asarray([*names(3), "new"])[y[~first]]
    joint, closed = ((c.predict(x[~first]) == truth).mean() for c in (more, frozen))
    assert joint > 0.9 and joint > closed
    assert report.method == "joint" and "estimated" not in report.measured_on
    assert more.memory is not None and more.memory.transported == () and more.memory.exemplars is not None
    assert more.memory.total.sum() == first.sum()


def test_what_it_may_call_unseen() -> None:
    x, y = blobs(4, 600, 5, spread=1.0)
    first, old = np.arange(len(y)) % 2 == 0, y < 3
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    held = (x[~first & old], y[~first & old])
    clf = extend.wrap(model, names(3), (x[first & old], y[first & old]), held_out=held, keep=extend.Keep(inverse=True))
    data = {"new": x[first & (y == 3)]}
    how = Joint(epochs=2, batch_size=64)
    again, _ = extend.add_classes(clf, data, old=(x[first & old], y[first & old]), method=how)
    other, _ = extend.add_classes(clf, data, old=held, method=how)
    assert again.memory is not None and again.memory.trained_on.tolist() == [True, True, True, False]
    assert other.memory is not None and other.memory.trained_on.tolist() == [False] * 4
    assert clf.memory is not None and len(again.memory.inverses) == len(clf.memory.inverses)


def test_it_needs_all_data() -> None:
    x, y = blobs(4, 40, 5)
    model = MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), inputs=spec(5))
    with pytest.raises(ValueError, match=r"joint trains on all data: .*'class 0' has none.*fine_tune"):
        extend.add_classes(clf, {"new": x[y == 3]}, method="joint")
    some = {"class 0": x[y == 0], "class 2": x[y == 2]}
    with pytest.raises(ValueError, match="'class 1' has none"):
        extend.add_classes(clf, {"new": x[y == 3]}, old=some, method="joint")
