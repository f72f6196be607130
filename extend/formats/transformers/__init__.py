"""Hugging Face folders of image and text classifiers: opened without the network, and written back wider."""

from extend.formats.transformers.model import HuggingFaceModel, open

__all__ = ["HuggingFaceModel", "open"]
