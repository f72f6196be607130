"""New units against scikit-learn's logistic regression, and what happens without old classes."""

import numpy as np
import pytest
from flax import nnx
from scipy.optimize import minimize

import extend
from extend.data import Features
from extend.heads import LinearHead
from extend.memory import Memory
from extend.methods import NewUnits
from extend.models import MLP
from tests.conftest import blobs, names

X, Y = blobs(4, 60, 5, spread=1.5)
CLASSES = ("a", "b", "c", "d")
KEYS = np.arange(len(Y), dtype=np.uint64) + np.uint64(2**63)
EVERYTHING = Features(X, Y, CLASSES, KEYS)
RNG = np.random.default_rng(0)
HEAD = LinearHead.of(RNG.normal(size=(5, 3)), RNG.normal(size=3))


def test_the_new_column_minimises_the_stated_loss() -> None:
    """Against SciPy's minimiser of the same function in float64."""
    wider = NewUnits(old="exemplars", steps=3000, learning_rate=0.1, weight_decay=1e-4).fit(HEAD, None, EVERYTHING, 0)
    mean, spread = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    old = np.asarray(HEAD.logits(X), np.float64)
    scaled = (X - mean) / spread

    def loss(units: np.ndarray) -> float:
        scores = np.concatenate([old, (scaled @ units[:5] + units[5])[:, None]], axis=1)
        top = scores.max(axis=1)
        errors = top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - scores[np.arange(len(Y)), Y]
        return errors.mean() + 1e-4 * (units[:5] ** 2).sum() / old.std() ** 2

    best = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-8})
    expected = scaled @ best.x[:5] + best.x[5]
    assert np.allclose(np.asarray(wider.logits(X))[:, 3], expected, atol=0.02)


@pytest.mark.filterwarnings("ignore::extend.methods.ForgettingWarning")
def test_old_samples_prevent_what_their_absence_causes() -> None:
    x, y = blobs(4, 100, 5)
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    base = extend.wrap(model, names(3), (x[y < 3], y[y < 3]))
    base, _ = extend.add_classes(base, {"class 3": x[y == 3] + 20}, method="lda")  # A head that knows its classes.
    new = {"new": x[y == 3]}
    told, _ = extend.add_classes(base, new, method=NewUnits())
    naive, _ = extend.add_classes(base, new, method=NewUnits(old="absent"))
    old = (x[y < 3], y[y < 3])
    before = extend.evaluate(base, old).accuracy
    assert extend.evaluate(told, old).accuracy > before - 0.05
    assert extend.evaluate(naive, old).accuracy < 0.5


def test_it_refuses_what_it_cannot_do() -> None:
    memory = Memory.of(Features(X, Y, CLASSES, KEYS))
    with pytest.raises(ValueError, match="none of these is new"):
        NewUnits().fit(HEAD.append(np.zeros((5, 1)), np.zeros(1)), memory, EVERYTHING, 0)
    with pytest.raises(ValueError, match="needs real rows of every old class: pass old="):
        NewUnits(old="exemplars").fit(HEAD, memory, EVERYTHING.take(Y != 1), 0)
    with pytest.raises(ValueError, match="needs a memory"):
        NewUnits().fit(HEAD, None, EVERYTHING, 0)
    with pytest.raises(ValueError, match="expected old"):
        NewUnits(old="some")


def test_a_transform_under_the_own_head_is_refused() -> None:
    x, y = blobs(4, 40, 5)
    model = MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), (x[y < 3], y[y < 3]), transform="sqrt")
    with pytest.raises(ValueError, match="the old head acts on the penultimate features"):
        extend.add_classes(clf, {"d": x[y == 3]}, method="new_units")
    once, _ = extend.add_classes(clf, {"d": x[y == 3]}, method="lda")
    extend.add_classes(once, {"e": x[y == 3] + 9}, method="new_units")  # The closed form acts on the memory's features.
