"""What the methods that move a backbone share: samples joined, the memory carried along, the head to begin with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from extend.backbone.base import Backbone
from extend.classifier.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.data.samples import Samples
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.calibration import temperature
from extend.heads.linear import LinearHead
from extend.memory.drift import Kind, Linear, Translation, fit_drift
from extend.memory.memory import Memory
from extend.methods.base import ClosedForm, Method
from extend.methods.choice import Choice
from extend.methods.extended import Extended
from extend.methods.lda import LDA


@dataclass(frozen=True, eq=False)
class Moved:
    """What a training of the backbone gives: the backbone, the memory of all classes in its features, and the rest.

    Args:
        fresh: features of the new samples.
        head: the trained head for all classes, or None: one is to be fitted to the memory.
        notes: for the report.
    """

    backbone: Backbone
    memory: Memory
    fresh: Features
    head: Head | None
    notes: tuple[str, ...]


def checked_head(head: ClosedForm | None, memory: Memory | None = None) -> None:
    """Refuse, before the long work, what cannot be fitted to a memory alone, or not to one like this."""
    if head is not None and not getattr(head, "closed_form", False):
        raise ArgumentError(
            f"head is {head}; expected a closed form such as LDA(), or Auto(), or None: the trained head"
        )
    if head is not None and memory is not None and memory.scatter_mode == "pooled" and head.needs_class_scatter:
        raise ArgumentError(
            f"head is {head}, which needs a scatter a class, and this memory keeps one for all: take another head, or "
            'wrap with scatter="class"'
        )


def carry_memory(memory: Memory, before: np.ndarray, after: np.ndarray, kind: Kind, labels: np.ndarray) -> Memory:
    """The memory carried through the map that takes features ``[n, d]`` before to after.

    A class weighs as the root of its size: few exemplars of each old class count for something beside thousands of new
    samples, and yet are not trusted as thousands would be.
    """
    count = np.bincount(labels)[labels]
    weights, offset = 1 / np.sqrt(count), memory.offset

    def fitted(columns: slice) -> Linear | Translation:
        return fit_drift(before[:, columns], after[:, columns], kind, weights)

    own = fitted(slice(0, offset)) if offset else None
    return memory.transport(fitted(slice(offset, None)), own)


def training_samples(new: Samples, replayed: Samples | None, memory: Memory, spec: Any) -> tuple[Samples, np.ndarray]:
    """What is trained on, labelled into the memory's classes, and which new samples are held out: bool ``[n]``.

    Content that is held out for one class is trained on for none.
    """
    place = np.asarray([memory.classes.index(name) for name in new.classes])
    labelled = replace(new, labels=place[new.labels], classes=memory.classes)
    aside = memory.holds(new.keys)
    kept = labelled.take(~aside)
    return (kept if replayed is None else kept.join(replayed, spec)), aside


def measured(memory: Memory, fresh: Features) -> Memory:
    return memory + Memory.of(
        fresh,
        scatter=memory.scatter_mode,
        offset=memory.offset,
        max_held_out=memory.max_held_out,
    )


def first_head(memory: Memory, fresh: Features) -> tuple[int, np.ndarray, np.ndarray]:
    """LDA on the memory, at the temperature that fits the held-out rows: where it starts, kernel and bias."""
    head = LDA().fit(memory)
    block = Calibrated.of(head).head.blocks[0]  # type: ignore[union-attr]  # LDA is linear.
    held, labels = memory.held_out
    factor = temperature(head.scores(held), labels)[0] if len(held) else 1.0
    return block.start, np.asarray(block.kernel) / factor, np.asarray(block.bias) / factor


def old_columns(clf: Classifier, classes: tuple[str, ...]) -> tuple[int, np.ndarray, np.ndarray]:
    """The present head's columns, and empty ones for the new classes: where they start, kernel and bias."""
    head = Calibrated.of(clf.head)
    if not isinstance(head.head, LinearHead):
        raise ArgumentError("training with a sigmoid begins with the present head, which must be linear")
    start, stop = head.rows
    added = len(classes) - len(clf.classes)
    kernel, bias = head.dense(stop)
    kernel = np.concatenate([kernel[start:], np.zeros((stop - start, added))], axis=1)
    return start, kernel.astype(np.float32), np.concatenate([bias, np.full(added, -2.0)]).astype(np.float32)


def settled(method: Method, head: ClosedForm | None, clf: Classifier, moved: Moved, before: Memory | None) -> Extended:
    """The head that a training ends with: its own, or the closed form fitted to the memory that comes out."""
    settings, reason, trained = method.settings(), "the trained head", moved.head
    if trained is None:
        assert head is not None
        choice: Choice = head.choose(moved.memory).keeping_offsets(clf.head, moved.memory)
        settings["head"] = {"name": choice.method.name, "settings": choice.method.settings()}
        reason = ", ".join(part for part in (f"head: {choice.method.name}", str(choice)) if part)
        trained = choice.head
    return Extended(
        moved.backbone, trained, moved.memory, moved.fresh, method.name, settings, reason, moved.notes, before=before
    )
