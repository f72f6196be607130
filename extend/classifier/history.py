"""The log of what was done to a classifier, for people. Nothing decides by it; see `extend.classifier.recipe`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Event:
    """One step of a classifier's history.

    Parameters
    ----------
    action
        "wrap", "add", "update", "remove", "rename", "merge", "split", "remove_samples", "calibrate", "retune", "adapt"
        or "replace_head".
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

    def renamed(self, names: Mapping[str, str]) -> Event:
        """Return the event with other names for some classes; what a class was called before a renaming stays."""
        settings = self.settings
        if self.action == "rename":
            settings = {**settings, "was": {names.get(name, name): old for name, old in settings["was"].items()}}
        return replace(
            self,
            classes=tuple(dict.fromkeys(names.get(name, name) for name in self.classes)),
            right={names.get(name, name): share for name, share in self.right.items()},
            settings=settings,
        )

    def without(self, gone: Sequence[str]) -> Event:
        """Return the event without some classes: nothing in it tells of them any more."""
        settings = self.settings
        if self.action == "rename":
            settings = {**settings, "was": {name: old for name, old in settings["was"].items() if name not in gone}}
        return replace(
            self,
            classes=tuple(name for name in self.classes if name not in gone),
            right={name: share for name, share in self.right.items() if name not in gone},
            settings=settings,
        )
