"""A pretrained network gets a head for five other classes: frozen, then with its last block trained at a low rate."""

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

# The pretrained network: it knows the digits 0 to 4.
recipe = Recipe((Phase(20),), batch_size=32, learning_rate=0.05)
network = train(ConvNet(5, rngs=nnx.Rngs(0)), x[y < 5], y[y < 5], recipe)
pretrained = extend.wrap(network, ["0", "1", "2", "3", "4"], (x[y < 5], y[y < 5]))

# (a) The backbone stays as it is; an empty head for 5 to 9 takes the old one's place, and it alone is trained.
five = extend.replace_head(pretrained, ["5", "6", "7", "8", "9"])
data, test = (x[y >= 5], y[y >= 5]), (x_test[y_test >= 5], y_test[y_test >= 5])
head_only = extend.Training(select="none", epochs=60, batch_size=64, head_learning_rate=0.01)
frozen, _ = extend.adapt(five, data, training=head_only, head=None)
print(f"head alone: {extend.evaluate(frozen, test).accuracy:.1%}")

# (b) The same, and the last block before the head moves along at a low rate.
last_block = extend.Training(select="last_block", epochs=30, batch_size=64, learning_rate=1e-4, head_learning_rate=0.01)
unfrozen, report = extend.adapt(five, data, training=last_block, head=None)
print(f"head and last block: {extend.evaluate(unfrozen, test).accuracy:.1%}")

# With the digits at hand anyway, a closed form on the frozen features takes no training at all.
closed, _ = extend.adapt(five, data, training=extend.Training(select="none", epochs=1))
print(f"closed form on top: {extend.evaluate(closed, test).accuracy:.1%}")
