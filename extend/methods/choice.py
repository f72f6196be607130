"""What was chosen among methods: one of them, the head that it gave, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from extend.heads import Head
from extend.memory import Memory
from extend.methods.offsets import with_offsets

if TYPE_CHECKING:
    from extend.methods.base import OnFeatures


@dataclass(frozen=True)
class Score:
    """How one candidate did on the held-out features.

    Parameters
    ----------
    method
        The candidate.
    accuracy
        The class-averaged accuracy.
    log_loss
        The class-averaged log-loss in nats, at the candidate's best temperature.
    """

    method: OnFeatures
    accuracy: float
    log_loss: float

    def __str__(self) -> str:
        return f"{self.method.title} {self.accuracy:.1%}, log-loss {self.log_loss:.3f}"


@dataclass(frozen=True)
class Chosen:
    """What a choice among methods freezes in the recipe, until the number of classes has doubled.

    Parameters
    ----------
    method
        The method that was taken.
    temperature
        What its scores are divided by.
    classes
        How many classes there were.
    """

    method: OnFeatures
    temperature: float
    classes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the choice for JSON."""
        return {
            "method": self.method.name,
            "settings": self.method.settings(),
            "temperature": self.temperature,
            "classes": self.classes,
        }


@dataclass(frozen=True, eq=False)
class Choice:
    """The method that was taken, and its head.

    Parameters
    ----------
    method
        The method.
    head
        The head that it gave.
    scores
        How every candidate did; empty where nothing was compared.
    reason
        Why this one, in words; empty if there was nothing to choose.
    chosen
        What is to be frozen; None if nothing was chosen anew.
    """

    method: OnFeatures
    head: Head
    scores: tuple[Score, ...] = ()
    reason: str = ""
    chosen: Chosen | None = None

    def __str__(self) -> str:
        return "; ".join([f"chosen: {self.reason}", *map(str, self.scores)]) if self.reason else ""

    def keeping_offsets(self, old: Head, memory: Memory | None) -> Choice:
        """Return this choice with the offsets that earlier forgetting limits gave the old classes' columns."""
        return replace(self, head=with_offsets(self.head, old, memory).plain())
