"""Sentences for people: what figures are worth, and whether training the backbone may pay."""

from __future__ import annotations

import numpy as np

from extend.classifier import Classifier, Evaluation
from extend.heads import Head
from extend.memory import Memory, spreads, wide_feature

PASSES = 22
"""The forward passes that five epochs of fine-tuning cost: three a step, one for distillation, and two around it."""


def measured_on(classifier: Classifier, after: Evaluation | None, *, validated: bool) -> str:
    """Say what a classifier was measured on, and what figures from there are worth.

    Parameters
    ----------
    classifier
        The classifier that was measured.
    after
        What was measured; None where nothing was.
    validated
        Whether the user gave the samples; otherwise they are the held-out features of the memory.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> measured_on(clf, extend.evaluate(clf, {"b": x[4:]}), validated=True)
    'validation samples'
    """
    if validated:
        return "validation samples" + _likeliest(classifier.head)
    if after is None or classifier.memory is None:
        return "nothing"
    return held_out_words(classifier.memory, classifier.head)


def held_out_words(memory: Memory, head: Head) -> str:
    """Say what figures from a memory's held-out features are worth.

    Parameters
    ----------
    memory
        The memory that holds the features.
    head
        The head that was measured on them.

    Examples
    --------
    >>> import extend
    >>> x, y = np.random.default_rng(0).normal(size=(200, 2)).astype("float32"), np.repeat([0, 1], 100)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, y))
    >>> held_out_words(clf.memory, clf.head)
    'held-out features (seen by the backbone: optimistic, no guarantee)'
    """
    present = np.unique(memory.held_out_labels)
    words = "held-out features"
    if memory.trained_on[present].any():
        words += " (seen by the backbone: optimistic, no guarantee)"
    if any(memory.classes[label] in memory.transported for label in present):
        words += " (of a backbone that moved since: estimated)"
    return words + _likeliest(head)


def wide_feature_note(classifier: Classifier) -> str | None:
    """Say which feature spreads so much wider than the others that it drowns them, and what to do about it.

    Returns
    -------
    str | None
        The note; None where no feature does, or where there is no memory.

    Examples
    --------
    >>> import extend
    >>> x = np.random.default_rng(0).normal(size=(80, 3)).astype("float32")
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 40)))
    >>> wider, _ = extend.add_classes(clf, {"c": x * [1, 1, 1e5]})
    >>> wide_feature_note(wider)[:52]
    'feature 2 (counted from 0) spreads 60,141 times as w'
    """
    memory, backbone = classifier.memory, classifier.backbone
    if memory is None or (wide := wide_feature(spreads(memory.statistics))) is None:
        return None
    found = (
        f"feature {wide[0] + memory.offset} (counted from 0) spreads {wide[1]:,.0f} times as wide as the median one, "
        "and shrinkage treats all alike, so that the others may not count"
    )
    if backbone.own_format is not None:
        return f"{found}: method='svm' or 'new_units' standardises features by itself"
    if backbone.space.transform == "standardise":
        return f"{found}: it did not when the model was wrapped, so look at the new samples, or wrap with all of them"
    return f"{found}: wrap the model with transform='standardise'"


def _likeliest(head: Head) -> str:
    """Say what accuracy means where the classes do not exclude each other."""
    return " (the likeliest class alone counts, though several may be right)" if not head.link.exclusive else ""


def fine_tuning_advice(
    before: Evaluation | None, after: Evaluation | None, added: tuple[str, ...], seconds: float, everything: bool
) -> str | None:
    """Say that training the backbone may pay, where new classes are told apart worse than the old ones were.

    Worse means beyond chance: the 95 % interval of the new classes' accuracy ends below the accuracy that the old
    classes had before. Training is never done unasked, as it takes minutes.

    Parameters
    ----------
    before, after
        The evaluations of the old classifier on the old classes, and of the new one on all classes.
    added
        The new classes.
    seconds
        The time that one pass over the new samples took.
    everything
        Whether there are real samples of every old class.

    Returns
    -------
    str | None
        The advice; None where the new classes are told apart well enough, or where nothing was measured.

    Examples
    --------
    >>> before = Evaluation(("a",), np.array([[100]]), 0.1, 0.0)
    >>> after = Evaluation(("a", "b"), np.array([[100, 0], [20, 30]]), 0.1, 0.0)
    >>> fine_tuning_advice(before, after, ("b",), 1.0, False)[:69]
    'on frozen features the new classes reach 60.0%, where the old ones ha'
    """
    if before is None or after is None or not after.counts(added)[1]:
        return None
    old, new = before.accuracy, after.of(added)
    if after.interval(added)[1] >= old:
        return None
    minutes = seconds * PASSES / 60
    long = f"{minutes:.0f} minutes" if minutes >= 1.5 else f"{max(60 * minutes, 1):.0f} seconds"
    text = (
        f"on frozen features the new classes reach {new:.1%}, where the old ones had {old:.1%}: training the backbone "
        f"(method='fine_tune', about {long} here) may tell them apart better, at the old ones' cost: on CIFAR-10 the "
        "class trained last gained and the accuracy on all did not rise, so compare both reports"
    )
    return text + ("; with all of old=, method='joint' did better there" if everything else "")
