"""What the methods that train a backbone share: the memory before and after, the head to begin with, the last head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from extend.backbone import extract
from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples
from extend.heads import LinearHead, temperature
from extend.memory import Kind, Linear, Memory, Translation, fit_drift
from extend.methods.base import ClosedForm
from extend.methods.extended import Extended
from extend.methods.increment import memory_from
from extend.methods.lda import LDA


def checked_head(head: ClosedForm | None, memory: Memory | None = None) -> None:
    """Refuse, before the long work, a head that a memory alone cannot give, or not a memory like this one.

    Raises
    ------
    ArgumentError
        The head is no closed form, or needs one scatter for each class where the memory keeps one for all.
    """
    if head is not None and not getattr(head, "closed_form", False):
        raise ArgumentError(
            f"head is {head}; expected a closed form such as LDA(), or Auto(), or None: the trained head"
        )
    if head is not None and memory is not None and memory.scatter_mode == "pooled" and head.needs_class_scatter:
        raise ArgumentError(
            f"head is {head}, which needs a scatter a class, and this memory keeps one for all: take another head, or "
            'wrap with scatter="class"'
        )


def covers(samples: Samples | None, classes: tuple[str, ...]) -> bool:
    """Whether there are samples of every one of these classes."""
    return samples is not None and set(classes) <= set(samples.present)


def with_memory(
    classifier: Classifier, old: Samples | None, progress: Progress | None = None
) -> tuple[Classifier, Features | None]:
    """Give a classifier that has no memory one, measured from real samples of every old class.

    Returns
    -------
    Classifier
        The same classifier with a memory; as it is if it has one, or if `old` lacks a class.
    Features
        The features of `old`, if the memory was measured from them.
    """
    if classifier.memory is not None or old is None or not covers(old, classifier.classes):
        return classifier, None
    real = extract(classifier.backbone, old, progress=progress)
    return replace(classifier, memory=memory_from(classifier, real)), real


def carry_memory(
    memory: Memory,
    before: Float[np.ndarray, "n d"],
    after: Float[np.ndarray, "n d"],
    kind: Kind,
    labels: Int[np.ndarray, " n"],
) -> Memory:
    """Carry the memory through the map that takes features before to features after.

    A class weighs as the root of its size: few exemplars of each old class count for something beside thousands of new
    samples, and yet are not trusted as thousands would be.
    """
    count = np.bincount(labels)[labels]
    weights, offset = 1 / np.sqrt(count), memory.offset

    def fitted(columns: slice) -> Linear | Translation:
        return fit_drift(before[:, columns], after[:, columns], kind, weights)

    own = fitted(slice(0, offset)) if offset else None
    return memory.transport(fitted(slice(offset, None)), own)


def first_head(classifier: Classifier, memory: Memory) -> LinearHead:
    """Return the head that a training begins with, of one block, for all classes of the memory.

    Where classes exclude each other it is `lda_head`. Otherwise it is the present head with empty columns for the new
    classes.

    Raises
    ------
    ArgumentError
        Classes do not exclude each other, and the present head is not linear.
    """
    return lda_head(memory) if classifier.head.link.exclusive else _widened(classifier, len(memory.classes))


def lda_head(memory: Memory) -> LinearHead:
    """Return LDA on the memory, of one block, at the temperature that fits the held-out rows best."""
    head = LDA().fit(memory)
    start, stop = head.rows
    kernel, bias = head.dense(stop)  # Training knows no centre.
    held, labels = memory.held_out
    factor = temperature(head.scores(held), labels)[0] if len(held) else 1.0
    return LinearHead.of(kernel[start:] / factor, bias / factor, start)


def _widened(classifier: Classifier, k: int) -> LinearHead:
    """Return the present head with columns for k classes; the scores of the new ones are -2 at first."""
    head = classifier.head.as_linear()
    if head is None:
        raise ArgumentError("training with a sigmoid begins with the present head, which must be linear")
    start, stop = head.rows
    added = k - head.num_classes
    kernel, bias = head.dense(stop)
    kernel = np.concatenate([kernel[start:], np.zeros((stop - start, added))], axis=1)
    return LinearHead.of(kernel, np.concatenate([bias, np.full(added, -2.0)]), start, head.link)


def with_last_head(classifier: Classifier, trained: Extended, head: ClosedForm | None) -> Extended:
    """Give what was trained its last head: the closed form fitted to the memory, or the trained one.

    The trained head stays if `head` is None, and where classes do not exclude each other. `Extended.method` names the
    closed form; its settings are in ``settings["head"]``.
    """
    if head is None or not classifier.head.link.exclusive:
        return replace(trained, method="head", reason="the trained head")
    memory = trained.memory
    assert memory is not None
    choice = head.choose(memory).keeping_offsets(classifier.head, memory)
    name = choice.method.name
    settings = {"head": {"name": name, "settings": choice.method.settings()}}
    return replace(trained, head=choice.head, method=name, settings=settings, reason=str(choice))


def named(found: Extended, name: str, settings: dict[str, object]) -> Extended:
    """Say which method trained the backbone; the closed form that was fitted afterwards becomes a part of it."""
    reason = found.reason
    if "head" in found.settings:
        reason = f"head: {found.method}" + (f", {reason}" if reason else "")
    return replace(found, method=name, settings={**settings, **found.settings}, reason=reason)
