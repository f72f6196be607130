"""Methods that train only new units leave every old parameter and every old logit bit-identical."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import extend
from extend.heads import LinearHead
from extend.methods import ForgettingWarning, NewUnits
from extend.models import MLP
from tests.conftest import blobs, names


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([16, 33, 64, 100]), st.integers(0, 1000))
def test_old_logits_keep_their_bits(old: int, new: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    head = LinearHead.of(rng.normal(size=(dim, old)), rng.normal(size=old))
    wider = head.append(rng.normal(size=(dim, new)), rng.normal(size=new))
    x = rng.normal(size=(64, dim)).astype(np.float32)
    logits = jax.jit(lambda h, rows: h.logits(rows))
    assert np.array_equal(np.asarray(logits(head, x)), np.asarray(logits(wider, x))[:, :old])
    assert np.array_equal(np.asarray(head.logits(jnp.asarray(x))), np.asarray(wider.logits(jnp.asarray(x)))[:, :old])


@pytest.mark.parametrize("how", ["samples", "exemplars", "absent"])
@pytest.mark.filterwarnings("ignore::extend.methods.ForgettingWarning")
def test_new_units_change_nothing_old(how: str) -> None:
    x, y = blobs(5, 40, 6)
    model = MLP(3, inputs=6, hidden=(16, 8), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), (x[y < 3], y[y < 3]))
    wider = clf
    for label in (3, 4):
        old = (x[y < label], [wider.classes[i] for i in y[y < label]]) if how == "exemplars" else None
        wider, _ = extend.add_classes(wider, {f"class {label}": x[y == label]}, method=NewUnits(old=how), old=old)
    assert np.array_equal(clf.decision_function(x), wider.decision_function(x)[:, :3])
    assert clf.backbone is wider.backbone
    assert wider.head.blocks[0] is clf.head.blocks[0]


def test_training_without_the_old_classes_warns() -> None:
    x, y = blobs(4, 40, 6)
    clf = extend.wrap(MLP(3, inputs=6, rngs=nnx.Rngs(0)), names(3), (x[y < 3], y[y < 3]))
    with pytest.warns(ForgettingWarning, match="most old samples will be taken for new ones"):
        extend.add_classes(clf, {"class 3": x[y == 3]}, method=NewUnits(old="absent"))
