"""TODO"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from extend.data.images import Image

InputSpec = Any
"""An `Image`, or a tree of ``jax.ShapeDtypeStruct``: the shape and dtype of one input, without the batch axis."""


def describe(spec: InputSpec) -> str:
    """A spec in words, for messages."""
    if isinstance(spec, Image):
        return f"images {list(spec.shape)} {spec.dtype.name}"
    return ", ".join(f"arrays {list(leaf.shape)} {np.dtype(leaf.dtype).name}" for leaf in jax.tree.leaves(spec))
