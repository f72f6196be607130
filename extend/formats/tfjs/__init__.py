"""TensorFlow.js layers models: a folder with ``model.json``, or a zip of it, opened and written back wider."""

from extend.formats.tfjs.model import TensorFlowJS, is_target, open, to_tfjs

__all__ = ["TensorFlowJS", "is_target", "open", "to_tfjs"]
