"""A choice among methods that stands until the number of classes has doubled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool

from extend.heads import Calibrated, Head
from extend.memory import Memory
from extend.methods.base import ClosedForm, OnFeatures
from extend.methods.choice import Choice


@dataclass(frozen=True)
class Frozen(ClosedForm):
    """The closed form that was chosen, at the temperature that it had then.

    Parameters
    ----------
    method
        What was chosen.
    temperature
        What its scores are divided by.
    classes
        How many classes there were when it was chosen.
    first
        What is taken where held-out rows must not choose.
    """

    method: ClosedForm
    temperature: float
    classes: int
    first: OnFeatures
    name: ClassVar[str] = "auto"
    chooses: ClassVar[bool] = True

    def fit(self, memory: Memory) -> Head:
        return replace(Calibrated.of(self.method.fit(memory)), temperature=np.float32(self.temperature)).plain()

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()) -> Choice:
        return Choice(self.method, self.fit(memory), reason=f"as for the first {self.classes} classes")

    def fixed(self) -> OnFeatures:
        return self.first


def thawed(chosen: Mapping[str, Any], candidates: tuple[ClosedForm, ...], classes: int) -> Frozen | None:
    """Return the choice that a recipe holds; None where it no longer stands.

    It stands while there are fewer than twice as many classes, and while it is among the candidates.
    """
    if classes >= 2 * chosen["classes"]:
        return None
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in chosen["settings"].items()}
    for method in candidates:
        if method.name == chosen["method"]:
            own: ClosedForm = replace(method, **settings)  # type: ignore[type-var]  # Every method is a dataclass.
            return Frozen(own, chosen["temperature"], chosen["classes"], candidates[0])
    return None
