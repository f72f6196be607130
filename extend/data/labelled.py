"""What samples and features share: rows that are labelled into named classes, and a content key for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import jax
import numpy as np
from jaxtyping import Bool, Int, UInt64

from extend.core.errors import DataError


class Labelled:
    """Rows with labels into `classes`; the base of `Samples` and `Features`, which say what a row is.

    Attributes
    ----------
    labels
        int64 ``[n]``: places in `classes`.
    classes
        The names.
    keys
        uint64 ``[n]``: the content key of each row.
    """

    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    keys: UInt64[np.ndarray, " n"]
    rows_in: ClassVar[str]
    """The name of the attribute that holds the rows: a tree of arrays ``[n, ...]``."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> Int[np.ndarray, " k"]:
        """The number of rows of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def present(self) -> tuple[str, ...]:
        """The classes that have rows."""
        return tuple(name for name, count in zip(self.classes, self.counts, strict=True) if count)

    def take(self, rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Self:
        """Return these rows: numbers, or a mask."""
        payload: dict[str, Any] = {self.rows_in: jax.tree.map(lambda a: a[rows], getattr(self, self.rows_in))}
        return replace(self, **payload, labels=self.labels[rows], keys=self.keys[rows])  # type: ignore[type-var]

    def relabel(self, classes: Sequence[str], what: str = "the data", hint: str = "") -> Self:
        """Return the same rows, labelled into `classes`.

        Raises
        ------
        DataError
            A class is not one of them; `what` and `hint` stand in the message.
        """
        places = {name: place for place, name in enumerate(classes)}
        if unknown := [name for name in self.classes if name not in places]:
            raise DataError(
                f"{what} holds class {unknown[0]!r}, which is not one of {', '.join(classes)}" + (hint and f": {hint}")
            )
        place = np.asarray([places[name] for name in self.classes], np.int64)
        return replace(self, labels=place[self.labels], classes=tuple(classes))  # type: ignore[type-var]

    def without_empty_classes(self) -> Self:
        """Return the same rows, labelled into the classes that have some."""
        place = np.cumsum(self.counts > 0) - 1
        return replace(self, labels=place[self.labels], classes=self.present)  # type: ignore[type-var]

    def check_every_class(self, what: str = "the data") -> Self:
        """Return these rows if every class has some.

        Raises
        ------
        DataError
            A class has none.
        """
        if len(missing := np.flatnonzero(self.counts == 0)):
            raise DataError(f"{what} has no samples of class {self.classes[missing[0]]!r}; every class needs some")
        return self

    def concatenate(self, *others: Self) -> Self:
        """Return the rows of all parts, in this order, labelled into all of their classes."""
        classes = tuple(dict.fromkeys(name for part in (self, *others) for name in part.classes))
        parts = [part.relabel(classes) for part in (self, *others)]
        payloads = [getattr(part, self.rows_in) for part in parts]
        payload: dict[str, Any] = {self.rows_in: jax.tree.map(lambda *leaves: np.concatenate(leaves), *payloads)}
        labels, keys = (np.concatenate([getattr(part, name) for part in parts]) for name in ("labels", "keys"))
        return replace(parts[0], **payload, labels=labels, keys=keys)  # type: ignore[type-var]
