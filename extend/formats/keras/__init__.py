"""Keras models, ``.keras`` and ``.h5``: opened and written back wider; dense networks written as ``.h5`` of Keras 2."""

from extend.formats.keras._archive import words
from extend.formats.keras._legacy import to_keras_h5
from extend.formats.keras._place import Columns, put
from extend.formats.keras.model import Keras, is_keras, keras2_of, of_config, open, weights_of

__all__ = [
    "Columns",
    "Keras",
    "is_keras",
    "keras2_of",
    "of_config",
    "open",
    "put",
    "to_keras_h5",
    "weights_of",
    "words",
]
