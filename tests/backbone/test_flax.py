"""Backbones give the features that the model itself computes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from extend.backbone import FlaxBackbone, Tap, Width
from extend.models import MLP, ConvNet, ResNet
from tests.conftest import spec

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dense(7, name="body")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, name="norm")(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3, name="out")(x)


def linen() -> tuple[Linen, dict]:
    return Linen(), Linen().init(jax.random.key(0), X, train=False)


@pytest.mark.parametrize("kind", ["nnx", "linen"])
def test_head_on_features_is_the_model(kind: str) -> None:
    if kind == "nnx":
        model = MLP(3, inputs=4, hidden=(8, 6), rngs=nnx.Rngs(0))
        backbone, expected = FlaxBackbone.from_nnx(model, 3, spec(4)), model(X)
    else:
        module, variables = linen()
        backbone = FlaxBackbone.from_linen(module, variables, 3, spec(4))
        expected = module.apply(variables, X, train=False)
    features = backbone.apply(backbone.params, jnp.asarray(X))
    assert features.shape == (5, backbone.feature_dim) and features.dtype == jnp.float32
    assert backbone.own_head is not None
    assert np.allclose(backbone.own_head.logits(features), expected, atol=1e-6)


def test_the_users_model_keeps_its_mode() -> None:
    class Noisy(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.body, self.drop = nnx.Linear(4, 50, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
            self.out = nnx.Linear(50, 3, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.out(self.drop(self.body(x)))

    model = Noisy(nnx.Rngs(0))
    model.train()
    backbone = FlaxBackbone.from_nnx(model, 3, spec(4))
    assert not model.drop.deterministic
    one, two = (backbone.apply(backbone.params, X) for _ in range(2))
    assert np.array_equal(one, two)


def test_taps_deliver_earlier_layers() -> None:
    model = ResNet(4, depth=8, width=4, rngs=nnx.Rngs(0))
    model.eval()
    backbone = FlaxBackbone.from_nnx(model, 4, spec(16, 16, 3), taps=["stage1", Tap("stage2.layers.0", 2)])
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    first = nnx.relu(model.norm(model.conv(x)))
    one = model.stage1(first)
    two = model.stage2.layers[0](one)
    pooled = [np.asarray(one).reshape(2, 4, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(2, -1)]
    pooled.append(np.asarray(two).reshape(2, 2, 4, 2, 4, 8).mean(axis=(2, 4)).reshape(2, -1))
    features = np.asarray(backbone.apply(backbone.params, x))
    assert backbone.penultimate == 16 and backbone.feature_dim == 16 + 64 + 32 == features.shape[1]
    assert np.allclose(features[:, 16:], np.concatenate(pooled, axis=1), atol=1e-5)


def test_linen_taps() -> None:
    module, variables = linen()
    backbone = FlaxBackbone.from_linen(module, variables, 3, spec(4), taps=["body"])
    features = np.asarray(backbone.apply(backbone.params, jnp.asarray(X)))
    body = X @ variables["params"]["body"]["kernel"] + variables["params"]["body"]["bias"]
    assert np.allclose(features[:, 7:], body, atol=1e-5)


def test_an_unknown_tap_lists_the_layers() -> None:
    with pytest.raises(ValueError, match=r"tap 'nose' is not a layer of this model; there are: .*conv1.*head"):
        FlaxBackbone.from_nnx(ConvNet(3, rngs=nnx.Rngs(0)), 3, spec(8, 8, 1), taps=["nose"])


def test_width_and_transform_leave_the_penultimate_part_to_the_own_head() -> None:
    model = MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    backbone = FlaxBackbone.from_nnx(model, 3, spec(4), width=Width(20, "fourier"))
    features = backbone.apply(backbone.params, jnp.asarray(X))
    assert features.shape == (5, 28) and backbone.offset == 8 and backbone.feature_dim == 28
    assert backbone.own_head is not None
    assert np.allclose(backbone.own_head.logits(features), model(X), atol=1e-6)


def test_the_fingerprint_tells_backbones_apart() -> None:
    def of(seed: int, **options: object) -> str:
        model = MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(seed))
        return FlaxBackbone.from_nnx(model, 3, spec(4), **options).fingerprint

    assert of(0) == of(0)
    assert len({of(0), of(1), of(0, transform="l2"), of(0, width=5), of(0, taps=["layers.0"])}) == 5
