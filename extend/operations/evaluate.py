"""Measure a classifier on labelled data."""

from __future__ import annotations

import os
from typing import Any

from extend.classifier import Classifier, Evaluation
from extend.classifier import evaluate as evaluate_classifier
from extend.data import Progress
from extend.operations.load_any import as_classifier


def evaluate(
    classifier: Classifier | str | os.PathLike[str],
    data: Any,
    *,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a classifier on labelled data: accuracy, confusion, log-loss and calibration error.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    data
        Samples in any form that `extend.add_classes` takes; integer labels mean the classes' names or, where names are
        no integers, places in the classifier's classes.
    skip_broken
        Leave out images that cannot be read.
    progress
        Wraps the batches, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError
        Wrong inputs, or a label that is not one of the classes.
    CheckpointError, FormatError
        The path cannot be read.

    Examples
    --------
    >>> import extend, numpy as np
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> extend.evaluate(clf, {"b": x[4:]}).accuracy
    1.0
    """
    return evaluate_classifier(as_classifier(classifier), data, skip_broken=skip_broken, progress=progress)
