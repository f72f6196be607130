"""Keras models, ``.keras`` and ``.h5``: opened and written back wider; dense networks written as ``.h5`` of Keras 2."""

from extend.formats.keras._archive import entries, words
from extend.formats.keras._legacy import to_keras_h5
from extend.formats.keras._reading import build, weights_of
from extend.formats.keras.model import Keras, edit_head, is_keras, keras2_of, open, opened

__all__ = [
    "Keras",
    "build",
    "edit_head",
    "entries",
    "is_keras",
    "keras2_of",
    "open",
    "opened",
    "to_keras_h5",
    "weights_of",
    "words",
]
