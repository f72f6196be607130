"""Keras models, ``.keras`` and ``.h5``: opened and written back wider; dense networks written as ``.h5`` of Keras 2."""

from extend.formats.keras._archive import is_keras3, words
from extend.formats.keras._legacy import to_keras_h5
from extend.formats.keras._place import Columns, put
from extend.formats.keras._reading import read_config, weights_of
from extend.formats.keras.model import SUFFIXES, Keras, keras2_of, keras_of, open

__all__ = [
    "SUFFIXES",
    "Columns",
    "Keras",
    "is_keras3",
    "keras2_of",
    "keras_of",
    "open",
    "put",
    "read_config",
    "to_keras_h5",
    "weights_of",
    "words",
]
