"""Train the whole network again on every class: the upper bound of what adding classes can give, where all data are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from extend.backbone import extract as features
from extend.backbone.base import Backbone
from extend.classifier.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Progress
from extend.data.features import Features
from extend.data.samples import Samples
from extend.heads.base import Head
from extend.heads.linear import LinearHead
from extend.memory.exemplars import Exemplars
from extend.memory.herding import with_exemplars
from extend.memory.memory import Memory
from extend.memory.rows import MOST, choosing, held_out_rows
from extend.methods.auto import Auto
from extend.methods.base import ClosedForm, Method
from extend.methods.extended import Extended
from extend.methods.increment import memory_from
from extend.methods.moved_backbone import Moved, checked_head, first_head, old_columns, settled
from extend.training.learn import check_training, learn
from extend.training.parameters import fisher_of
from extend.training.settings import Training


@dataclass(frozen=True)
class Joint(Training, Method):
    """Minimise the cross-entropy over all classes on all of their samples, beginning with the present network.

    Needs the old data: ``add_classes(clf, new, old=..., method=Joint())`` with samples of every old class. The hash
    rule's held-out samples are not trained on; the memory is measured anew, and nothing in it is carried over.
    Costs ``epochs`` times three passes over all samples. Not where the old data are gone, which is what the other
    methods are for.

    Args:
        head: the closed form fitted to the memory afterwards, or `Auto`; None: the trained head stays.

    The other arguments are those of `extend.training.settings.Training`.

    >>> Joint(epochs=20, flip=True).frozen_statistics
    False
    """

    learning_rate: float = 1e-3
    frozen_statistics: bool = False
    balanced: bool = False
    head: ClosedForm | None = field(default_factory=Auto)
    name: ClassVar[str] = "joint"
    trains_backbone: ClassVar[bool] = True
    exclusive_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
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
        moved = self.move(classifier, samples, old, seed=seed, progress=progress)
        return settled(self, self.head, classifier, moved, classifier.memory if complete else None)

    def move(
        self, clf: Classifier, new: Samples, old: Samples | None, *, seed: int = 0, progress: Progress | None = None
    ) -> Moved:
        """Train on new and old samples together.

        Raises:
            ValueError: ``old`` is missing or lacks a class.
        """
        counts = np.bincount(old.labels, minlength=len(old.classes)) if old is not None else np.zeros(0)
        there = {name for name, count in zip(old.classes, counts, strict=True) if count} if old is not None else set()
        if missing := [name for name in clf.classes if name not in there]:
            raise ArgumentError(
                f"joint trains on all data: pass old= with samples of every old class ({missing[0]!r} has none), or "
                "use method='fine_tune', which needs no old sample"
            )
        assert old is not None
        classes = clf.classes + tuple(name for name in new.classes if name not in clf.classes)
        return retrain(
            clf, old.join(new, clf.backbone.inputs).relabel(classes), self, self.head, seed, progress, len(new)
        )


def retrain(
    clf: Classifier,
    samples: Samples,
    how: Training,
    head: ClosedForm | None,
    seed: int,
    progress: Progress | None,
    fresh: int = 0,
    given: Samples | None = None,
) -> Moved:
    """Train a classifier's backbone on samples of every class, of which the last `fresh` are the new ones.

    What is measured on is held out of them by the hash rule, or is `given`.
    """
    checked_head(head, clf.memory)
    check_training(clf.backbone, how)
    most = clf.memory.max_held_out if clf.memory is not None else MOST
    aside = held_out_rows(samples.keys, samples.labels, max_held_out=most if given is None else 0)
    aside |= np.isin(samples.keys, samples.keys[aside])  # Content held out for one class is trained on for none.
    kept, held = samples.take(~aside), samples.take(aside) if given is None else given
    before = features.extract(clf.backbone, kept, progress=progress)
    if not clf.head.link.exclusive:
        start, kernel, bias = old_columns(clf, samples.classes)
    else:
        start, kernel, bias = first_head(_memory(clf.backbone, before, clf, most), before)
    judges = held.take(choosing(held.keys))  # The others may calibrate a budget later.
    learnt = learn(
        clf.backbone,
        kernel,
        bias,
        kept,
        how,
        start=start,
        link=clf.head.link,
        measure=_watch(clf.backbone, judges, start) if len(judges) else None,
        seed=seed,
        progress=progress,
    )
    backbone = clf.backbone.with_network(learnt.network)
    rows = features.extract(backbone, samples, progress=progress)
    memory = _memory(backbone, rows, clf, most)
    if given is not None and len(given):
        checked = features.extract(backbone, given)
        memory = memory.with_held_out(checked.features, given.labels, given.keys)
    else:
        memory = replace(memory, trained_on=_seen(clf, memory))
    memory = replace(
        memory.with_strengths(),
        held_out_used=how.patience is not None
        or bool(learnt.outcome.stopped)
        or (clf.memory is not None and clf.memory.held_out_used),
    )
    if clf.memory is not None and clf.memory.inverses:
        memory = memory.recursive()
    if clf.memory is not None and clf.memory.exemplars is not None:
        memory = with_exemplars(
            replace(memory, exemplars=Exemplars(clf.memory.exemplars.limit)), samples, rows, backbone.inputs
        )
    own = LinearHead.of(learnt.kernel, learnt.bias, start, clf.head.link, "trained")
    if clf.memory is not None and clf.memory.fisher is not None:
        memory = replace(memory, fisher=fisher_of(backbone, own, kept, seed))
    trained: Head | None = None
    if head is None or not clf.head.link.exclusive:
        trained = own
    notes = [f"the network's training took {learnt.outcome.steps} steps on {len(kept)} samples"]
    if learnt.outcome.stopped:
        notes.append(f"training ended early: {learnt.outcome.stopped}")
    first = len(samples) - fresh
    return Moved(backbone, memory, rows.take(np.arange(first, len(rows))), trained, tuple(notes))


def _seen(clf: Classifier, memory: Memory) -> np.ndarray:
    """Whether the backbone may have been trained before on a class's samples that are held out now, bool ``[k]``.

    Not on samples of new classes, and not on those that were held out, unseen, before this training.
    """
    seen = np.zeros(len(memory.classes), bool)
    _, labels = memory.held_out
    for label, name in enumerate(memory.classes):
        if name in clf.classes:
            place = clf.classes.index(name)
            keys = memory.held_out_keys[labels == label]
            known = clf.memory is not None and not clf.memory.trained_on[place]
            apart = clf.memory.holds(keys, np.full(len(keys), place)) if known and clf.memory is not None else False
            seen[label] = not np.all(apart)
    return seen


def _memory(backbone: Backbone, rows: Features, clf: Classifier, most: int) -> Memory:
    return Memory.of(
        rows,
        scatter=clf.memory.scatter_mode if clf.memory is not None else "class",
        offset=backbone.offset,
        max_held_out=most,
    )


def _watch(
    backbone: Backbone, held: Samples, start: int
) -> Callable[[Mapping[str, Any], np.ndarray, np.ndarray], Mapping[str, float]]:
    def measure(network: Mapping[str, Any], kernel: np.ndarray, bias: np.ndarray) -> Mapping[str, float]:
        moved = backbone.with_network({name: np.asarray(value) for name, value in network.items()})
        scores = features.extract(moved, held).features[:, start : start + len(kernel)] @ kernel + bias
        share = float((scores.argmax(axis=1) == held.labels).mean())
        return {"held-out": share, "score": share}

    return measure
