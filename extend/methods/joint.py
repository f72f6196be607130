"""Train the whole network again on every class: the upper bound of what adding classes can give, where all data are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool

from extend.backbone import Backbone, extract
from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples
from extend.heads import LinearHead
from extend.memory import MOST, Exemplars, Memory, choosing, held_out_rows, with_exemplars
from extend.methods.auto import Auto
from extend.methods.base import ClosedForm, Method, Need
from extend.methods.extended import Extended
from extend.methods.moved_backbone import checked_head, first_head, named, with_last_head, with_memory
from extend.training import Training, check_training, measure_fisher, train_backbone


@dataclass(frozen=True)
class Joint(Training, Method):
    """Minimise the cross-entropy over all classes on all of their samples, beginning with the present network.

    It needs the old data: ``add_classes(clf, new, old=..., method=Joint())`` with samples of every old class. The
    samples that the hash rule holds out are not trained on; the memory is measured anew, and nothing in it is carried
    over. It costs three passes over all samples in each epoch. Where the old data are gone, use another method.

    Parameters
    ----------
    head
        The closed form that is fitted to the memory afterwards, or `Auto`; with None the trained head stays.

    The other parameters are those of `extend.Training`.

    Examples
    --------
    >>> Joint(epochs=20, flip=True).frozen_statistics
    False
    """

    learning_rate: float = 1e-3
    frozen_statistics: bool = False
    balanced: bool = False
    head: ClosedForm | None = field(default_factory=Auto)
    name: ClassVar[str] = "joint"
    linear: ClassVar[bool] = False
    trains_backbone: ClassVar[bool] = True
    exclusive_only: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_head(self.head)

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({"old samples"})

    def extend(
        self,
        classifier: Classifier,
        samples: Samples,
        *,
        old: Samples | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Extended:
        """Train on new and old samples together.

        Parameters
        ----------
        classifier
            What to extend; it stays as it is.
        samples
            New samples, of new classes or of classes that are there.
        old
            Real samples of every old class.
        seed
            The seed of every random choice.
        progress
            Wraps the batches of features, and the steps of an epoch.

        Raises
        ------
        ArgumentError
            `old` is missing or lacks a class, or nothing can be trained.
        """
        present = old.present if old is not None else ()
        missing = [name for name in classifier.classes if name not in present]
        if missing or old is None:
            raise ArgumentError(
                f"joint trains on all data: pass old= with samples of every old class ({missing[0]!r} has none), or "
                "use method='fine_tune', which needs no old sample"
            )
        checked_head(self.head, classifier.memory)
        check_training(classifier.backbone, self)
        known, real = with_memory(classifier, old, progress)
        classes = tuple(dict.fromkeys(classifier.classes + samples.classes))
        everything = old.join(samples, classifier.backbone.inputs).relabel(classes)
        found = retrain(known, everything, self, self.head, embedded=real, seed=seed, progress=progress)
        numbers = np.arange(len(everything))
        found = replace(found, fresh=found.fresh.take(numbers[len(old) :]), old=found.fresh.take(numbers[: len(old)]))
        return named(found, self.name, self.settings())


def retrain(
    classifier: Classifier,
    samples: Samples,
    training: Training,
    head: ClosedForm | None,
    *,
    held_out: Samples | None = None,
    embedded: Features | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Extended:
    """Train the backbone of a classifier on samples of every class, and measure its memory anew.

    Parameters
    ----------
    classifier
        What to train; it stays as it is.
    samples
        Samples of every class, the classifier's own first. With `held_out` all of them are trained on; otherwise the
        hash rule holds some out.
    training
        Which parameters move, and how.
    head
        The closed form that is fitted to the new memory, or `Auto`; with None the trained head stays.
    held_out
        Samples to measure with.
    embedded
        The features of the first samples before the training, if they are known already.
    seed
        The seed of every random choice.
    progress
        Wraps the batches of features, and the steps of an epoch.

    Returns
    -------
    Extended
        `fresh` are the features of all samples. `method` names the closed form, or is ``"head"`` for the trained head.

    Raises
    ------
    ArgumentError
        Nothing can be trained, or `head` is no closed form.
    """
    checked_head(head, classifier.memory)
    check_training(classifier.backbone, training)
    aside = _aside(samples, _most(classifier) if held_out is None else 0)
    kept, held = samples.take(~aside), samples.take(aside) if held_out is None else held_out
    judges = held.take(choosing(held.keys))  # The others may calibrate a budget later.
    first = _first_head(classifier, samples, aside, embedded, progress)
    trained = train_backbone(
        classifier.backbone,
        first,
        kept,
        training,
        measure=_watch(classifier.backbone, judges) if len(judges) else None,
        seed=seed,
        progress=progress,
    )
    backbone = classifier.backbone.with_network(trained.network)
    rows = extract(backbone, samples, progress=progress)
    used = training.patience is not None or bool(trained.stopped)
    memory = _with_held_out(_memory(classifier, backbone, rows), classifier, backbone, held_out)
    memory = _like_before(memory, classifier, used)
    if classifier.memory is not None and classifier.memory.exemplars is not None:
        limited = replace(memory, exemplars=Exemplars(classifier.memory.exemplars.limit))
        memory = with_exemplars(limited, samples, rows, backbone.inputs)
    if classifier.memory is not None and classifier.memory.fisher is not None:
        memory = replace(memory, fisher=measure_fisher(backbone, trained.head, kept, seed))
    notes = [f"the network's training took {trained.steps} steps on {len(kept)} samples"]
    if trained.stopped:
        notes.append(f"training ended early: {trained.stopped}")
    found = Extended(backbone, trained.head, memory, rows, "", notes=tuple(notes), before=classifier.memory)
    return with_last_head(classifier, found, head)


def _most(classifier: Classifier) -> int:
    """Return the largest number of samples of a class that are held out."""
    return classifier.memory.max_held_out if classifier.memory is not None else MOST


def _aside(samples: Samples, most: int) -> Bool[np.ndarray, " n"]:
    """Return which samples are held out; content that is held out for one class is trained on for none."""
    aside = held_out_rows(samples.keys, samples.labels, max_held_out=most)
    return aside | np.isin(samples.keys, samples.keys[aside])


def _first_head(
    classifier: Classifier,
    samples: Samples,
    aside: Bool[np.ndarray, " n"],
    embedded: Features | None,
    progress: Progress | None,
) -> LinearHead:
    """Return the head to begin with; features are computed only where it needs them and they are not `embedded`."""
    kept = samples.take(~aside)
    rows = Features(np.zeros((0, classifier.backbone.feature_dim)), kept.labels[:0], kept.classes, kept.keys[:0])
    if classifier.head.link.exclusive:
        known = len(embedded) if embedded is not None else 0
        rest = samples.take(np.flatnonzero(~aside & (np.arange(len(samples)) >= known)))
        rows = extract(classifier.backbone, rest, progress=progress)
        if embedded is not None:
            rows = embedded.take(~aside[:known]).relabel(samples.classes).concatenate(rows)
    return first_head(classifier, _memory(classifier, classifier.backbone, rows))


def _memory(classifier: Classifier, backbone: Backbone, rows: Features) -> Memory:
    """Measure a memory that keeps what the classifier's own keeps."""
    known = classifier.memory
    return Memory.of(rows, offset=backbone.offset) if known is None else known.measured_alike(rows)


def _with_held_out(memory: Memory, classifier: Classifier, backbone: Backbone, held_out: Samples | None) -> Memory:
    """Return the memory with the held-out samples that were given, or with what is known of its own."""
    if held_out is None or not len(held_out):
        return replace(memory, trained_on=_trained_on(classifier, memory))
    checked = extract(backbone, held_out)
    return memory.with_held_out(checked.features, held_out.labels, held_out.keys)


def _like_before(memory: Memory, classifier: Classifier, used: bool) -> Memory:
    """Choose the strengths of the memory, and keep inverses if the classifier's memory keeps some."""
    before = classifier.memory
    used = used or (before is not None and before.held_out_used)
    memory = replace(memory.with_strengths(), held_out_used=used)
    return memory.recursive() if before is not None and before.inverses else memory


def _trained_on(classifier: Classifier, memory: Memory) -> Bool[np.ndarray, " k"]:
    """Return whether the backbone may have been trained before on a class's samples that are held out now.

    It was not trained on samples of new classes, nor on those that were held out, unseen, before this training.
    """
    seen = np.zeros(len(memory.classes), bool)
    before, (_, labels) = classifier.memory, memory.held_out
    for label, name in enumerate(memory.classes):
        if name not in classifier.classes:
            continue
        place, keys = classifier.classes.index(name), memory.held_out_keys[labels == label]
        unseen = before is not None and not before.trained_on[place]
        seen[label] = not (
            unseen and before is not None and bool(np.all(before.holds(keys, np.full(len(keys), place))))
        )
    return seen


def _watch(backbone: Backbone, held: Samples) -> Callable[[Mapping[str, np.ndarray], LinearHead], Mapping[str, float]]:
    """Judge a state by its accuracy on held-out samples."""

    def measure(network: Mapping[str, np.ndarray], head: LinearHead) -> Mapping[str, float]:
        scores = head.scores(extract(backbone.with_network(network), held).features)
        share = float((scores.argmax(axis=1) == held.labels).mean())
        return {"held-out": share, "score": share}

    return measure
