"""A watch on a training that adds classes: how well each epoch's state knows the old classes and the new ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from extend.backbone import extract
from extend.classifier import Classifier
from extend.heads import LinearHead
from extend.memory import Kind, Memory, in_turns
from extend.methods.lesson import Lesson
from extend.methods.moved_backbone import carry_memory, lda_head
from extend.methods.weight_averaging import Average

MEASURED = 1000
"""The number of samples of new classes, and of old ones, by which the drift of a state is judged."""


class Watch:
    """Measure the accuracy on old and on new classes at the end of every epoch.

    Old classes are judged by held-out features that are carried over, which is an estimate; new classes by held-out
    samples. The head is LDA on the memory that is carried over, in place of the closed form that comes in the end, or
    the trained head where this one stays. Old and new weights are averaged as they are in the end, but without the
    Fisher diagonal.

    Parameters
    ----------
    classifier, lesson
        The classifier before the training, with a memory; and what it is trained on.
    first
        The head that the training begins with.
    average, drift
        How weights are averaged, and by which map the old classes are carried over; None leaves them as they are.
    stays
        Whether the trained head stays.
    """

    def __init__(
        self,
        classifier: Classifier,
        lesson: Lesson,
        first: LinearHead,
        average: Average,
        drift: Kind | None,
        stays: bool,
    ) -> None:
        assert classifier.memory is not None
        self.classifier, self.memory, self.lesson = classifier, classifier.memory, lesson
        self.first, self.average, self.drift, self.stays = first, average, drift, stays
        self.held = lesson.held
        labels, new = lesson.samples.labels, np.unique(lesson.new.relabel(lesson.classes).labels)
        order = in_turns(labels, np.random.default_rng(0))
        given = np.isin(labels[order], new)
        chosen = np.concatenate([order[given][: max(MEASURED, 2 * len(new))], order[~given][:MEASURED]])
        self.part, self.known = lesson.samples.take(chosen), lesson.before.features[chosen]
        self.fresh = np.isin(self.part.labels, new)

    @property
    def sees(self) -> bool:
        """Whether something is held out to judge by."""
        return len(self.memory.held_out[1]) + len(self.held) > 0

    def __call__(self, network: Mapping[str, np.ndarray], head: LinearHead) -> Mapping[str, float]:
        """Return the accuracy on ``old`` and ``new`` classes, and their average over classes as ``score``."""
        before = self.classifier.backbone
        moved = before.with_network(self.average.network(before.params["network"], network))
        after, memory = extract(moved, self.part), self.memory
        if self.drift is not None:
            memory = carry_memory(memory, self.known, after.features, self.drift, self.part.labels)
        if self.stays:
            head = self.average.head(self.first, head, self._old_columns)
        else:
            rows = after.take(self.fresh)
            head = lda_head(memory.with_samples(rows))
        return self._scored(head, memory, extract(moved, self.held).features if len(self.held) else None)

    @property
    def _old_columns(self) -> int:
        """The number of the head's columns that were there before the training."""
        return len(self.lesson.classes if self.first.link.exclusive else self.classifier.classes)

    def _scored(self, head: LinearHead, memory: Memory, held: Float[np.ndarray, "n d"] | None) -> dict[str, float]:
        found, old = {}, len(self.classifier.classes)
        rows, labels = memory.held_out
        if len(labels):
            found["old"] = _accuracy(head.scores(rows), labels)
        if held is not None:
            found["new"] = _accuracy(head.scores(held), self.held.labels)
        counts = {"old": old, "new": len(self.lesson.classes) - old}
        weights = [max(counts[name], 1) for name in found]
        return {**found, "score": float(np.average(list(found.values()), weights=weights))}


def _accuracy(scores: Float[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> float:
    """Return the accuracy, averaged over classes."""
    return float(np.mean([(scores[labels == c].argmax(axis=1) == c).mean() for c in np.unique(labels)]))
