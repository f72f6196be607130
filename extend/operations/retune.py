"""Choose again the strengths that were frozen when a classifier was wrapped."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from extend.classifier import Classifier, Event, held_out_evaluation
from extend.core.errors import ArgumentError
from extend.heads import Calibrated, Head
from extend.methods import Auto, refit
from extend.operations.load_any import as_classifier
from extend.report import Report, held_out_words


def retune(classifier: Classifier | str | os.PathLike[str]) -> tuple[Classifier, Report]:
    """Choose LDA's and ridge's strengths again from all that the memory now holds, and fit the last closed form anew.

    Where ``method="auto"`` chose the form that is in force, it chooses again too. Strengths are frozen when a
    classifier is wrapped, so that the order of additions cannot matter; after many additions others may be better.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.

    Raises
    ------
    ArgumentError
        There is no memory, or the head is not of a closed form.

    Examples
    --------
    >>> import extend, numpy as np
    >>> x = np.random.default_rng(0).normal(size=(90, 4)).astype("float32")
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x[:60], np.repeat([0, 1], 30)))
    >>> clf, _ = extend.add_classes(clf, {"c": x[60:]}, method="lda")
    >>> extend.retune(clf)[0].history[-1].action
    'retune'
    """
    classifier = as_classifier(classifier)
    if classifier.memory is None:
        raise ArgumentError("strengths are chosen from the memory, and this classifier has none: wrap it with data=")
    started = time.perf_counter()
    memory = classifier.memory.with_strengths()
    recipe = classifier.recipe
    head: Head | None
    if recipe.chosen is not None and recipe.chosen["method"] == recipe.method:
        choice = Auto.for_(classifier.backbone).choose(memory).keeping_offsets(classifier.head, memory)
        head, chosen = choice.head, choice.chosen.to_dict() if choice.chosen is not None else None
        recipe = replace(recipe, method=choice.method.name, settings=choice.method.settings(), chosen=chosen)
    else:
        head = refit(classifier.head, memory, recipe)
    if head is None:
        raise ArgumentError(f"the head is of {recipe.method}, which has no strength to choose; it is left as it is")
    seconds = time.perf_counter() - started
    settings = {**recipe.settings, "was": [classifier.memory.shrinkage, classifier.memory.ridge]}
    tuned = replace(classifier, head=head, memory=memory, recipe=replace(recipe, settings=settings))
    before = held_out_evaluation(memory, classifier.head, classifier.classes)
    after = held_out_evaluation(memory, head, classifier.classes)
    event = Event("retune", (), recipe.method, 0, {}, {**settings, "before": _before(classifier)})
    budgeted = recipe.forgetting_total is not None
    notes = ("offsets of earlier budgets stay as they are; what they guaranteed was of the old strengths",)
    report = Report(
        action="retune",
        method=recipe.method,
        before=before,
        after=after,
        measured_on=held_out_words(memory, head) if after is not None else "nothing",
        seconds=seconds,
        fit_seconds=seconds,
        bytes=memory.nbytes,
        notes=notes if budgeted else (),
    )
    return replace(tuned, history=(*classifier.history, event)), report


def _before(classifier: Classifier) -> dict[str, Any]:
    """What tuning replaces, for `undo`."""
    memory, recipe = classifier.memory, classifier.recipe
    assert memory is not None
    return {
        "method": recipe.method,
        "settings": dict(recipe.settings),
        "chosen": recipe.chosen,
        "shrinkage": memory.shrinkage,
        "ridge": memory.ridge,
        "correction": Calibrated.of(classifier.head).correction(),
    }
