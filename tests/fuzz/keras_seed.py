"""Small Keras files of both kinds, for `tests.fuzz.run`."""

from __future__ import annotations

from pathlib import Path

from extend.formats.keras import _reading as keras_reading
from extend.formats.keras import model as format


def write(folder: Path) -> list[Path]:
    """A functional model with a convolution and a Sequential one, as .keras and as both kinds of .h5."""
    keras = keras_reading.the_keras()

    layers = keras.layers
    inputs = keras.Input((6, 6, 1))
    x = layers.BatchNormalization()(layers.Conv2D(2, 3, activation="relu")(inputs))
    x = layers.GlobalAveragePooling2D()(x)
    models = {
        "functional": keras.Model(inputs, layers.Dense(3, "softmax")(x)),
        "sequential": keras.Sequential([keras.Input((4,)), layers.Dense(5, "tanh"), layers.Dense(3), layers.Softmax()]),
    }
    files = []
    for name, model in models.items():
        for suffix in (".keras", ".h5"):
            files.append(folder / f"{name}{suffix}")
            model.save(files[-1])
        opened = format.open(model)
        files.append(folder / f"{name}-2.h5")
        opened.save(files[-1], opened.head, ("a", "b", "c"))
    return files


def open(path: Path) -> object:
    """The function under test."""
    return format.open(path)
