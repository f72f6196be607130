"""Give a classifier new classes: a new classifier and a report."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal

import numpy as np

from extend import data
from extend.classifier import Classifier, Comparison, Evaluation, Event, compare, held_out_evaluation, since_learnt
from extend.core.errors import ArgumentError, DataError
from extend.data import Progress, Samples, refuse_similar
from extend.heads import checked_limit
from extend.memory import Memory, check_bytes, check_limit, with_exemplars
from extend.methods import Extended, Method, covers, extend_within, named
from extend.operations.left_out import left_out
from extend.operations.load_any import as_classifier
from extend.report import (
    Action,
    Report,
    copies,
    fine_tuning_advice,
    hardly_told_apart,
    measured_on,
    twice_named,
    wide_feature_note,
)


def add_classes(
    classifier: Classifier | str | os.PathLike[str],
    new: Any,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    method: str | Method | type[Method] = "auto",
    old: Any = None,
    validation: Any = None,
    on_existing: Literal["error", "update"] = "error",
    similar_names: bool = False,
    max_forgetting: float | None = None,
    spend: bool = False,
    exemplars: int | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """Return a classifier that also knows the new classes, and a report; the classifier that was given is unchanged.

    Parameters
    ----------
    classifier
        A `Classifier`, or the path of a checkpoint.
    new, labels
        ``{name: inputs}``, ``(inputs, names)``, ``(inputs, integer labels, names)``, or the path of a folder or archive
        with one folder of images for each class; inputs are ``[n, *input shape]``. Or inputs, and a name for each.
        Integer labels are names where the classifier's are integers.
    method
        The name of a method (``"auto"``, ``"lda"``, ...), or one of `extend.methods`: the class, or an instance.
    old
        Real samples of old classes, in the same forms. The memory is measured from them if there is none, and methods
        that are trained use them in place of pseudo-samples.
    validation
        Labelled samples to measure on, in place of the memory's held-out features.
    on_existing
        What to do with a name that exists: ``"error"``, or ``"update"`` to add its samples to the class.
    similar_names
        Whether a new class may be called as another one but for case, spaces, hyphens and underscores.
    max_forgetting, spend
        The share of old examples that may turn wrong, such as 0.01: the new classes' scores are lowered by a common
        offset until it is kept (see `extend.heads.trade_off`). `spend`: they are raised as far as it allows, too.
    exemplars
        From now on keep this many bytes of real samples for `extend.methods.FineTune`; 0: none, None: as it is.
    seed, skip_broken, progress
        The seed of every random choice; leave out images that cannot be read (the report lists them); what wraps the
        reading of images and the batches, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError, ArgumentError, CheckpointError
        Bad samples or labels; a class that exists, an unknown method, or one that needs what is not there; a path that
        cannot be restored. The message says what was given, what was expected and what to do.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(4, dtype=np.float32).repeat(3, axis=0)
    >>> known = extend.wrap(lambda x: x, ["a", "b"], (x[:6], np.repeat([0, 1], 3)))
    >>> extend.add_classes(known, {"c": x[6:9]})[0].predict(x[:9:3]).tolist()
    ['a', 'b', 'c']
    """
    clf, how = as_classifier(classifier), named(method)
    _check_arguments(how, on_existing, max_forgetting, spend, exemplars, seed, progress)
    samples = _read_new(clf, new, labels, (on_existing, similar_names), skip_broken, progress)
    real, check = _read_old(clf, old), _read_validation(clf, samples, validation)
    classes = tuple(dict.fromkeys((*clf.classes, *samples.classes)))
    clf = _with_exemplar_limit(clf, exemplars, samples, real, len(classes))
    if (known := clf.memory) is not None:
        kept = known.max_rows, known.max_held_out, known.dtype
        check_bytes(known.most_bytes, known.nbytes, samples.counts, known.rows.width, *kept)
    started = time.perf_counter()
    if max_forgetting is None:
        got = how.extend(clf, samples, old=real, seed=seed, progress=progress)
    else:
        got = extend_within(max_forgetting, how, clf, samples, old=real, spend=spend, seed=seed, progress=progress)
    seconds = time.perf_counter() - started
    memory = _with_exemplars(got, clf.memory is None, exemplars, samples, real)
    wider = Classifier(got.backbone, got.head, classes, memory, clf.history)
    return _reported(clf, wider, got, how, samples, real, check, seconds)


def _reported(
    clf: Classifier,
    wider: Classifier,
    got: Extended,
    how: Method,
    samples: Samples,
    real: Samples | None,
    check: Samples | None,
    seconds: float,
) -> tuple[Classifier, Report]:
    """Measure the wider classifier beside the old one, and write the step into its recipe and its history."""
    added, memory = wider.classes[len(clf.classes) :], wider.memory
    found = compare(replace(clf, memory=got.before), wider, check)
    alone = left_out(wider, got.method, got.settings, added, found.after)
    held = found.after if check is None else held_out_evaluation(memory, wider.head, wider.classes)
    learnt = {name: held.by_class[name] for name in added if held is not None and name in held.by_class}
    cost = _cost(got)
    trained_on = wider.classes if how.trains_backbone else ()
    recipe = clf.recipe.after_adding(got.method, got.settings, learnt, added, cost, trained_on, got.chosen)
    action: Action = "add" if added else "update"
    joined = [name for name in samples.classes if name in clf.classes] if added else []
    kept = {**({"joined": joined} if joined else {}), **({"trained": True} if trained_on else {})}
    event = Event(action, added or samples.classes, got.method, len(samples), learnt, got.settings, cost, kept)
    report = Report(
        action=action,
        classes=event.classes,
        method=got.method,
        reason=got.reason,
        before=found.before,
        after=found.after,
        same_rows=found.same_rows,
        left_out=alone,
        forgetting_since_learnt=None
        if check is not None
        else since_learnt(clf.recipe.learnt, found.after, found.same_rows),
        measured_on=measured_on(wider, found.after, validated=check is not None),
        seconds=seconds,
        fit_seconds=got.fit_seconds if got.fit_seconds is not None else seconds,
        samples=len(samples),
        bytes=memory.nbytes if memory is not None else 0,
        budget=got.budget,
        forgetting_total=recipe.forgetting_total if cost is not None else None,
    )
    notes = _notes(clf, wider, got, how, samples, real, found, report.new_now)
    return replace(wider, history=(*clf.history, event), recipe=recipe), replace(report, notes=notes)


def _check_arguments(
    method: Method, on_existing: Any, max_forgetting: Any, spend: Any, exemplars: Any, seed: Any, progress: Any
) -> None:
    """Refuse what cannot be meant, before any work."""
    if on_existing not in ("error", "update"):
        raise ArgumentError(f"on_existing is {on_existing!r}; expected 'error' or 'update'")
    if max_forgetting is not None:
        checked_limit(max_forgetting)
        method.on_features()
    elif spend:
        raise ArgumentError("spend=True raises new classes as far as max_forgetting= allows; give that too")
    for name, value in (("exemplars", exemplars if exemplars is not None else 0), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
            raise ArgumentError(f"{name} is {value!r}; expected a whole number, 0 or more")
    if progress is not None and not callable(progress):
        raise ArgumentError(f"progress is {progress!r}; expected something like tqdm.tqdm, or None")


def _read_new(
    clf: Classifier, new: Any, labels: Any, names: tuple[str, bool], skip_broken: bool, progress: Progress | None
) -> Samples:
    """The new samples; every class has some, and its name is one that `on_existing` and `similar_names` allow."""
    on_existing, similar = names
    if isinstance(labels, str):
        raise ArgumentError(f"labels is {labels!r}; expected a class name for each input, or method={labels!r}")
    given = new if labels is None else (new, labels)
    samples = data.read(given, clf.backbone.inputs, known=clf.classes, skip_broken=skip_broken, progress=progress)
    counts = dict(zip(samples.classes, samples.counts.tolist(), strict=True))
    existing = [name for name in samples.classes if name in clf.classes]
    if existing and on_existing == "error":
        raise ArgumentError(
            f'class {existing[0]!r} already exists; pass on_existing="update" (--on-existing update) to add these '
            f"{counts[existing[0]]} samples to it, or give the new class another name"
        )
    if not similar:
        refuse_similar(samples.classes, clf.classes)
    for name, count in counts.items():
        if count == 0:
            raise DataError(f"class {name!r} has no samples; at least one is needed")
        if count == 1 and name not in clf.classes:
            warnings.warn(
                f"class {name!r} has one sample: its own spread is not known, and nothing of it can be held out to "
                "measure on; add more samples with on_existing='update' when you have them",
                stacklevel=3,
            )
    return samples


def _read_old(clf: Classifier, old: Any) -> Samples | None:
    if old is None:
        return None
    numbered = clf.backbone.own_format is not None and clf.classes == tuple(map(str, range(len(clf.classes))))
    hint = "the file names none; pass classes= (--classes) in the order of its outputs" if numbered else ""
    return data.read_into(clf.classes, old, clf.backbone.inputs, "old=", hint=hint)


def _read_validation(clf: Classifier, new: Samples, validation: Any) -> Samples | None:
    """The samples to measure on, if they are others than those that are learnt."""
    if validation is None:
        return None
    classes = tuple(dict.fromkeys((*clf.classes, *new.classes)))
    check = data.read_into(classes, validation, clf.backbone.inputs, "validation=")
    if (same := int(np.isin(check.keys, new.keys).sum())) > 0:
        raise DataError(
            f"{same} of {len(check)} validation samples are among those to be learnt, and would be known by heart: "
            "give others, or leave validation= out, so that held-out samples measure"
        )
    return check


def _with_exemplar_limit(
    clf: Classifier, limit: int | None, samples: Samples, real: Samples | None, k: int
) -> Classifier:
    """The classifier whose memory keeps exemplars within this limit; refused if that is less than one a class."""
    memory = clf.memory.with_exemplar_limit(limit) if clf.memory is not None else None
    held = memory.exemplars if memory is not None else None
    if bytes_kept := limit if limit is not None else held.limit if held is not None else 0:
        check_limit(bytes_kept, samples, k, clf.backbone.inputs, held)
    if limit and memory is None and not covers(real, clf.classes):
        raise ArgumentError(
            "exemplars= are kept in the memory, and this classifier has none: pass old=(x, y) with samples of every "
            "old class, or wrap the model with data="
        )
    return replace(clf, memory=memory)


def _with_exemplars(
    got: Extended, first: bool, limit: int | None, samples: Samples, real: Samples | None
) -> Memory | None:
    """The memory with exemplars of the new classes, and of the old ones if it is the first that there is."""
    if got.memory is None:
        return None
    spec = got.backbone.inputs
    memory = with_exemplars(got.memory.with_exemplar_limit(limit), samples, got.fresh, spec)
    if first and real is not None and got.old is not None and memory.exemplars is not None:
        memory = with_exemplars(memory, real, got.old, spec)
    return memory


def _cost(got: Extended) -> float | None:
    """What the forgetting limit let turn wrong: what is guaranteed, else what was measured."""
    if got.budget is None:
        return None
    return got.budget.guaranteed if got.budget.guaranteed is not None else got.budget.forgetting


def _notes(
    clf: Classifier,
    wider: Classifier,
    got: Extended,
    asked: Method,
    samples: Samples,
    real: Samples | None,
    found: Comparison,
    judged: Evaluation | None,
) -> tuple[str, ...]:
    """What the report says beside its figures."""
    notes, before, added = list(got.notes), found.before, wider.classes[len(clf.classes) :]
    if samples.skipped:
        named = ", ".join(samples.skipped[:10]) + (", ..." if len(samples.skipped) > 10 else "")
        notes.append(f"{len(samples.skipped)} broken images left out: {named}")
    notes += samples.notes
    notes += copies(samples)
    if clf.backbone.own_format is not None and before is not None and before.accuracy < 1.5 / len(clf.classes):
        notes.append(
            f"the model got {before.accuracy:.0%} of its own classes right, which is chance: check pixels= (--pixels), "
            "and the order of classes= (--classes)"
        )
    if got.memory is None:
        notes.append("there is no memory of the old classes: what was forgotten is measured on validation= only")
    existing = [name for name in samples.classes if name in clf.classes]
    if (wide := wide_feature_note(wider)) is not None:
        notes.append(wide)
    if added and existing:
        notes.append(f"more samples joined {', '.join(existing)}")
    if found.before is not None and found.same_rows is not None and found.after is not None:
        notes.append(
            f"old classes before and after are measured on the {found.before.n} features that were held out before and "
            f"still are; the other figures on all {found.after.n} that are held out now"
        )
    notes += twice_named(samples, clf.memory)
    notes += hardly_told_apart(wider, got.fresh, added, judged if found.after is not None else None)
    if asked.chooses and got.backbone.can_train and added and got.budget is None:
        advice = fine_tuning_advice(before, found.after, added, got.embedding_seconds, covers(real, clf.classes))
        notes += [advice] if advice else []
    return tuple(notes)
