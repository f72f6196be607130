"""Networks of MATLAB as arrays in ``.mat`` files: opened and written back wider; dense networks as such files."""

from extend.formats.matlab._variables import SNIPPET
from extend.formats.matlab.model import Matlab, open, to_mat

__all__ = ["SNIPPET", "Matlab", "open", "to_mat"]
