"""Finding the head by running the model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from extend.backbone import FlaxBackbone
from tests.conftest import spec


class Misleading(nnx.Module):
    """The head comes first in the alphabet and another layer of its width last."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.a_head = nnx.Linear(3, 3, rngs=rngs)
        self.z_first = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.a_head(nnx.relu(self.z_first(x)))


class Shared(nnx.Module):
    """One head under two names."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.body = nnx.Linear(4, 6, rngs=rngs)
        self.classifier = nnx.Linear(6, 3, rngs=rngs)
        self.head = self.classifier

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.body(x)))


class Softmax(nnx.Module):
    """The head's output is not the model's."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.body = nnx.Linear(4, 6, rngs=rngs)
        self.out = nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return nnx.softmax(self.out(self.body(x)))


class Twice(nnx.Module):
    """The same layer is called two times."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.only = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.only(nnx.relu(self.only(x)))


class Convolutional(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = nnx.Conv(1, 3, (1, 1), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.conv(x).mean(axis=(1, 2))


def test_the_head_is_what_gives_the_output() -> None:
    backbone = FlaxBackbone.from_nnx(Misleading(nnx.Rngs(0)), 3, spec(4))
    assert backbone.description["head"] == "a_head"


def test_a_head_under_two_names() -> None:
    model = Shared(nnx.Rngs(0))
    backbone = FlaxBackbone.from_nnx(model, 3, spec(4))
    assert backbone.feature_dim == 6
    x = jnp.ones((2, 4))
    assert backbone.own_head is not None
    assert np.allclose(backbone.own_head.logits(backbone.apply(backbone.params, x)), model(x), atol=1e-6)


@pytest.mark.parametrize("model", [Softmax, Twice])
def test_no_head_lists_the_candidates(model: type) -> None:
    with pytest.raises(ValueError, match=r"the head was not found.*Pass head=.path. of one of: '\w+' \[\d, \d\]"):
        FlaxBackbone.from_nnx(model(nnx.Rngs(0)), 3, spec(4) if model is Softmax else spec(3))


def test_no_dense_layer_at_all() -> None:
    with pytest.raises(ValueError, match="no dense layer at all"):
        FlaxBackbone.from_nnx(Convolutional(nnx.Rngs(0)), 3, spec(8, 8, 1))


def test_the_user_names_the_head() -> None:
    assert FlaxBackbone.from_nnx(Softmax(nnx.Rngs(0)), 3, spec(4), head="out").feature_dim == 6
    with pytest.raises(ValueError, match="head='nose' is not a dense layer of this model; there are: 'body'"):
        FlaxBackbone.from_nnx(Softmax(nnx.Rngs(0)), 3, spec(4), head="nose")
    with pytest.raises(ValueError, match=r"head 'out' has kernel \[6, 3\], but there are 4 classes"):
        FlaxBackbone.from_nnx(Softmax(nnx.Rngs(0)), 4, spec(4), head="out")
    with pytest.raises(ValueError, match="called 2 times"):
        FlaxBackbone.from_nnx(Twice(nnx.Rngs(0)), 3, spec(3), head="only")


def test_no_class_is_patched_and_the_model_is_not_changed() -> None:
    model = Misleading(nnx.Rngs(0))
    before = nnx.Linear.__call__
    FlaxBackbone.from_nnx(model, 3, spec(4))
    assert nnx.Linear.__call__ is before
    assert type(model.a_head) is nnx.Linear
