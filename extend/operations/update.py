"""Give present classes more samples: a new classifier and a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from extend.classifier import Classifier
from extend.data import Progress, read_into
from extend.methods import Method
from extend.operations.add import add_classes
from extend.operations.load_any import as_classifier
from extend.report import Report


def update_classes(
    classifier: Classifier | str | os.PathLike[str],
    more: Any,
    labels: Sequence[Any] | np.ndarray | None = None,
    *,
    method: str | Method | type[Method] = "auto",
    old: Any = None,
    validation: Any = None,
    exemplars: int | None = None,
    seed: int = 0,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> tuple[Classifier, Report]:
    """Add samples to classes that the classifier knows; the order in which samples come does not matter.

    Figures before and after are measured on the same held-out rows. Parameters are those of `extend.add_classes`.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    more, labels
        Samples of present classes, in any form that `extend.add_classes` takes.
    method, old, validation, exemplars, seed, skip_broken, progress
        See `extend.add_classes`.

    Raises
    ------
    DataError, ArgumentError
        Bad samples, or a class that is not known yet: `extend.add_classes` adds it.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> extend.update_classes(clf, {"b": x[4:] * 0.9})[0].memory.statistics.count.tolist()
    [4, 8]
    """
    clf = as_classifier(classifier)
    given = more if labels is None else (more, labels)
    samples = read_into(
        clf.classes,
        given,
        clf.backbone.inputs,
        "the samples",
        skip_broken=skip_broken,
        progress=progress,
        hint="a class that is not known yet is added with add_classes",
    ).without_empty_classes()
    return add_classes(
        clf,
        samples,
        method=method,
        old=old,
        validation=validation,
        on_existing="update",
        exemplars=exemplars,
        seed=seed,
        progress=progress,
    )
