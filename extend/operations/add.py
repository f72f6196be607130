"""Give a classifier new classes: a new classifier and a report."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from extend import data, methods
from extend.backbone import extract as features
from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.classifier.serialise import load
from extend.core.errors import ArgumentError
from extend.data import Progress
from extend.data.features import Features
from extend.heads.trade_off import checked_limit
from extend.memory.herding import check_limit, with_exemplars
from extend.memory.memory import Memory, _limited
from extend.memory.rows import MOST
from extend.memory.serialise import memory_bytes
from extend.methods import Auto, FineTune, Joint
from extend.methods.base import settings_of
from extend.methods.budget import AnyMethod, Fitted, fit, fit_beside, name_of, resolve
from extend.methods.extended import Extended
from extend.report.measuring import measure, right, since_learnt
from extend.report.notes import fine_tuning_advice
from extend.report.report import Report


def add_classes(
    classifier: Classifier | str | os.PathLike[str],
    new: Any,
    *,
    method: str | AnyMethod = "auto",
    old: Any = None,
    validation: Any = None,
    on_existing: Literal["error", "update"] = "error",
    max_forgetting: float | None = None,
    exemplars: int | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """A classifier that also knows the new classes, and what that cost. The old one is unchanged.

    Args:
        classifier: a `Classifier`, or the path of a checkpoint.
        new: ``{name: inputs}``, ``(inputs, names)``, ``(inputs, integer labels, names)``, or the path of a folder or
            archive with one folder of images a class; inputs are ``[n, *input shape]``.
        method: ``"auto"``, ``"lda"``, ``"ridge"``, ``"gaussian"``, ``"nearest_mean"``, ``"svm"``, ``"new_units"``,
            ``"imprint"``, ``"fine_tune"``, ``"joint"``, or one of `extend.methods` with hyper-parameters of its own.
        old: real samples of old classes, in the same forms: the memory is measured from them if there is none, and
            methods that are trained use them in place of pseudo-samples.
        validation: labelled samples to measure on, in place of the memory's held-out features.
        on_existing: what to do with a name that exists: ``"error"``, or ``"update"`` to add its samples to the class.
        max_forgetting: the share of old examples that may turn wrong, such as 0.01; the new classes' scores are raised
        or
            lowered by the largest common offset within it (see `extend.heads.trade_off`). It is spent: ask for what you accept.
        exemplars: from now on keep so many bytes of real samples, all classes together, for `extend.methods.FineTune`
            to replay; 0: none. Nothing changes by default. Old classes of which none were kept have none.
        seed: of every random choice.
        skip_broken: leave out images that cannot be read; the report lists them.
        progress: wraps the reading of images and the batches (`total` given), such as a progress bar.

    Raises:
        ValueError: bad samples or labels, a class that exists, an unknown method, a method that needs a memory where
            there is none, a budget that is no share. The message says what was given, what was expected and what to do.
        CheckpointError: the path's checkpoint cannot be restored.

    >>> import jax, extend
    >>> x = np.eye(4, dtype=np.float32).repeat(3, axis=0)
    >>> old = extend.wrap(lambda x: x, ["a", "b"], (x[:6], np.repeat([0, 1], 3)))
    >>> clf, report = extend.add_classes(old, {"c": x[6:9]})
    >>> clf.predict(x[:9:3]).tolist()
    ['a', 'b', 'c']
    """
    clf = classifier if isinstance(classifier, Classifier) else load(classifier)
    chosen = asked = _writable(resolve(method), clf)
    if max_forgetting is not None:
        checked_limit(max_forgetting)
    if on_existing not in ("error", "update"):
        raise ArgumentError(f"on_existing is {on_existing!r}; expected 'error' or 'update'")
    spec = clf.backbone.inputs
    samples = data.read(new, spec, skip_broken=skip_broken, progress=progress)
    existing = [name for name in samples.classes if name in clf.classes]
    if existing and on_existing == "error":
        count = int((samples.labels == samples.classes.index(existing[0])).sum())
        raise ArgumentError(
            f'class {existing[0]!r} already exists; pass on_existing="update" (--on-existing update) to add these '
            f"{count} samples to it, or give the new class another name"
        )
    kept = _read_old(clf, old)
    check = _read_validation(clf, samples.classes, validation)
    _warn_of_single(samples)
    added = tuple(name for name in samples.classes if name not in clf.classes)
    classes = clf.classes + added

    if clf.memory is not None:
        clf = replace(clf, memory=_limited(clf.memory, exemplars))
    held = clf.memory.exemplars if clf.memory is not None else None
    if limit := exemplars if exemplars is not None else held.limit if held is not None else 0:
        check_limit(limit, samples, len(classes), spec, held)
    known = clf.memory is not None
    if exemplars and not known and (kept is None or not _covers(kept, clf.classes)):
        raise ArgumentError(
            "exemplars= are kept in the memory, and this classifier has none: pass old=(x, y) with samples of every "
            "old class, or wrap the model with data="
        )
    started = fit_started = passed = time.perf_counter()
    backbone, memory, old_rows = clf.backbone, None, None
    if isinstance(chosen, (FineTune, Joint)):
        fitted, moved = _moved(clf, samples, kept, chosen, seed, max_forgetting, progress)
        backbone, memory, fresh, old_rows = moved.backbone, moved.memory, moved.fresh, moved.old
        clf = replace(clf, memory=moved.before)  # So that there is something to compare with.
    else:
        fresh = features.extract(backbone, samples, progress=progress)
        passed = time.perf_counter()
        real = old_rows = features.extract(backbone, kept, progress=progress) if kept is not None else None
        fit_started = time.perf_counter()
        memory = _memory(clf, fresh, real)
        rows = _without_held_out(_joined(fresh, real, classes), memory)
        # A file of another framework keeps its own last activation, whatever the columns are.
        several = not clf.head.link.exclusive and backbone.origin is None
        fitted = (fit_beside if several else fit)(clf.head, memory, rows, chosen, seed, max_forgetting)
        chosen = fitted.method
    head, budget = fitted.head, fitted.budget
    now = time.perf_counter()

    action = "add" if added else "update"
    if memory is not None:
        memory = with_exemplars(_limited(memory, exemplars), samples, fresh, spec)
        if not known and kept is not None and old_rows is not None and memory.exemplars is not None:
            memory = with_exemplars(memory, kept, old_rows, spec)
    extended = Classifier(backbone, head, classes, memory, clf.history)
    before, after, measured_on = measure(clf, extended, check)
    notes = list(fitted.notes)
    notes += [f"{len(samples.skipped)} broken images left out: {', '.join(samples.skipped)}"] if samples.skipped else []
    if clf.backbone.origin is not None and before is not None and before.accuracy < 1.5 / len(clf.classes):
        notes.append(
            f"the model got {before.accuracy:.0%} of its own classes right, which is chance: check pixels= (--pixels), "
            "and the order of classes= (--classes)"
        )
    if memory is None:
        notes.append("there is no memory of the old classes: what was forgotten is measured on validation= only")
    cost: float | None = None
    spent = [event.risk for event in clf.history if event.risk is not None]
    if budget is not None:
        cost = budget.guaranteed if budget.guaranteed is not None else budget.forgetting
        spent += [cost] if cost is not None else []
    if added and existing:
        notes.append(f"more samples joined {', '.join(existing)}")
    if isinstance(asked, Auto) and backbone.trainable and added and budget is None:
        everything = kept is not None and _covers(kept, clf.classes)
        advice = fine_tuning_advice(before, after, added, passed - started, everything)
        notes += [advice] if advice else []
    report = Report(
        action,
        added or samples.classes,
        name_of(chosen),
        fitted.reason,
        before,
        after,
        since_learnt(clf, after) if check is None else None,
        measured_on,
        now - started,
        now - fit_started,
        len(samples),
        memory_bytes(memory),
        tuple(notes),
        budget,
        sum(spent) if budget is not None and cost is not None else None,
    )
    event = Event(
        action,
        added or samples.classes,
        name_of(chosen),
        len(samples),
        right(memory, head, classes, added),
        settings_of(chosen) | ({"head": fitted.head_method} if fitted.head_method else {}),
        cost,
    )
    return replace(extended, history=(*clf.history, event)), report


def _writable(method: AnyMethod, clf: Classifier) -> AnyMethod:
    """`Auto` without Gaussians where the classifier is to go back to a format that holds dense layers only."""
    if clf.backbone.origin is None or not isinstance(method, Auto):
        return method
    return replace(method, candidates=tuple(one for one in method.candidates if not isinstance(one, methods.Gaussian)))


def _moved(
    clf: Classifier,
    samples: data.Samples,
    kept: data.Samples | None,
    chosen: FineTune | Joint,
    seed: int,
    max_forgetting: float | None,
    progress: Progress | None,
) -> tuple[Fitted, Extended]:
    """Let a method that trains the backbone extend the classifier."""
    if max_forgetting is not None:
        raise ArgumentError(
            f"max_forgetting bounds what is measured on real held-out features, and {name_of(chosen)} moves them: "
            "leave it out, or use a method that keeps the backbone"
        )
    moved = chosen.extend(clf, samples, old=kept, seed=seed, progress=progress)
    return Fitted(chosen, moved.head, moved.reason, None, moved.notes, moved.settings.get("head")), moved


def _read_old(clf: Classifier, old: Any) -> data.Samples | None:
    if old is None:
        return None
    numbered = clf.backbone.origin is not None and clf.classes == tuple(map(str, range(len(clf.classes))))
    hint = "the file names none; pass classes= (--classes) in the order of its outputs" if numbered else ""
    return data.read_into(clf.classes, old, clf.backbone.inputs, "old=", hint=hint)


def _read_validation(clf: Classifier, added: tuple[str, ...], validation: Any) -> data.Samples | None:
    if validation is None:
        return None
    classes = clf.classes + tuple(name for name in added if name not in clf.classes)
    return data.read_into(classes, validation, clf.backbone.inputs, "validation=")


def _warn_of_single(samples: data.Samples) -> None:
    counts = np.bincount(samples.labels, minlength=len(samples.classes))
    for name, count in zip(samples.classes, counts, strict=True):
        if count == 0:
            raise ArgumentError(f"class {name!r} has no samples; at least one is needed")
        if count == 1:
            warnings.warn(
                f"class {name!r} has one sample: its spread is taken from the other classes, and nothing of it can be "
                "held out to measure on; add more samples with on_existing='update' when you have them",
                stacklevel=3,
            )


def _memory(clf: Classifier, fresh: Features, real: Features | None) -> Memory | None:
    """The memory with the new samples; measured from the real old ones where there was none; else None."""
    known, offset = clf.memory, clf.backbone.offset
    mode = known.scatter_mode if known is not None else "class"
    most = known.max_held_out if known is not None else MOST
    if known is None and real is not None:
        known = _measured(clf, real)
    if known is None:
        return None
    return known + Memory.of(fresh, scatter=mode, offset=offset, max_held_out=most)


def _covers(samples: data.Samples, classes: tuple[str, ...]) -> bool:
    """Whether there are samples of every class."""
    return set(classes) <= set(samples.present)


def _measured(clf: Classifier, real: Features) -> Memory:
    """The memory of a classifier that had none, from real samples of every class."""
    real = real.relabel(clf.classes)
    real.check_every_class("old=")
    return Memory.of(
        Features(real.features, real.labels, clf.classes, real.keys), offset=clf.backbone.offset, trained_on=True
    )


def _joined(fresh: Features, real: Features | None, classes: tuple[str, ...]) -> Features:
    whole = fresh if real is None else fresh.concatenate(real)
    return whole.relabel(classes)


def _without_held_out(rows: Features, memory: Memory | None) -> Features:
    """The rows that methods may be trained on: all but those held out to measure with."""
    if memory is None:
        return rows
    return rows.take(~memory.holds(rows.keys, rows.labels))
