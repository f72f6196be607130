"""Choose again what was frozen (`retune`), and correct scores without touching the columns (`calibrate`)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool

from extend.classifier import Classifier, Evaluation, Event, evaluate_features, held_out_evaluation
from extend.core.errors import ArgumentError
from extend.data import class_names
from extend.heads import Calibrated, Head, align_weights, bias_correction, temperature
from extend.memory import Memory
from extend.operations.load_any import as_classifier
from extend.report import Report, held_out_words

Step = Literal["weights", "bias", "temperature"]
STEPS: tuple[Step, ...] = ("weights", "bias", "temperature")


def calibrate(
    classifier: Classifier | str | os.PathLike[str],
    steps: Sequence[Step] = ("temperature",),
    new: Sequence[str] | None = None,
) -> tuple[Classifier, Report]:
    """A classifier whose scores are corrected on its held-out features, after any method; columns keep their values.

    The report's before and after are of the same classes; `Evaluation.ece` and `log_loss` in them say what calibration
    gained, each row measured with corrections fitted on the other half of the rows (by a bit of the content key).

    Parameters
    ----------
    steps
        In this order: ``"weights"``: new columns scaled to the old ones' mean norm (WA, Zhao et al. 2020); ``"bias"``:
        new scores become ``alpha score + beta`` (BiC, Wu et al. 2019); ``"temperature"``: one factor on all scores, so
        that `predict_proba` is calibrated (Guo et al. 2017).
    new
        The classes that count as new; None: those of the last addition.

    Raises
    ------
    ArgumentError
        An unknown step, no held-out features, no new classes where a step needs some, or Gaussians where "weights"
        needs columns.

    Examples
    --------
    >>> import extend
    >>> x, y = np.random.default_rng(0).normal(size=(400, 2)).astype("float32"), np.repeat([0, 1], 200)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x + 2 * y[:, None].astype("float32"), y))
    >>> better, report = extend.calibrate(clf)
    >>> better.classes
    ('a', 'b')
    """
    classifier = as_classifier(classifier)
    memory, fresh = _checked(classifier, steps, new)
    rows, labels = memory.held_out
    started = time.perf_counter()
    half = memory.choosing
    head = _corrected(classifier.head, steps, fresh, rows, labels)
    parts = []
    for part in (half, ~half):
        if part.any() and (~part).any():
            fitted = _corrected(classifier.head, steps, fresh, rows[~part], labels[~part])
            parts.append(evaluate_features(fitted, classifier.classes, rows[part], labels[part]))
    seconds = time.perf_counter() - started
    before = held_out_evaluation(memory, classifier.head, classifier.classes)
    after = _together(parts) if len(parts) == 2 else held_out_evaluation(memory, head, classifier.classes)
    done = ", ".join(steps)
    event = Event("calibrate", (), done, 0, {}, {"was": Calibrated.of(classifier.head).correction()})
    better = replace(classifier, head=head.plain(), history=(*classifier.history, event))
    crossed = (
        ", each half corrected by the other" if len(parts) == 2 else ", the same that the correction was fitted on"
    )
    measured_on = held_out_words(memory, head).replace("held-out features", "held-out features" + crossed, 1)
    notes = (
        ("budgets were kept before this correction; they may not be after it",) if set(steps) - {"temperature"} else ()
    )
    report = Report(
        action="calibrate",
        method=done,
        before=before,
        after=after,
        measured_on=measured_on,
        seconds=seconds,
        fit_seconds=seconds,
        bytes=memory.nbytes,
        notes=notes,
    )
    return better, report


def _checked(
    classifier: Classifier, steps: Sequence[Step], new: Sequence[str] | None
) -> tuple[Memory, Bool[np.ndarray, " k"]]:
    """Return the memory and which classes are new; refuse what cannot be corrected."""
    if (
        isinstance(steps, str)
        or not isinstance(steps, Sequence)
        or not steps
        or any(step not in STEPS for step in steps)
    ):
        raise ArgumentError(f"steps is {steps!r}; expected some of {', '.join(map(repr, STEPS))}")
    memory = classifier.memory
    if memory is None or not len(memory.held_out[0]):
        raise ArgumentError(
            "calibration is fitted on held-out features, and this classifier has none: wrap it with data="
        )
    if new is None:
        new = classifier.recipe.newest
    new = class_names([new] if isinstance(new, str) else new, "new")
    if unknown := [name for name in new if name not in classifier.classes]:
        raise ArgumentError(f"no class {unknown[0]!r}; there are {', '.join(classifier.classes)}")
    fresh = np.isin(classifier.classes, list(new))
    if ("weights" in steps or "bias" in steps) and (fresh.all() or not fresh.any()):
        raise ArgumentError("weights and bias correct new classes against old ones: say which are new with new=[...]")
    labels = memory.held_out[1]
    if "bias" in steps and len(np.unique(fresh[labels])) < 2:
        raise ArgumentError("bias correction compares old and new classes on held-out rows, and one of them has none")
    if not classifier.head.link.exclusive:
        raise ArgumentError("calibration is of softmax scores; this head scores each class alone (sigmoid)")
    return memory, fresh


def _corrected(
    head: Head, steps: Sequence[Step], fresh: np.ndarray, rows: np.ndarray, labels: np.ndarray
) -> Calibrated:
    """The head after these steps, fitted on these rows."""
    now = Calibrated.of(head)
    for step in steps:
        if step == "weights":
            now = align_weights(now, fresh)
        elif step == "bias":
            alpha, beta = bias_correction(now.scores(rows), labels, fresh)
            gain, shift = np.where(fresh, alpha, 1.0), np.where(fresh, beta, 0.0)
            now = replace(
                now,
                scale=(np.asarray(now.scale) * gain).astype(np.float32),
                offset=(np.asarray(now.offset) * gain + shift).astype(np.float32),
            )
        else:
            factor = temperature(now.scores(rows), labels)[0]
            now = replace(
                now,
                temperature=np.float32(now.temperature * factor),
                offset=(np.asarray(now.offset) / factor).astype(np.float32),
            )
    return now


def _together(parts: list[Evaluation]) -> Evaluation:
    """Two evaluations of disjoint rows as one; the calibration error is their mean, weighted by rows."""
    n = [part.n for part in parts]
    confusion = parts[0].confusion + parts[1].confusion
    loss, ece = (float(np.average([getattr(p, name) for p in parts], weights=n)) for name in ("log_loss", "ece"))
    return Evaluation(parts[0].classes, confusion, loss, ece)
