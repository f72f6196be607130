"""Adopt a Flax NNX model that was trained elsewhere, teach it a class, save it, restore it."""

import flax.nnx as nnx
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_wine

import extend


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(13, 32, rngs=rngs)
        self.out = nnx.Linear(32, 2, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


inputs, labels = load_wine(return_X_y=True)
inputs = ((inputs - inputs.mean(axis=0)) / inputs.std(axis=0)).astype(np.float32)
old, new = labels < 2, labels == 2

# Somebody trained this on two wines, and has no more of them.
model = Net(nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)


@nnx.jit
def step(model, optimizer, x, y):
    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    optimizer.update(model, nnx.grad(loss)(model))


for _ in range(100):
    step(model, optimizer, jnp.asarray(inputs[old]), jnp.asarray(labels[old]))

# Wrapped once, while the data are there; from then on the memory stands for them.
clf = extend.wrap(model, ["barolo", "grignolino"], (inputs[old], labels[old]))
some = new & (np.arange(len(labels)) % 2 == 0)  # The others, and the old wines, measure.
wider, report = extend.add_classes(clf, {"barbera": inputs[some]}, validation=(inputs[~some], labels[~some]))
print(report)

extend.save(wider, "wines")
restored = extend.load("wines", model=Net(nnx.Rngs(0)))
assert np.array_equal(restored.decision_function(inputs), wider.decision_function(inputs))
assert report.overall > 0.9
