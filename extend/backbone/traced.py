"""Write a backbone that JAX can trace, with a head on it, as ONNX or StableHLO."""

from __future__ import annotations

from pathlib import Path

import jax

from extend.backbone.base import Backbone
from extend.core.errors import FormatError
from extend.data import Batch
from extend.formats import to_onnx, to_stablehlo
from extend.heads import Head


def write_traced(backbone: Backbone, head: Head, classes: tuple[str, ...], target: Path) -> None:
    """Write scores and probabilities as a function of prepared inputs.

    Raises
    ------
    FormatError
        The suffix is neither .onnx nor .stablehlo, or the network holds an operation that the format cannot.
    """
    if (linear := head.as_linear()) is not None:  # One matrix for all columns: one layer in the file.
        head = linear.in_one_block(backbone.feature_dim)

    def score(x: Batch) -> tuple[jax.Array, jax.Array]:
        logits = head.logits(backbone.apply(backbone.params, x))
        return logits, head.link.probabilities(logits)

    match target.suffix.lower():
        case ".onnx":
            to_onnx(score, backbone.inputs, classes, target)
        case ".stablehlo":
            to_stablehlo(score, backbone.inputs, classes, target)
        case _:
            raise FormatError(
                f"{target}: a classifier that JAX can trace is written as .onnx or .stablehlo, or as a checkpoint, "
                "whose name has no suffix"
            )
