"""Classifiers in ONNX files, whoever wrote them: opened and written back wider. (`jax_export` writes Flax as ONNX.)"""

from extend.formats.onnx.model import OnnxModel, open

__all__ = ["OnnxModel", "open"]
