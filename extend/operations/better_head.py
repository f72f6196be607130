"""A model's own head, or a closed form on its features: whichever is better on held-out rows."""

from __future__ import annotations

from dataclasses import replace

from extend.classifier import Classifier, Event, Recipe, evaluate_features
from extend.methods import Auto

FEWEST = 20
"""On fewer rows the trained head stays."""


def better_head(classifier: Classifier) -> tuple[Classifier, str]:
    """Return the classifier with the better head of the two, and what was found, in a sentence.

    One half of the held-out rows chooses the closed form, the other half judges. The trained head stays where there are
    too few rows to judge by, and where both are as good.

    Parameters
    ----------
    classifier
        A classifier that was just wrapped, with its model's own head and a memory.

    Examples
    --------
    >>> import extend, numpy as np
    >>> from flax import nnx
    >>> x = np.random.default_rng(0).normal(size=(400, 2)).astype("float32") + np.repeat([[0], [3]], 200, axis=0)
    >>> model = extend.models.MLP(2, inputs=2, hidden=(8,), rngs=nnx.Rngs(0))  # Not trained at all.
    >>> clf, said = better_head(extend.wrap(model, ["a", "b"], (x, np.repeat([0, 1], 200))))
    >>> clf.recipe.method != "own head"
    True
    """
    memory = classifier.memory
    judging = None if memory is None else ~memory.choosing
    if memory is None or judging is None or judging.sum() < FEWEST or not classifier.head.link.exclusive:
        return classifier, "the trained head stays: there are too few held-out rows to compare it with a closed form"
    choice = Auto.for_(classifier.backbone).choose(memory)
    rows, labels = (part[judging] for part in memory.held_out)
    own, other = (
        evaluate_features(head, classifier.classes, rows, labels).accuracy for head in (classifier.head, choice.head)
    )
    said = f"on {judging.sum()} held-out rows: the trained head {own:.1%}, {choice.method.name} {other:.1%}"
    if other <= own:
        return classifier, f"the trained head stays ({said})"
    chosen = choice.chosen.to_dict() if choice.chosen is not None else None
    names, settings = classifier.classes, choice.method.settings()
    found = evaluate_features(choice.head, names, *memory.held_out)
    recipe = Recipe.wrapped(choice.method.name, settings, names, found.by_class, chosen)
    event = Event("wrap", names, choice.method.name, int(memory.total.sum()), found.by_class, settings)
    better = replace(classifier, head=choice.head, recipe=recipe, history=(event,))
    return better, f"{choice.method.name} takes the place of the trained head ({said})"
