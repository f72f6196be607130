"""Pickles as inert data: `read` follows one without importing or calling anything, and `Pickler` writes it back."""

from extend.formats.pickles._reader import damaged, read
from extend.formats.pickles._records import Bytes2, Global, Items, Made
from extend.formats.pickles._writer import Pickler, write

__all__ = ["Bytes2", "Global", "Items", "Made", "Pickler", "damaged", "read", "write"]
