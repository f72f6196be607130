"""What a method makes of a classifier and new samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extend.backbone import Backbone
from extend.data import Features
from extend.heads import Budget, Head
from extend.memory import Memory


@dataclass(frozen=True, eq=False)
class Extended:
    """A backbone, a head for old and new classes, and the memory of both.

    Parameters
    ----------
    backbone
        The classifier's own, or the one that a training moved.
    head
        The head for all classes, the old ones first.
    memory
        The memory of all classes; None where there is none.
    fresh
        The features of the new samples, in the space of `backbone`.
    method, settings
        The name of the method that gave the head (of a choice, the one taken), and its hyper-parameters for the recipe.
    reason
        Why this method was taken, in words; empty if it was asked for.
    notes
        What else the report says.
    budget
        What a forgetting limit made of the head; None without a limit.
    before
        The memory of the old classes in the features of the backbone before, by which the old classifier is measured;
        None where there is none. A classifier without a memory of its own has one here if a training measured it from
        real samples of every old class.
    old
        The features of the real old samples that were given, in the space of `backbone`; None if the method had no
        need of them.
    embedding_seconds
        How long the new samples took to go through the backbone; 0 where that was not timed.
    fit_seconds
        How long the head took, without the passes through the backbone; None where they are one, as in a training.
    chosen
        A choice among methods that is to be frozen in the recipe; None if none was made.
    """

    backbone: Backbone
    head: Head
    memory: Memory | None
    fresh: Features
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()
    budget: Budget | None = None
    before: Memory | None = None
    old: Features | None = None
    embedding_seconds: float = 0.0
    fit_seconds: float | None = None
    chosen: Mapping[str, Any] | None = None
