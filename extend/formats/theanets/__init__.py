"""Networks that theanets saved as pickles: opened without executing anything, and written back wider."""

from extend.formats.theanets.model import Theanets, open

__all__ = ["Theanets", "open"]
