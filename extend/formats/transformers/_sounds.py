"""What the models of sounds in ``transformers`` take: samples of a signal, or the features of a spectrogram."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from extend.formats.base import Input

SOUND_INPUTS = ("input_values", "input_features")
"""What the library's models of sounds call their input."""
SECOND = 16_000


def input_name(module: Any, one: Input) -> str:
    """Return what a model calls its one input; a module of a user's own may say nothing of it."""
    return "pixel_values" if one.channels_first else str(module.main_input_name)


def long_enough(one: Input) -> Input:
    """Return an input with a second of samples where a model of sounds leaves the length open."""
    return replace(one, shape=tuple(axis or SECOND for axis in one.shape))


def sound(module: Any) -> Input:
    """Return what a model of sounds takes: samples ``[t]``, or features of a length that the configuration says."""
    config, none = module.config, None
    shape: tuple[int | None, ...] = (none,)
    if hasattr(config, "num_mel_bins"):
        bins = config.num_mel_bins
        whisper = module.main_input_name == "input_features"
        shape = (bins, 2 * config.max_source_positions) if whisper else (getattr(config, "max_length", none), bins)
    return Input(shape, np.dtype("float32"))
