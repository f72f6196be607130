"""Keras models, ``.keras`` and ``.h5``: opened and written back wider; dense networks written as ``.h5`` of Keras 2."""

from extend.formats.keras._legacy import to_keras_h5
from extend.formats.keras.model import Keras, open

__all__ = ["Keras", "open", "to_keras_h5"]
