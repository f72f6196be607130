"""A scoring function of JAX, written for others to run: as an ONNX model or as a StableHLO program."""

from extend.formats.jax_export.onnx_writer import to_onnx
from extend.formats.jax_export.stablehlo_writer import Score, to_stablehlo

__all__ = ["Score", "to_onnx", "to_stablehlo"]
