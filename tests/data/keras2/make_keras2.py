"""Make the files of this folder: small classifiers saved by Keras 2, with the outputs that Keras 2 gives.

Run it where TensorFlow 2.15 is installed: ``python make_keras2.py FOLDER``. For each model it writes ``<name>.h5``,
``<name>.keras`` and, into ``expected.npz``, the inputs (``<name>/x0``, ...) and the outputs (``<name>/y``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

keras = tf.keras
L = keras.layers
MODELS: dict[str, Callable[[], keras.Model]] = {}


def model(make: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Note a function that makes a model, by its name."""
    MODELS[make.__name__] = make
    return make


@model
def image_layers() -> keras.Model:
    """Convolutions, activations as layers, and paddings."""
    x = inputs = keras.Input((12, 12, 3))
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = L.Conv2D(6, 3, strides=2, use_bias=False, kernel_regularizer="l2", kernel_initializer="he_normal")(x)
    x = L.ReLU(6.0)(L.BatchNormalization(axis=[3])(x))
    y = L.LeakyReLU(0.1)(L.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x))
    x = L.SpatialDropout2D(0.2)(L.Add()([x, y]))
    x = L.ThresholdedReLU(0.3)(L.SeparableConv2D(5, 3, padding="same", activation="relu")(x))
    x = L.PReLU(shared_axes=[1, 2])(L.Conv2DTranspose(4, 3, strides=2, padding="same")(x))
    x = L.ELU(0.5)(L.GroupNormalization(2)(L.LayerNormalization()(x)))
    x = L.Cropping2D(1)(L.UpSampling2D(2, interpolation="bilinear")(L.AveragePooling2D()(L.MaxPooling2D()(x))))
    x = L.Dense(5, activation=tf.nn.leaky_relu)(L.Flatten()(x))
    return keras.Model(inputs, L.Softmax()(L.Dense(3)(L.Dropout(0.5, noise_shape=None)(x))))


@model
def other_dimensions() -> keras.Model:
    """Convolutions along one and three axes."""
    x = inputs = keras.Input((8, 8, 8, 2))
    x = L.Conv3D(3, 2, activation="swish")(x)
    x = L.MaxPooling3D()(L.Conv3DTranspose(3, 2, groups=1)(x))
    x = L.Reshape((16, 12))(L.SpatialDropout3D(0.1)(x))
    x = L.Conv1D(6, 3, padding="causal", groups=2, activation="gelu")(x)
    x = L.SeparableConv1D(4, 3, activation="selu")(L.DepthwiseConv1D(3)(x))
    x = L.SpatialDropout1D(0.1)(L.Conv1DTranspose(4, 3)(L.Permute((2, 1))(x)))
    x = L.Concatenate()([L.GlobalMaxPooling1D()(x), L.GlobalAveragePooling1D()(x)])
    return keras.Model(inputs, L.Dense(4, activation="softmax")(x))


@model
def recurrent() -> keras.Model:
    """Text: recurrent layers with the activation that was their default in old versions."""
    old = {"recurrent_activation": "hard_sigmoid", "implementation": 1}
    x = inputs = keras.Input((9,), dtype="int32")
    x = L.Embedding(20, 6, input_length=9, mask_zero=True)(x)
    x = L.SpatialDropout1D(0.3)(x)
    x = L.LSTM(5, return_sequences=True, **old)(x)
    x = L.Bidirectional(L.GRU(4, return_sequences=True, reset_after=False, **old))(x)
    x = L.TimeDistributed(L.Dense(6, activation="hard_sigmoid"))(x)
    x = L.GRU(4, return_sequences=True, go_backwards=True)(x)
    x = L.Bidirectional(L.LSTM(3, return_sequences=True), merge_mode="sum")(x)
    x = L.RNN([L.LSTMCell(3), L.GRUCell(4)], return_sequences=True)(x)
    return keras.Model(inputs, L.Dense(3, activation="softmax")(L.SimpleRNN(5)(x)))


@model
def recurrent_pictures() -> keras.Model:
    """ConvLSTM with hard sigmoid, and a convolution in each step."""
    net = keras.Sequential([L.TimeDistributed(L.Conv2D(3, 2), input_shape=(4, 6, 6, 1))])
    net.add(L.ConvLSTM2D(3, 2, recurrent_activation="hard_sigmoid"))
    net.add(L.Activation("hard_sigmoid"))
    net.add(L.GlobalAveragePooling2D())
    net.add(L.Dense(3, activation="softmax"))
    return net


@model
def attention() -> keras.Model:
    """The three kinds of attention."""
    inputs = keras.Input((6, 4))
    x = L.MultiHeadAttention(2, 3, dropout=0.1)(inputs, inputs)
    x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, inputs]))
    x = L.MultiHeadAttention(2, 3)(query=x, value=inputs, key=inputs)
    y = L.Attention(use_scale=True)([x, inputs])
    z = L.AdditiveAttention()([y, x])
    x = L.GlobalAveragePooling1D()(L.Concatenate(axis=-1)([x, y, z]))
    return keras.Model(inputs, L.Dense(3, activation="softmax")(x))


@model
def arithmetic() -> keras.Model:
    """What `keras.applications` writes for preprocessing: operations on tensors."""
    inputs = keras.Input((8, 8, 3))
    x = tf.keras.applications.mobilenet_v2.preprocess_input(inputs)
    y = tf.keras.applications.resnet.preprocess_input(inputs)
    z = tf.keras.applications.imagenet_utils.preprocess_input(inputs, mode="torch")
    w = 1.0 - (tf.cast(inputs, tf.float32) * 2 + 0.5) / 255.0
    v = tf.math.divide(tf.add(x, z), 2.0) - tf.multiply(0.5, w)
    x = L.Concatenate()([x, y / 100, z, w, v, tf.nn.relu(-x)])
    x = L.Conv2D(4, 3, activation="relu")(x)
    return keras.Model(inputs, L.Dense(3, activation="softmax")(tf.reduce_mean(x, axis=[1, 2])))


@model
def transfer() -> keras.Model:
    """The official example of transfer learning: augmentation, preprocessing, base(x, training=False), a head."""
    augment = keras.Sequential([L.RandomFlip("horizontal"), L.RandomRotation(0.2), L.RandomZoom(0.1)])
    i = keras.Input((8, 8, 3))
    y = L.BatchNormalization()(L.Conv2D(4, 3)(i))
    base = keras.Model(i, L.Conv2D(4, 1)(L.ReLU()(y)), name="base")
    base.trainable = False
    inputs = keras.Input((8, 8, 3))
    x = L.Rescaling(1 / 127.5, offset=-1)(augment(inputs))
    x = L.GlobalAveragePooling2D()(base(x, training=False))
    return keras.Model(inputs, L.Dense(3)(L.Dropout(0.2)(x)))


@model
def teachable_machine() -> keras.Model:
    """Teachable Machine's layout: a functional base in a Sequential, and the head in another, without bias."""
    x = i = keras.Input((8, 8, 3))
    x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(4, 3, use_bias=False)(x)))
    x = L.Add()([x, L.DepthwiseConv2D(3, padding="same", use_bias=False)(x)])
    base = keras.Sequential([keras.Model(i, x, name="model1"), L.GlobalAveragePooling2D()], name="sequential_1")
    head = keras.Sequential(name="sequential_3")
    head.add(L.Dense(10, activation="relu", input_shape=(4,), kernel_initializer="VarianceScaling"))
    head.add(L.Dense(2, use_bias=False, activation="softmax", kernel_initializer="VarianceScaling"))
    return keras.Sequential([base, head], name="sequential_4")


@model
def several_inputs() -> keras.Model:
    """Two inputs through one shared model, whose layers are partly frozen, and a head in a functional model."""
    i = keras.Input((6,))
    x = L.Dense(5, activation="tanh", trainable=False)(i)
    x = L.BatchNormalization()(L.Dense(4, activation="relu")(L.BatchNormalization()(x)))
    shared = keras.Model(i, x, name="shared")
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    x, y = shared(a), shared(b)
    both = L.Concatenate()([L.Subtract()([x, y]), L.Multiply()([x, y]), L.Dot(1)([x, y]), L.Maximum()([x, y])])
    j = keras.Input((13,))
    head = keras.Model(j, L.Dense(3)(L.Dense(6, activation="elu")(j)), name="head")
    return keras.Model([a, b], L.Activation("softmax")(head(both)))


@model
def preprocessing() -> keras.Model:
    """Layers that prepare pictures, adapted to data, and some that do nothing when a model predicts."""
    normal = L.Normalization(axis=-1)
    normal.adapt(np.random.default_rng(3).normal(2, 3, (50, 9, 9, 3)).astype("float32"))
    net = keras.Sequential([keras.Input((14, 12, 3)), L.RandomCrop(10, 10), L.RandomContrast(0.1), L.Resizing(9, 9)])
    for layer in (L.RandomTranslation(0.1, 0.1), L.RandomBrightness(0.2), normal, L.CenterCrop(8, 7)):
        net.add(layer)
    for layer in (L.GaussianNoise(0.1), L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.AlphaDropout(0.1)):
        net.add(layer)
    net.add(L.UnitNormalization())
    net.add(L.Dense(3, activation="softmax"))
    return net


@model
def half_precision() -> keras.Model:
    """Mixed precision, with the last activation in float32 as the guide says; compiled with custom parts."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    net = keras.Sequential([L.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), L.Flatten(), L.Dense(3)])
    net.add(L.Activation("softmax", dtype="float32"))
    keras.mixed_precision.set_global_policy("float32")
    net.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", ["accuracy"])
    net.fit(np.zeros((4, 8, 8, 1)), np.zeros(4), verbose=0)
    return net


@model
def one_unit() -> keras.Model:
    """Two classes by one sigmoid unit, with a loss."""
    net = keras.Sequential([L.Dense(5, "relu", input_shape=(4,)), L.Dense(1, "sigmoid")])
    net.compile("adam", "binary_crossentropy", [keras.metrics.AUC()])
    net.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    return net


def inputs_of(net: keras.Model, rng: np.random.Generator, pixels: bool) -> list[np.ndarray]:
    """Seven inputs: whole numbers, pixels from 0 to 255, or numbers around 0."""
    made = []
    for tensor in net.inputs:
        shape = (7, *tensor.shape[1:])
        if tensor.dtype.is_integer:
            made.append(rng.integers(0, 20, shape).astype(np.int32))
        elif pixels:
            made.append(rng.uniform(0, 255, shape).astype(np.float32))
        else:
            made.append((2 * rng.normal(size=shape)).astype(np.float32))
    return made


def main(folder: Path) -> None:
    """Write every model."""
    expected = {}
    for name, make in MODELS.items():
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        net, rng = make(), np.random.default_rng(1)
        for weight in net.weights:
            if weight.dtype.is_floating and weight.name not in ("mean:0", "variance:0"):  # What `adapt` measured.
                low = 0.5 if "variance" in weight.name else -1
                weight.assign(rng.uniform(low, 1, weight.shape) * (0.02 if "dense" in weight.name else 0.7))
        xs = inputs_of(net, rng, name in ("arithmetic", "transfer", "preprocessing"))
        expected[f"{name}/y"] = net(xs if len(xs) > 1 else xs[0], training=False).numpy()
        expected.update({f"{name}/x{n}": x for n, x in enumerate(xs)})
        net.save(folder / f"{name}.h5")
        if name != "arithmetic":  # Keras 2 cannot write the slice that its own preprocessing has into a .keras.
            net.save(folder / f"{name}.keras")
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
