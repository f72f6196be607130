"""The objects of a pickle as records: what it would have called, and with what. Nothing in them is ever called."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Bytes2(str):
    """A Python 2 `str`, decoded as Latin-1; it is written as Python 2 wrote it."""


class Items(list[Any]):
    """The items of a set, which need not be hashable here."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function: ``theanets.feedforward`` and ``Classifier``."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """The module and the name, with a dot."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What calling `function` with `args` would make; `new` if by ``__new__``; `state` is what was set on it.

    `items` and `pairs` are what was appended to it, and stored in it under keys.
    """

    function: Any
    args: Any
    new: bool
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def get(self, key: str) -> Any:
        """Return an attribute from the state; None if there is none."""
        return self.state.get(key) if isinstance(self.state, dict) else None

    @property
    def name(self) -> str:
        """The full name of what would be called; empty if that has none."""
        return self.function.full if isinstance(self.function, Global) else ""
