"""Fitted scikit-learn classifiers and pipelines, as objects or ``.skops`` files: opened and written back wider."""

from extend.formats.scikit_learn.model import Sklearn, open

__all__ = ["Sklearn", "open"]
