"""taps="auto", transform="auto", width="auto"."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import extend
from extend.models import MLP, ConvNet
from tests.conftest import blobs, identity, names, spec


def pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], 300)
    x = rng.normal(size=(900, 8, 8, 1)).astype(np.float32)
    x[np.arange(900), 2 * y, 2 * y] += 4
    return x, y


def test_all_three_are_chosen_and_the_history_tells_what_was_tried() -> None:
    x, y = pictures()
    model = ConvNet(3, rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), (x, y), taps="auto", transform="auto", width="auto", scatter="pooled")
    tried = clf.history[0].settings["tried"]
    assert [line.split()[0] for line in tried] == ["taps"] * 3 + ["transform"] * 3 + ["width"] * 3
    assert all("log-loss" in line for line in tried)
    best = max(float(line.split(": ")[1].split("%")[0]) for line in tried if line.startswith("taps"))
    taps = ", ".join(tap.path for tap in clf.backbone.space.taps) or "none"
    mine = next(float(line.split(": ")[1].split("%")[0]) for line in tried if line.startswith(f"taps {taps}:"))
    assert mine > best - 5  # An untrained network: taps are as good here.
    wider, _ = extend.add_classes(clf, {"new": x[y == 0] + 3})
    assert wider.classes[-1] == "new"


def test_what_is_given_stays() -> None:
    x, y = pictures()
    model = ConvNet(3, rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), (x, y), taps=("pooled",), transform="auto", scatter="pooled")
    assert [tap.path for tap in clf.backbone.space.taps] == ["pooled"] and clf.backbone.space.width is None
    assert all(line.startswith("transform") for line in clf.history[0].settings["tried"])


def test_layers_are_listed_in_the_order_of_their_calls() -> None:
    class Backwards(nnx.Module):
        def __init__(self) -> None:
            self.zeta, self.alpha = nnx.Linear(5, 7, rngs=nnx.Rngs(0)), nnx.Linear(7, 6, rngs=nnx.Rngs(1))
            self.twice, self.head = nnx.Linear(6, 6, rngs=nnx.Rngs(2)), nnx.Linear(6, 2, rngs=nnx.Rngs(3))

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.relu(self.alpha(nnx.relu(self.zeta(x))))
            return self.head(nnx.relu(self.twice(self.twice(x))))

    assert extend.FlaxBackbone.from_nnx(Backwards(), 2, spec(5)).layers == ("zeta", "alpha")


def test_linen_layers_can_be_tapped_automatically() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(nn.Dense(9, name="early")(x))
            return nn.Dense(3, name="out")(jnp.tanh(x))

    x, y = blobs(3, 200, 5)
    net = Net()
    clf = extend.wrap((net, net.init(jax.random.key(0), x[:1])), names(3), (x, y), taps="auto")
    assert clf.backbone.layers == ("early",) and clf.history[0].settings["tried"]


def test_without_held_out_rows_the_first_is_taken() -> None:
    x, y = blobs(3, 5, 5)
    clf = extend.wrap(identity, names(3), (x, y), transform="auto")
    assert clf.backbone.space.transform is None
    assert "no held-out rows" in clf.history[0].settings["tried"][0]


def test_what_automatic_choice_needs() -> None:
    x, y = blobs(3, 60, 5)
    with pytest.raises(ValueError, match="found no layer to tap"):
        extend.wrap(identity, names(3), (x, y), taps="auto")
    with pytest.raises(ValueError, match="'auto' chooses by the base data"):
        extend.wrap(MLP(3, inputs=5, rngs=nnx.Rngs(0)), names(3), inputs=spec(5), taps="auto")
