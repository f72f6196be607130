"""The lesson: what a backbone is trained on when classes are added, and the features of it before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from extend.backbone import Backbone, extract
from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Features, InputSpec, Progress, Samples
from extend.memory import Memory, exemplar_samples


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a backbone is trained on, and the features of it before.

    Parameters
    ----------
    new
        The new samples.
    aside
        Which of them are held out, and not trained on.
    memory
        The memory of old and new classes before the training.
    replayed
        Real samples of old classes, none of them held out; None for none.
    samples
        What is trained on: the new samples that are not held out, then the replayed ones; labelled into the classes of
        the memory.
    before
        The features of these samples before the training.
    """

    new: Samples
    aside: Bool[np.ndarray, " n"]
    memory: Memory
    replayed: Samples | None
    samples: Samples
    before: Features

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        new: Samples,
        old: Samples | None,
        real: Features | None = None,
        *,
        replay: bool = True,
        progress: Progress | None = None,
    ) -> Lesson:
        """Embed the new samples and those to replay, each once.

        Parameters
        ----------
        classifier
            It has a memory.
        old, real
            Real samples of old classes, and their features if these are known already.
        replay
            Whether to train on `old` and on the memory's exemplars.

        Raises
        ------
        ArgumentError
            There are fewer than two samples to train on.
        """
        assert classifier.memory is not None
        fresh = extract(classifier.backbone, new, progress=progress)
        memory = classifier.memory.with_samples(fresh)
        replayed = _replayed(classifier, old, memory) if replay else None
        samples, aside = training_samples(new, replayed, memory, classifier.backbone.inputs)
        if len(samples) < 2:
            raise ArgumentError(
                f"{len(samples)} sample to train a backbone on; give at least two, or use a closed form (method='auto')"
            )
        before = fresh.take(~aside).relabel(memory.classes)
        if replayed is not None:
            if real is not None and old is not None:
                met = real.take(~memory.holds(old.keys))
            else:
                met = extract(classifier.backbone, replayed, progress=progress)
            before = before.concatenate(met.relabel(memory.classes))
        return cls(new, aside, memory, replayed, samples, before)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, the old ones first."""
        return self.memory.classes

    @property
    def learnt(self) -> Samples:
        """The new samples that are trained on."""
        return self.new.take(~self.aside)

    @property
    def held(self) -> Samples:
        """The new samples that are held out, labelled into all classes."""
        return self.new.take(self.aside).relabel(self.classes)

    @property
    def present(self) -> Bool[np.ndarray, " k"]:
        """Whether a class has samples to train on."""
        return self.samples.counts > 0

    def after(self, backbone: Backbone, fresh: Features) -> Float[np.ndarray, "n d"]:
        """Return the features of the samples after the training; `fresh` are those of the new samples."""
        rows = fresh.features[~self.aside]
        if self.replayed is None:
            return rows
        return np.concatenate([rows, extract(backbone, self.replayed).features])


def training_samples(
    new: Samples, replayed: Samples | None, memory: Memory, inputs: InputSpec
) -> tuple[Samples, Bool[np.ndarray, " n"]]:
    """Return what is trained on, labelled into the classes of the memory, and which new samples are held out.

    Content that is held out for one class is trained on for none.
    """
    aside = memory.holds(new.keys)
    kept = new.relabel(memory.classes).take(~aside)
    return (kept if replayed is None else kept.join(replayed, inputs)), aside


def _replayed(classifier: Classifier, old: Samples | None, memory: Memory) -> Samples | None:
    """Return the real samples of old classes, those given and the exemplars, without what is held out."""
    assert classifier.memory is not None
    parts = [
        part for part in (old, exemplar_samples(classifier.memory, classifier.backbone.inputs)) if part is not None
    ]
    free = [part.take(~memory.holds(part.keys)) for part in parts]
    some = [part for part in free if len(part)]
    if not some:
        return None
    both = some[0]
    for part in some[1:]:
        both = both.join(part, classifier.backbone.inputs)
    return both
