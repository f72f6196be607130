"""An increment: new samples as features, beside all that is known of the old classes.

Every input goes through the backbone once here; whatever a method or a forgetting limit then tries works on the result.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from extend.backbone import extract
from extend.classifier import Classifier
from extend.data import Features, Progress, Samples
from extend.heads import Budget, Head
from extend.memory import Memory
from extend.methods.choice import Choice
from extend.methods.extended import Extended


@dataclass(frozen=True, eq=False)
class Increment:
    """What a method that keeps the backbone works on.

    Parameters
    ----------
    classifier
        The classifier without the new samples.
    memory
        The memory of all classes, the new samples included; None where there is none.
    fresh
        The features of the new samples, labelled into their own classes.
    rows
        The features that a head may be trained on, labelled into all classes: new ones and real old ones, but none that
        is held out.
    old
        The features of the real old samples that were given; None if there are none.
    embedding_seconds
        How long the new samples took to go through the backbone.
    embedded_at
        When the last features were there, by `time.perf_counter`.
    """

    classifier: Classifier
    memory: Memory | None
    fresh: Features
    rows: Features
    old: Features | None
    embedding_seconds: float
    embedded_at: float

    @classmethod
    def of(
        cls, classifier: Classifier, samples: Samples, *, old: Samples | None = None, progress: Progress | None = None
    ) -> Increment:
        """Embed new samples and real old ones, and add them to what is known.

        Raises
        ------
        DataError
            There is no memory, and `old` lacks a class.
        """
        started = time.perf_counter()
        fresh = extract(classifier.backbone, samples, progress=progress)
        passed = time.perf_counter() - started
        real = extract(classifier.backbone, old, progress=progress) if old is not None else None
        embedded_at, known = time.perf_counter(), classifier.memory
        if known is None and real is not None:
            known = memory_from(classifier, real)
        memory = known.with_samples(fresh) if known is not None else None
        classes = tuple(dict.fromkeys((*classifier.classes, *samples.classes)))
        rows = (fresh if real is None else fresh.concatenate(real)).relabel(classes)
        if memory is not None:
            rows = rows.take(~memory.holds(rows.keys, rows.labels))
        return cls(classifier, memory, fresh, rows, real, passed, embedded_at)

    @property
    def head(self) -> Head:
        """The old head."""
        return self.classifier.head

    @property
    def added(self) -> tuple[str, ...]:
        """The classes that are new."""
        return self.rows.classes[self.head.num_classes :]

    @property
    def exclusive(self) -> bool:
        """Whether every input belongs to exactly one class."""
        # A file of another framework keeps its own last activation, whatever the columns are.
        return self.head.link.exclusive or self.classifier.backbone.own_format is not None

    @property
    def linear_only(self) -> bool:
        """Whether the classifier is to go back to a format that holds linear heads only."""
        return self.classifier.backbone.own_format is not None

    def extended(self, choice: Choice, reason: str = "", budget: Budget | None = None) -> Extended:
        """Return what a choice makes of the classifier; `reason` stands in place of the choice's own."""
        return Extended(
            self.classifier.backbone,
            choice.head,
            self.memory,
            self.fresh,
            choice.method.name,
            choice.method.settings(),
            reason or str(choice),
            budget=budget,
            before=self.classifier.memory,
            old=self.old,
            embedding_seconds=self.embedding_seconds,
            fit_seconds=time.perf_counter() - self.embedded_at,
            chosen=choice.chosen.to_dict() if choice.chosen is not None else None,
        )


def memory_from(classifier: Classifier, real: Features) -> Memory:
    """Measure a memory from real samples of every class of a classifier that has none.

    Raises
    ------
    DataError
        A class has no samples.
    """
    whole = real.relabel(classifier.classes).check_every_class("old=")
    return Memory.of(whole, offset=classifier.backbone.offset, trained_on=True)
