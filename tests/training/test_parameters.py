import jax
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from extend.backbone import Backbone, FlaxBackbone, FunctionBackbone
from extend.models import MLP, ResNet
from extend.training.parameters import adapted, adapters, select
from tests.conftest import identity, spec


@pytest.fixture(scope="module")
def resnet() -> Backbone:
    return FlaxBackbone.from_nnx(ResNet(3, depth=8, width=4, rngs=nnx.Rngs(0)), 3, spec(8, 8, 3))


def test_by_name_and_by_pattern(resnet: Backbone) -> None:
    everything = select(resnet, "all")
    assert not any(name.startswith("head.") for name in everything)
    assert not any(name.endswith((".mean", ".var")) for name in everything)
    norm = select(resnet, "norm")
    assert norm and {name.rpartition(".")[2] for name in norm} == {"scale", "bias"}
    last = select(resnet, "last_block")
    assert last == select(resnet, "stage3") == select(resnet, "stage3.*") == select(resnet, lambda n: "stage3" in n)
    assert set(select(resnet, ("stage3", "norm"))) == {*last, *norm}
    assert select(resnet, "none") == ()


def test_linen_names_need_no_collection() -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            x = nn.relu(nn.Dense(6, name="first")(x))
            return nn.Dense(2, name="out")(nn.relu(nn.Dense(5, name="second")(x)))

    model = Net()
    backbone = FlaxBackbone.from_linen(model, model.init(jax.random.key(0), np.zeros((1, 4))), 2, spec(4))
    assert select(backbone, "first") == ("params.first.bias", "params.first.kernel")
    assert select(backbone, "last_block") == ("params.second.bias", "params.second.kernel")


def test_the_last_block_is_the_last_one_called() -> None:
    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.z_first = nnx.Linear(4, 6, rngs=rngs)
            self.a_last = nnx.Linear(6, 5, rngs=rngs)
            self.out = nnx.Linear(5, 2, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.out(self.a_last(nnx.relu(self.z_first(x))))

    backbone = FlaxBackbone.from_nnx(Net(nnx.Rngs(0)), 2, spec(4))
    assert select(backbone, "last_block") == ("a_last.bias", "a_last.kernel")
    mlp = FlaxBackbone.from_nnx(MLP(2, inputs=4, hidden=(8, 6), rngs=nnx.Rngs(0)), 2, spec(4))
    assert len(select(mlp, "last_block")) == 2 and select(mlp, "last_block")[0] == mlp.trainable[2]


def test_nothing_selected_lists_what_there_is(resnet: Backbone) -> None:
    with pytest.raises(ValueError, match=r"select='stage9' selects no parameter; there are .*stage3"):
        select(resnet, "stage9")
    with pytest.raises(ValueError, match="no parameters that can be trained"):
        select(FunctionBackbone.of(identity, spec(3)), "all")


def test_adapters_change_nothing_at_first_and_are_of_low_rank(resnet: Backbone) -> None:
    params = {name: resnet.params["network"][name] for name in select(resnet, "stage3")}
    made = adapters(params, 2, 0)
    assert all(np.ndim(params[name]) >= 2 for name in made)
    assert all(np.array_equal(value, params[name]) for name, value in adapted(params, made).items())
    name = next(iter(made))
    made[name]["up"] = np.ones_like(made[name]["up"])
    change = np.asarray(adapted(params, made)[name] - params[name])
    assert np.linalg.matrix_rank(change.reshape(-1, change.shape[-1]), tol=1e-4) <= 2
    with pytest.raises(ValueError, match="lora=2 adapts kernels"):
        adapters({"x.scale": np.ones(3)}, 2, 0)
