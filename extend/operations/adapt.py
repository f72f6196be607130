"""Train a classifier's backbone on all of its classes, once; or give the backbone another head first."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from extend.classifier import Classifier, Event, held_out_evaluation
from extend.core.errors import ArgumentError
from extend.data import Progress, class_names, read_into
from extend.heads import Activation, LinearHead, link_named
from extend.methods import Auto, ClosedForm, checked_head, retrain, settings_of
from extend.operations.load_any import as_classifier
from extend.report import Report, held_out_words, twice_named
from extend.training import Training

ONCE = Training(learning_rate=1e-3, frozen_statistics=False, balanced=False)

AUTO = Auto()


def adapt(
    classifier: Classifier | str | os.PathLike[str],
    data: Any,
    *,
    training: Training = ONCE,
    head: ClosedForm | None = AUTO,
    held_out: Any = None,
    skip_broken: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """Train the backbone on the classes it is to begin with, measure the memory anew, and freeze it.

    A pretrained network is adapted once, while the first classes' data are there; later classes are added by closed
    forms on features that stay (RanPAC, McDonnell et al. 2023, section 3.3; FSA, Panos et al. 2023).

    Parameters
    ----------
    data
        Samples of every class of the classifier, in any form that `extend.add_classes` takes; integer labels mean
        the names or, where names are no integers, places in its classes.
    training
        Which parameters move, and how.
    head
        The closed form fitted to the new memory, or `Auto`; None: the trained head stays.
    held_out
        Samples that neither this training nor an earlier one has seen, to measure with; None: the hash rule takes some
        of `data` out of this training.
    skip_broken, seed, progress
        Leave out images that cannot be read; the seed of every random choice; what wraps batches and steps.

    Raises
    ------
    DataError, ArgumentError
        Bad samples, a class without samples, nothing that can be trained, or a `head` that is no closed form.

    Examples
    --------
    >>> import extend
    >>> from flax import nnx
    >>> x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32) + np.eye(4)[np.repeat([0, 1, 2], 20)] * 4
    >>> model = extend.models.MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    >>> clf = extend.wrap(model, ["a", "b", "c"], inputs=extend.Array((4,)))
    >>> clf, report = extend.adapt(clf, (x, np.repeat([0, 1, 2], 20)), training=Training(epochs=2, batch_size=16))
    >>> clf.memory is not None
    True
    """
    classifier = as_classifier(classifier)
    checked_head(head)
    spec, names = classifier.backbone.inputs, classifier.classes
    samples = read_into(names, data, spec, "data", skip_broken=skip_broken, progress=progress).check_every_class("data")
    held = None
    if held_out is not None:
        held = read_into(names, held_out, spec, "held_out", skip_broken=skip_broken, progress=progress)
    started = time.perf_counter()
    found = retrain(classifier, samples, training, head, held_out=held, seed=seed, progress=progress)
    memory, fitted, how = found.memory, found.head, found.method
    assert memory is not None  # Samples of every class give one.
    settings = {**settings_of(training), **found.settings}
    seconds = time.perf_counter() - started
    before = held_out_evaluation(classifier.memory, classifier.head, names)
    after = held_out_evaluation(memory, fitted, names)
    learnt = after.by_class if after is not None else {}
    event = Event("adapt", names, how, len(samples), learnt, settings)
    recipe = classifier.recipe.after_adding(how, settings, learnt, trained_on=names)
    report = Report(
        action="adapt",
        classes=names,
        method=how,
        reason=found.reason,
        before=before,
        after=after,
        measured_on=held_out_words(memory, fitted) if after is not None else "nothing",
        seconds=seconds,
        fit_seconds=seconds,
        samples=len(samples),
        bytes=memory.nbytes,
        notes=(*found.notes, *twice_named(samples, None)),
    )
    return Classifier(found.backbone, fitted, names, memory, (*classifier.history, event), recipe), report


def replace_head(
    classifier: Classifier | str | os.PathLike[str], classes: Sequence[str], *, activation: Activation = "softmax"
) -> Classifier:
    """The classifier's backbone with an empty head for other classes, to be trained by `adapt`.

    The old classes and their memory are left behind; `classifier` itself keeps them.

    Raises
    ------
    ArgumentError
        Names are not unique, or fewer than two.

    Examples
    --------
    >>> import jax, extend
    >>> from flax import nnx
    >>> model = extend.models.MLP(2, inputs=4, rngs=nnx.Rngs(0))
    >>> clf = extend.wrap(model, ["a", "b"], inputs=jax.ShapeDtypeStruct((4,), np.float32))
    >>> replace_head(clf, ["x", "y", "z"]).head.num_classes
    3
    """
    names = class_names(classes)
    if len(names) < 2:
        raise ArgumentError(f"{len(names)} class given; a classifier needs at least two")
    backbone = as_classifier(classifier).backbone
    columns = np.zeros((backbone.feature_dim - backbone.offset, len(names)), np.float32)
    head = LinearHead.of(columns, np.zeros(len(names)), backbone.offset, link_named(activation))
    return Classifier(backbone, head, names, None, (Event("replace_head", names, "empty", 0, {}),))
