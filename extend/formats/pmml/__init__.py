"""PMML neural networks and regression models that classify: opened and written back wider; dense networks as PMML."""

from extend.formats.pmml._writer import to_pmml
from extend.formats.pmml.model import Pmml, open

__all__ = ["Pmml", "open", "to_pmml"]
