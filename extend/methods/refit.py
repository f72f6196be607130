"""Fit a classifier's present head anew, to a memory that has changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from extend.backbone import Backbone
from extend.classifier import Recipe
from extend.heads import Calibrated, Head
from extend.memory import Memory
from extend.methods.auto import Auto
from extend.methods.names import closed_form


def refitted(backbone: Backbone, head: Head, memory: Memory, recipe: Recipe) -> tuple[Head, Recipe, str]:
    """Return a head fitted to a memory, its recipe, and what to tell of it.

    A head that is no closed form gives way to the one that `Auto` chooses.
    """
    fitted = refit(head, memory, recipe)
    if fitted is not None:
        return fitted, recipe, ""
    choice = Auto.for_(backbone).choose(memory)
    chosen = choice.chosen.to_dict() if choice.chosen is not None else None
    now = replace(recipe, method=choice.method.name, settings=choice.method.settings(), chosen=chosen)
    return choice.head, now, f"{now.method} took the place of {recipe.method}, which cannot be fitted to the memory"


def refit(head: Head, memory: Memory, recipe: Recipe) -> Head | None:
    """The closed form of this recipe fitted to a memory, calibrated as `head` is; None if it was no closed form."""
    if (method := closed_form(*recipe.closed_form)) is None:
        return None
    was, fitted = Calibrated.of(head), Calibrated.of(method.fit(memory))
    return replace(fitted, scale=was.scale, offset=was.offset, temperature=was.temperature).plain()


def heated(head: Head, was: Recipe, recipe: Recipe) -> Head:
    """The head at the temperature of the choice in force again, if it has that of the choice in force before."""
    calibrated = Calibrated.of(head)
    before, now = (
        r.chosen["temperature"] if r.chosen is not None and r.chosen["method"] == r.method else 1.0
        for r in (was, recipe)
    )
    if before == now or calibrated.temperature != np.float32(before):
        return head
    return replace(calibrated, temperature=np.float32(now))
