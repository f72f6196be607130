"""Train the backbone on the new classes, and carry what is remembered of the old ones along."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, get_args

import numpy as np

from extend.backbone import extract as features
from extend.classifier.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Progress
from extend.data.features import Features
from extend.data.samples import Samples
from extend.heads.linear import LinearHead
from extend.memory.drift import Kind
from extend.memory.fisher import Fisher
from extend.memory.herding import exemplar_samples, in_turns
from extend.memory.memory import Memory
from extend.memory.rows import held_out_rows
from extend.methods.auto import Auto
from extend.methods.base import ClosedForm, Method, statistics_of
from extend.methods.extended import Extended
from extend.methods.increment import memory_from
from extend.methods.moved_backbone import (
    Moved,
    carry_memory,
    checked_head,
    first_head,
    measured,
    old_columns,
    settled,
    training_samples,
)
from extend.methods.new_units import ForgettingWarning
from extend.training.learn import Learnt, check_training, learn
from extend.training.objective import Anchors
from extend.training.parameters import fisher_of
from extend.training.settings import Training

DRAWS, MEASURED = 200, 1000
"""Rows drawn of an old class to train the head with; samples, so many of new classes and so many of old ones, by which
a state is judged while training."""
ONE = np.float32(1)


@dataclass(frozen=True)
class FineTune(Training, Method):
    """Train the backbone at a low rate on the new classes; then carry the old ones through the drift and fit a head.

    The loss is the cross-entropy of a linear head over all classes, which begins as LDA on the memory. Old classes
    without real samples (with a sigmoid all of them, as draws say what a new class is not) train the head by draws
    from their Gaussians (PASS, Zhu et al. 2021), the backbone by what holds it (`Anchors`): ``sum_c CE + distillation
    KL + feature change + EWC``. Afterwards each old class's mean m and covariance C become ``A m + b`` and ``A C A' +
    R`` by the map fitted to the new samples' features before and after (SLDC, Rao et al. 2026; `extend.memory.drift`), and
    `head` is fitted to the memory in closed form. Old held-out features go through the same map; figures from them are
    estimates, as they cannot see the map's own error.

    An epoch has as many draws as there are new samples; exemplars share them. Costs ``epochs`` times three passes (four
    with distillation) over so many, and in memory the parameters eleven times. Not where frozen features tell the new
    classes apart already: it takes minutes and forgets more than a closed form. A map fitted to one class may not fit
    the others: keep exemplars where that is allowed.

    Args:
        distillation: weight, as LwF's (Li & Hoiem 2016); 0: off.
        feature_distillation: weight of how much the features move; 0: off.
        ewc: weight of elastic weight consolidation (Kirkpatrick et al. 2017), which needs the Fisher diagonal:
            ``extend.wrap(..., fisher=True)``, or real samples as ``old=``; 0: off.
        replay: train on the memory's exemplars and on samples given as ``old=``.
        average: share of the old weights in an average of old and new ones, weighted by the Fisher diagonal where the
            memory holds one (CoFiMA, Marouf et al. 2024, equation 6); 0: off.
        drift: ``"linear"``, ``"weak"`` (weakly non-linear), ``"translation"`` (SDC, Yu et al. 2020), or None: the old
            statistics stay as they were.
        head: the closed form, or `Auto`; None: the trained head stays, as it does for a sigmoid; without exemplars it
            takes most old samples for the class trained last.

    The other arguments are those of `extend.training.settings.Training`.

    Raises:
        ValueError: a negative weight, ``average`` outside 0 to 1, or a `head` that is no closed form.

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
        """Train the backbone, and fit a head to the memory that comes out."""
        complete = classifier.memory is None and old is not None and set(classifier.classes) <= set(old.present)
        if complete and old is not None:  # So that there is something to compare with.
            first = memory_from(classifier, features.extract(classifier.backbone, old))
            classifier = replace(classifier, memory=first)
        moved = self.move(classifier, samples, old, complete=complete, seed=seed, progress=progress)
        return settled(self, self.head, classifier, moved, classifier.memory if complete else None)

    def move(
        self,
        clf: Classifier,
        new: Samples,
        old: Samples | None,
        *,
        complete: bool = False,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Moved:
        """Train the classifier's backbone on new samples, with real old ones where there are some.

        Args:
            complete: the classifier's memory is of `old` alone, so that it can be measured anew.

        Raises:
            ValueError: there is neither a memory nor samples of every old class, fewer than two samples, or nothing
                that can be trained.
        """
        memory = statistics_of(clf.memory, "fine_tune")
        checked_head(self.head, memory)
        check_training(clf.backbone, self)
        if self.patience is not None:
            self._check_held_out(clf, memory, new)
        before = features.extract(clf.backbone, new, progress=progress)
        whole = measured(memory, before)
        classes = whole.classes
        replayed = _replayed(clf, old, whole) if self.replay else None
        met = features.extract(clf.backbone, replayed, progress=progress) if replayed is not None else None
        sigmoid = not clf.head.link.exclusive
        start, kernel, bias = old_columns(clf, classes) if sigmoid else first_head(whole, before)
        trained, aside = training_samples(new, replayed, whole, clf.backbone.inputs)
        if len(trained) < 2:
            raise ArgumentError(
                f"{len(trained)} sample to train a backbone on; give at least two, or use a closed form (method='auto')"
            )
        present = np.bincount(trained.labels, minlength=len(classes)) > 0
        # With several labels, what an old class is given here may all be of the new one as well.
        draws = _draws(memory, present & (not sigmoid), start, len(kernel), seed)
        if sigmoid and draws is None and not present[: len(clf.classes)].all():
            warnings.warn(
                "nothing holds the new classes' scores down where old classes are: the head acts on the penultimate "
                "features and the memory describes the transformed ones; keep exemplars, or pass old=",
                ForgettingWarning,
                stacklevel=2,
            )
        rows = before.take(~aside).relabel(classes)
        if met is not None:
            rows = rows.concatenate(met.relabel(classes))
        held = new.take(aside)
        stays = sigmoid or self.head is None
        measure = self._watch(clf, memory, rows, trained, held, classes, (start, kernel, bias), stays)
        learnt = learn(
            clf.backbone,
            kernel,
            bias,
            trained,
            self,
            start=start,
            old=len(clf.classes),
            link=clf.head.link,
            anchors=Anchors(
                self.distillation, self.feature_distillation, self.ewc, self._fisher(clf, memory, old, seed)
            ),
            draws=draws,
            measure=measure,
            per_epoch=max(1, -(-int((~aside).sum()) // self.batch_size)),
            seed=seed,
            progress=progress,
        )
        backbone = clf.backbone.with_network(self._averaged(clf, memory, learnt, trained, start, seed))
        last = (learnt.kernel, learnt.bias)
        if stays:
            last = self._mixed_head((kernel, bias), last, len(clf.classes) if sigmoid else len(classes))
        fresh = features.extract(backbone, new, progress=progress)
        after = features.extract(backbone, trained)
        if complete and old is not None:
            real = features.extract(backbone, old).relabel(clf.classes)
            carried = Memory.of(
                Features(real.features, real.labels, clf.classes, real.keys), offset=backbone.offset, trained_on=True
            )
        elif self.drift is not None:
            carried = carry_memory(memory, rows.features, after.features, self.drift, trained.labels)
        else:
            carried = replace(memory, transported=clf.classes)
        own = LinearHead.of(*last, start, clf.head.link, "trained")
        if memory.fisher is not None:
            carried = replace(carried, fisher=memory.fisher + fisher_of(backbone, own, new.take(~aside), seed))
        return Moved(backbone, measured(carried, fresh), fresh, own if stays else None, self._notes(learnt, complete))

    def _check_held_out(self, clf: Classifier, memory: Memory, new: Samples) -> None:
        """Without held-out samples of new classes, the old ones alone would choose the state that learnt least."""
        aside = held_out_rows(new.keys, new.labels, max_held_out=memory.max_held_out)
        added = np.asarray([name not in clf.classes for name in new.classes])
        if added.any() and not aside[added[new.labels]].any():
            why = (
                "this classifier was wrapped with held_out=0"
                if not memory.max_held_out
                else "one in ten is, of ten or more"
            )
            raise ArgumentError(
                f"patience goes by held-out samples, and of the new classes' {int(added[new.labels].sum())} none is "
                f"held out ({why}): leave it out, or give more samples"
            )

    def _fisher(self, clf: Classifier, memory: Memory, old: Samples | None, seed: int) -> Fisher | None:
        if not self.ewc:
            return None
        if memory.fisher is not None:
            return memory.fisher
        if old is None:
            raise ArgumentError(
                "ewc needs the Fisher diagonal of the old classes: wrap the model with fisher=True, or pass old=(x, y)"
            )
        return fisher_of(clf.backbone, clf.head, old.take(~memory.holds(old.keys, _labels(clf, old))), seed)

    def _averaged(
        self, clf: Classifier, memory: Memory, learnt: Learnt, trained: Samples, start: int, seed: int
    ) -> dict[str, np.ndarray]:
        """``(a F_old old + (1 - a) F_new new) / (a F_old + (1 - a) F_new)``; without F, ``a old + (1 - a) new``."""
        if not self.average:
            return learnt.network
        before = clf.backbone.params["network"]
        averaged = {name: self._mixed(before[name], value) for name, value in learnt.network.items()}
        if memory.fisher is None:
            return averaged
        head = LinearHead.of(learnt.kernel, learnt.bias, start, clf.head.link, "trained")
        moved = clf.backbone.with_network(learnt.network)
        trust, distrust = memory.fisher.mean(), fisher_of(moved, head, trained, seed).mean()
        for name in averaged.keys() & trust.keys() & distrust.keys():
            floor = 1e-3 * max(float(trust[name].mean()), float(distrust[name].mean())) + 1e-12
            averaged[name] = self._mixed(
                before[name], learnt.network[name], trust[name] + floor, distrust[name] + floor
            )
        return averaged

    def _mixed(self, before: Any, after: Any, trust: Any = ONE, distrust: Any = ONE) -> np.ndarray:
        """``(a trust before + (1 - a) distrust after) / (a trust + (1 - a) distrust)``, a: the share of the old."""
        one, two = np.float32(self.average) * trust, np.float32(1 - self.average) * distrust
        mixed = (one * np.asarray(before) + two * np.asarray(after)) / (one + two)
        return mixed.astype(np.asarray(after).dtype)

    def _mixed_head(
        self, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], old: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first `old` columns averaged; the others are as they were learnt, as nothing was there before."""
        both = [np.asarray(part).copy() for part in after]
        for part, was in zip(both, before, strict=True):
            part[..., :old] = self._mixed(was[..., :old], part[..., :old])
        return both[0], both[1]

    def _watch(
        self,
        clf: Classifier,
        memory: Memory,
        rows: Features,
        trained: Samples,
        held: Samples,
        classes: tuple[str, ...],
        first: tuple[int, np.ndarray, np.ndarray],
        stays: bool,
    ) -> Callable[[Mapping[str, Any], np.ndarray, np.ndarray], Mapping[str, float]] | None:
        """Accuracy on old classes (held-out features carried over, an estimate) and on new ones (held-out samples).

        Of LDA on the memory carried over, in place of the closed form that comes in the end; or of the trained head,
        where it stays. Old and new weights are averaged as they are in the end, but without the Fisher diagonal. None
        where nothing is held out.
        """
        place = np.asarray([classes.index(name) for name in held.classes])
        order = in_turns(trained.labels, np.random.default_rng(0))
        given = np.isin(trained.labels[order], place)
        sample = np.concatenate([order[given][: max(MEASURED, 2 * len(place))], order[~given][:MEASURED]])
        part, known = trained.take(sample), rows.features[sample]
        old_labels = memory.held_out[1]
        fresh = np.isin(part.labels, place)
        before = clf.backbone.params["network"]
        if not len(old_labels) and not len(held):
            return None

        def right(scores: np.ndarray, labels: np.ndarray) -> float:
            shares = [(scores[labels == c].argmax(axis=1) == c).mean() for c in np.unique(labels)]
            return float(np.mean(shares))

        def measure(network: Mapping[str, Any], kernel: np.ndarray, bias: np.ndarray) -> Mapping[str, float]:
            moved = clf.backbone.with_network({name: self._mixed(before[name], leaf) for name, leaf in network.items()})
            after, now = features.extract(moved, part), memory
            if self.drift is not None:
                now = carry_memory(memory, known, after.features, self.drift, part.labels)
            start = first[0]
            if stays:
                old = len(clf.classes) if not clf.head.link.exclusive else len(classes)
                kernel, bias = self._mixed_head(first[1:], (kernel, bias), old)
            else:
                start, kernel, bias = first_head(measured(now, after.take(fresh)), after.take(fresh))
            columns = slice(start, start + len(kernel))
            found: dict[str, float] = {}
            if len(old_labels):
                found["old"] = right(now.held_out[0][:, columns] @ kernel + bias, old_labels)
            if len(held):
                found["new"] = right(
                    features.extract(moved, held).features[:, columns] @ kernel + bias, place[held.labels]
                )
            counts = {"old": len(clf.classes), "new": len(classes) - len(clf.classes)}
            weights = [max(counts[name], 1) for name in found]
            return {**found, "score": float(np.average(list(found.values()), weights=weights))}

        return measure

    def _notes(self, learnt: Learnt, complete: bool) -> tuple[str, ...]:
        notes = [f"the backbone's training took {learnt.outcome.steps} steps on the new classes"]
        if learnt.outcome.stopped:
            notes.append(f"training ended early: {learnt.outcome.stopped}")
        if complete:
            notes.append("the old classes were measured anew on the samples given as old=")
        elif self.drift is not None:
            notes.append("figures of old classes are estimated: their held-out features went through the drift map")
        else:
            notes.append("figures of old classes are of their features before the backbone moved: do not trust them")
        return tuple(notes)


def _labels(clf: Classifier, samples: Samples) -> np.ndarray:
    """The samples' labels, into the classifier's classes."""
    return np.asarray([clf.classes.index(name) for name in samples.classes])[samples.labels]


def _replayed(clf: Classifier, old: Samples | None, whole: Memory) -> Samples | None:
    """Real samples of old classes: those given, and the memory's exemplars; none that is held out."""
    parts = []
    if old is not None:
        parts.append(old.take(~whole.holds(old.keys)))
    if clf.memory is not None and (kept := exemplar_samples(clf.memory, clf.backbone.inputs)) is not None:
        parts.append(kept.take(~whole.holds(kept.keys)))
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    both = parts[0]
    for part in parts[1:]:
        both = both.join(part, clf.backbone.inputs).relabel(whole.classes)
    return both


def _draws(
    memory: Memory, present: np.ndarray, start: int, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows drawn of every old class that has no real samples, in the columns that a head reads, and their labels.

    None if all have samples, or if the memory does not describe these columns.
    """
    absent = [label for label in range(len(memory.classes)) if not present[label]]
    if not absent or start < memory.offset:
        return None
    columns = slice(start - memory.offset, start - memory.offset + size)
    rows = [memory.sample(memory.classes[label], DRAWS, seed)[:, columns] for label in absent]
    return np.concatenate(rows), np.repeat(absent, DRAWS)
