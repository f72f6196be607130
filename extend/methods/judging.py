"""The rows that candidates are judged on: held out, or left out in their turn; balanced over classes, and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.heads import Head, head_scores
from extend.memory import Memory

if TYPE_CHECKING:
    from extend.methods.base import ClosedForm

MOST = 2000
"""So many rows judge at most."""
SCORES = 2_000_000
"""So many scores are looked at for a candidate at most; but at least 200 rows judge."""


@dataclass(frozen=True, eq=False)
class Judges:
    """Rows with known classes that no candidate is fitted on, or that are left out when it is scored.

    Parameters
    ----------
    memory
        The memory that the candidates are fitted on.
    held, held_labels
        Held-out rows, as whole feature vectors.
    left, left_labels
        Rows of the statistics, of classes of which no row is among `held`; each is scored by a candidate that was
        fitted without it.
    unseen
        The classes of which nothing is there to judge by.
    """

    memory: Memory
    held: Float[np.ndarray, "h e"]
    held_labels: Int[np.ndarray, " h"]
    left: Float[np.ndarray, "m d"]
    left_labels: Int[np.ndarray, " m"]
    unseen: Int[np.ndarray, " u"]

    @classmethod
    def of(cls, memory: Memory, use: Bool[np.ndarray, " h"] | None = None) -> Judges:
        """Take them from a memory.

        Parameters
        ----------
        use
            Which held-out rows may be among them; None for all.
        """
        k = len(memory.classes)
        rows, labels = memory.held_out
        some = np.ones(len(labels), bool) if use is None else use
        most = int(np.clip(SCORES // k, 200, MOST))
        left, left_labels, there = memory.unheld(labels[some], most)
        unseen = np.setdiff1d(np.arange(k), np.union1d(labels[some], there))
        each = max(1, most // max(1, k - len(unseen)))
        some = some.copy()
        some[some] = _first(labels[some], each)
        few = _first(left_labels, each)
        labels, left, left_labels = labels[some], left[few], left_labels[few]
        return cls(memory, rows[some], labels, left, left_labels, unseen)

    @property
    def truth(self) -> Int[np.ndarray, " n"]:
        """The classes of all rows."""
        return np.concatenate([self.held_labels, self.left_labels])

    def scores(self, method: ClosedForm, head: Head) -> Float[np.ndarray, "n k"]:
        """Return the scores that a candidate gives all rows; `head` is what it made of the whole memory."""
        found = head_scores(head, self.held)
        if not len(self.left):
            return found
        return np.concatenate([found, method.leave_one_out(self.memory, self.left, self.left_labels)])


def _first(labels: Int[np.ndarray, " n"], each: int) -> Bool[np.ndarray, " n"]:
    """The first rows of each class; the rows are sorted by class, and in a class by their content keys."""
    return np.arange(len(labels)) - np.searchsorted(labels, labels) < each
