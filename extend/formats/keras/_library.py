"""Keras itself: imported when a file needs it, and guarded, as it raises anything for a damaged file."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from extend.core.errors import FormatError, MissingExtraError


def the_keras() -> Any:
    """Import Keras, with JAX as its backend if none is chosen."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError("Keras", "keras", error) from error
    return keras


def guarded(action: Callable[[], Any]) -> Any:
    """Let Keras load or build something; whatever it raises for a damaged file becomes a FormatError."""
    try:
        return action()
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"Keras cannot load it: {one_line(error)}") from error


def zeros_first(model: Any) -> Any:
    """Let the weights of a model that was made in a `StatelessScope` begin as zeros, as they are given others next.

    Random numbers would be drawn for each of them, for which JAX compiles a function for each shape: most of the time
    that it takes to open a file.
    """

    def zeros(shape: Any, dtype: Any = "float32", **_: Any) -> np.ndarray:
        return np.zeros(shape, dtype)

    for weight in model.weights:
        weight._initializer = zeros
    return model


def made(action: Callable[[], Any]) -> Any:
    """Let Keras make a model of a config; its weights are zeros."""
    keras = the_keras()

    def inside() -> Any:
        with keras.StatelessScope():
            return zeros_first(action())

    return guarded(inside)


def one_line(error: Exception) -> str:
    """Return an error's class and message on one line of 300 characters; of what Keras says, the reason at its end."""
    reason = " ".join(str(error).rpartition("Exception encountered:")[2].split())
    return f"{type(error).__name__}: {reason}"[:300]
