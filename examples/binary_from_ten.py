"""A yes-or-no classifier out of a ten-class one: three digits are positive, seven negative."""

import numpy as np
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import extend
from extend.models import ConvNet
from extend.training import Phase, Recipe, train

images, labels = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
x, x_test, y, y_test = train_test_split(images, labels, test_size=0.25, stratify=labels, random_state=0)

# The ten-class network.
network = train(ConvNet(10, rngs=nnx.Rngs(0)), x, y, Recipe((Phase(20),), batch_size=32, learning_rate=0.05))
ten = extend.wrap(network, [str(digit) for digit in range(10)], (x, y))

# Its head is replaced by one for two classes, and the ten labels become two.
binary = extend.replace_head(ten, ["negative", "positive"])
positive = np.isin(np.arange(10), [3, 5, 8])
data, test = (x, positive[y].astype(int)), (x_test, positive[y_test].astype(int))

# Either the last layers alone are trained, here the dense one and the head,
last = extend.Training(select="dense", epochs=15, batch_size=64, learning_rate=1e-3, head_learning_rate=0.01)
by_last_layers, _ = extend.adapt(binary, data, training=last, head=None)
print(f"the last layers: {extend.evaluate(by_last_layers, test).accuracy:.1%}")

# or everything, at a low rate.
everything = extend.Training(epochs=15, batch_size=64, learning_rate=3e-4, head_learning_rate=0.01)
by_everything, _ = extend.adapt(binary, data, training=everything, head=None)
print(f"everything, low rate: {extend.evaluate(by_everything, test).accuracy:.1%}")
print("probability of positive for the first five:", by_everything.predict_proba(x_test[:5])[:, 1].round(3))
