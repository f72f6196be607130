"""The log of what was done to a classifier, for people. Nothing decides by it; see `extend.classifier.recipe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One step of a classifier's history.

    Parameters
    ----------
    action
        "wrap", "add", "update", "remove", "calibrate", "retune", "adapt" or "replace_head".
    classes
        The classes that the step was about; empty where it was about all of them, or about classes that are gone.
    method
        The name of the method.
    samples
        How many samples the step was given.
    right
        For each class of the step, the share of its held-out samples that was right afterwards; empty where nothing
        could be measured.
    settings
        The method's hyper-parameters.
    risk
        The share of old examples that a budget let turn wrong; None without a budget.

    Examples
    --------
    >>> Event("add", ("cat",), "lda", 40, {"cat": 0.95}).classes
    ('cat',)
    """

    action: str
    classes: tuple[str, ...]
    method: str
    samples: int
    right: Mapping[str, float]
    settings: Mapping[str, Any] = field(default_factory=dict)
    risk: float | None = None
