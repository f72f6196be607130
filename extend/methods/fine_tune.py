"""Train the backbone on the new classes, and carry what is remembered of the old ones along."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Bool

from extend.backbone import Backbone, extract
from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples
from extend.heads import LinearHead
from extend.memory import MOST, Fisher, Kind, Memory, held_out_rows
from extend.methods.auto import Auto
from extend.methods.base import ClosedForm, Method, statistics_of
from extend.methods.extended import Extended
from extend.methods.increment import memory_from
from extend.methods.lesson import Lesson
from extend.methods.moved_backbone import (
    carry_memory,
    checked_head,
    covers,
    first_head,
    named,
    with_last_head,
    with_memory,
)
from extend.methods.new_units import ForgettingWarning
from extend.methods.watch import Watch
from extend.methods.weight_averaging import Average
from extend.training import Anchors, Draws, TrainedBackbone, Training, check_training, measure_fisher, train_backbone

DRAWS = 200
"""The number of rows drawn of an old class to train the head with."""


@dataclass(frozen=True)
class FineTune(Training, Method):
    """Train the backbone at a low rate on the new classes; then carry the old ones through the drift and fit a head.

    The loss is the cross-entropy of a linear head over all classes, which begins as LDA on the memory, plus what holds
    the backbone (`extend.training.objective.Anchors`): ``sum_c CE + distillation KL + feature change + EWC``. Old
    classes without real samples train the head alone, by draws from their Gaussians (PASS, Zhu et al. 2021). With a
    sigmoid all old classes are drawn, as the draws say what a new class is not.

    Afterwards each old class's mean m and covariance C become ``A m + b`` and ``A C A' + R`` by the map that is fitted
    to the new samples' features before and after (SLDC, Rao et al. 2026; `extend.memory.drift`), and `head` is fitted
    to the memory in closed form. Old held-out features go through the same map. Figures from them are estimates, as
    they cannot see the map's own error.

    An epoch has as many draws as there are new samples; exemplars share them. It costs three passes over these samples,
    or four with distillation, and in memory the parameters eleven times. Do not use it where frozen features tell the
    new classes apart already: it takes minutes and forgets more than a closed form. A map that is fitted to one class
    may not fit the others: keep exemplars where that is allowed.

    Parameters
    ----------
    distillation
        The weight of distillation as in LwF (Li & Hoiem 2016); 0 turns it off.
    feature_distillation
        The weight of how much the features move; 0 turns it off.
    ewc
        The weight of elastic weight consolidation (Kirkpatrick et al. 2017), which needs the Fisher diagonal:
        ``extend.wrap(..., keep=extend.Keep(fisher=True))``, or real samples as ``old=``; 0 turns it off.
    replay
        Train on the memory's exemplars and on samples that are given as ``old=``.
    average
        The share of the old weights in an average of old and new ones, weighted by the Fisher diagonal where the memory
        holds one (CoFiMA, Marouf et al. 2024, equation 6); 0 turns it off.
    drift
        The map that carries the old statistics: ``"linear"``, ``"weak"`` (weakly non-linear), ``"translation"`` (SDC,
        Yu et al. 2020), or None, which leaves them as they were.
    head
        The closed form that is fitted afterwards, or `Auto`. With None the trained head stays, as it does for a
        sigmoid; without exemplars it takes most old samples for the class trained last.

    The other parameters are those of `extend.Training`.

    Raises
    ------
    ArgumentError
        A weight is negative, `average` is outside 0 to 1, `drift` is unknown, or `head` is no closed form.

    Examples
    --------
    >>> FineTune(epochs=2, select="last_block", distillation=0).drift
    'linear'
    """

    distillation: float = 1.0
    feature_distillation: float = 0.0
    ewc: float = 0.0
    replay: bool = True
    average: float = 0.0
    drift: Kind | None = "linear"
    head: ClosedForm | None = field(default_factory=Auto)
    name: ClassVar[str] = "fine_tune"
    linear: ClassVar[bool] = False
    trains_backbone: ClassVar[bool] = True
    exclusive_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.distillation, self.feature_distillation, self.ewc) < 0 or not 0 <= self.average < 1:
            raise ArgumentError(f"{self}: expected weights >= 0 and 0 <= average < 1")
        if self.drift is not None and self.drift not in get_args(Kind):
            raise ArgumentError(f"drift is {self.drift!r}; expected one of {', '.join(get_args(Kind))}, or None")
        checked_head(self.head)

    def extend(
        self,
        classifier: Classifier,
        samples: Samples,
        *,
        old: Samples | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Extended:
        """Train the classifier's backbone on new samples, with real old ones where there are some.

        Parameters
        ----------
        classifier
            What to extend; it stays as it is.
        samples
            New samples, of new classes or of classes that are there.
        old
            Real samples of old classes. The memory is measured from them where there is none.
        seed
            The seed of every random choice.
        progress
            Wraps the batches of features, and the steps of an epoch.

        Raises
        ------
        ArgumentError
            There is neither a memory nor samples of every old class, there are fewer than two samples, or nothing can
            be trained.
        """
        self._check(classifier, samples, old)
        known, real = with_memory(classifier, old, progress)
        lesson = Lesson.of(known, samples, old, real, replay=self.replay, progress=progress)
        first = first_head(known, lesson.memory)
        trained = self._train(known, lesson, first, old, seed, progress)
        backbone = known.backbone.with_network(self._averaged(known, trained, lesson, seed))
        own = trained.head
        if self._stays(known):
            own = self._average.head(first, own, len((known if not own.link.exclusive else lesson).classes))
        fresh = extract(backbone, samples, progress=progress)
        again = extract(backbone, old) if real is not None and old is not None else None
        memory = self._memory(known, lesson, backbone, own, fresh, again, seed)
        notes = tuple(self._notes(trained, again is not None))
        moved = Extended(backbone, own, memory, fresh, "", notes=notes, before=known.memory, old=again)
        return named(with_last_head(known, moved, self.head), self.name, self.settings())

    @property
    def _average(self) -> Average:
        return Average(self.average)

    def _stays(self, classifier: Classifier) -> bool:
        """Whether the trained head is the last one."""
        return self.head is None or not classifier.head.link.exclusive

    def _check(self, classifier: Classifier, samples: Samples, old: Samples | None) -> None:
        """Refuse, before the long work, what cannot be done."""
        if not covers(old, classifier.classes):
            statistics_of(classifier.memory, self.name)
        checked_head(self.head, classifier.memory)
        check_training(classifier.backbone, self)
        if self.patience is not None:
            _check_held_out(classifier, samples)

    def _train(
        self,
        classifier: Classifier,
        lesson: Lesson,
        first: LinearHead,
        old: Samples | None,
        seed: int,
        progress: Progress | None,
    ) -> TrainedBackbone:
        memory = statistics_of(classifier.memory, self.name)
        sigmoid = not first.link.exclusive
        # With several labels, what an old class is given here may all be of the new one as well.
        draws = _draws(memory, lesson.present & (not sigmoid), first, seed)
        if sigmoid and draws is None and not lesson.present[: len(classifier.classes)].all():
            warnings.warn(
                "nothing holds the new classes' scores down where old classes are: the head acts on the penultimate "
                "features and the memory describes the transformed ones; keep exemplars, or pass old=",
                ForgettingWarning,
                stacklevel=3,
            )
        fisher = self._fisher(classifier, memory, old, seed)
        watch = Watch(classifier, lesson, first, self._average, self.drift, self._stays(classifier))
        return train_backbone(
            classifier.backbone,
            first,
            lesson.samples,
            self,
            old=len(classifier.classes),
            anchors=Anchors(self.distillation, self.feature_distillation, self.ewc, fisher),
            draws=draws,
            measure=watch if watch.sees else None,
            per_epoch=max(1, -(-len(lesson.learnt) // self.batch_size)),
            seed=seed,
            progress=progress,
        )

    def _fisher(self, classifier: Classifier, memory: Memory, old: Samples | None, seed: int) -> Fisher | None:
        """Return the Fisher diagonal that elastic weight consolidation needs."""
        if not self.ewc:
            return None
        if memory.fisher is not None:
            return memory.fisher
        if old is None:
            raise ArgumentError(
                "ewc needs the Fisher diagonal of the old classes: wrap the model with keep=extend.Keep(fisher=True), "
                "or pass old=(x, y)"
            )
        labels = old.relabel(classifier.classes).labels
        return measure_fisher(classifier.backbone, classifier.head, old.take(~memory.holds(old.keys, labels)), seed)

    def _averaged(
        self, classifier: Classifier, trained: TrainedBackbone, lesson: Lesson, seed: int
    ) -> dict[str, np.ndarray]:
        """Return the network's changed parameters, averaged with the old ones."""
        if not self.average:
            return trained.network
        before, trust = classifier.backbone.params["network"], statistics_of(classifier.memory, self.name).fisher
        if trust is None:
            return self._average.network(before, trained.network)
        moved = classifier.backbone.with_network(trained.network)
        distrust = measure_fisher(moved, trained.head, lesson.samples, seed)
        return self._average.trusted(before, trained.network, trust, distrust)

    def _memory(
        self,
        classifier: Classifier,
        lesson: Lesson,
        backbone: Backbone,
        own: LinearHead,
        fresh: Features,
        old: Features | None,
        seed: int,
    ) -> Memory:
        """Return the memory of all classes in the features of the moved backbone.

        The old classes are measured anew on the features of real samples, if there are some of every class; otherwise
        they are carried over.
        """
        before = statistics_of(classifier.memory, self.name)
        if old is not None:
            memory = memory_from(replace(classifier, backbone=backbone), old)
        elif self.drift is not None:
            after = lesson.after(backbone, fresh)
            memory = carry_memory(before, lesson.before.features, after, self.drift, lesson.samples.labels)
        else:
            memory = replace(before, transported=classifier.classes)
        if before.fisher is not None:
            memory = replace(memory, fisher=before.fisher + measure_fisher(backbone, own, lesson.learnt, seed))
        return memory.with_samples(fresh)

    def _notes(self, trained: TrainedBackbone, anew: bool) -> Iterator[str]:
        """Give what the report says; `anew`: the old classes were measured on real samples."""
        yield f"the backbone's training took {trained.steps} steps on the new classes"
        if trained.stopped:
            yield f"training ended early: {trained.stopped}"
        if anew:
            yield "the old classes were measured anew on the samples given as old="
        elif self.drift is not None:
            yield "figures of old classes are estimated: their held-out features went through the drift map"
        else:
            yield "figures of old classes are of their features before the backbone moved: do not trust them"


def _check_held_out(classifier: Classifier, new: Samples) -> None:
    """Refuse patience without held-out samples of new classes: old ones alone choose the state that learnt least."""
    most = classifier.memory.max_held_out if classifier.memory is not None else MOST
    aside = held_out_rows(new.keys, new.labels, max_held_out=most)
    added = np.asarray([name not in classifier.classes for name in new.classes])
    if added.any() and not aside[added[new.labels]].any():
        why = "one in ten is, of ten or more" if most else "this classifier was wrapped with held_out=0"
        raise ArgumentError(
            f"patience goes by held-out samples, and of the new classes' {int(added[new.labels].sum())} none is "
            f"held out ({why}): leave it out, or give more samples"
        )


def _draws(memory: Memory, present: Bool[np.ndarray, " k"], head: LinearHead, seed: int) -> Draws | None:
    """Draw rows of every old class that has no real samples, in the columns that the head reads, with their labels.

    Returns None if all have samples, or if the memory does not describe these columns.
    """
    absent = [label for label in range(len(memory.classes)) if not present[label]]
    start, stop = head.rows
    if not absent or start < memory.offset:
        return None
    columns = slice(start - memory.offset, stop - memory.offset)
    rows = [memory.sample(memory.classes[label], DRAWS, seed)[:, columns] for label in absent]
    return np.concatenate(rows), np.repeat(absent, DRAWS)
