"""The history of a classifier: one event for each operation, a log for people that nothing reads to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """One step of a classifier's history.

    `action` is "wrap", "add", "update", "remove", "calibrate", "retune", "adapt" or "replace_head"; `right` maps a
    class to the share of its held-out samples that were right when the step was done, empty where nothing could be
    measured. `settings` are the method's. `risk` is the share of old examples that a forgetting budget let turn wrong;
    None without a budget.

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
