"""Write a classifier: as a checkpoint, in its own format, or in another."""

from __future__ import annotations

import os
from pathlib import Path

from extend.classifier import Classifier
from extend.operations.load_any import as_classifier


def save(classifier: Classifier | str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Write a classifier; the suffix of the path decides the form.

    A name without a suffix becomes a checkpoint folder. A Flax classifier, or one of a function that JAX can trace, is
    also written as ``.onnx`` or ``.stablehlo``. A model of another framework goes back into its own format; a dense
    network (MATLAB, PMML, theanets, scikit-learn's MLP) can also be written as ``.pmml``, ``.mat`` or ``.h5``. Columns
    that no method changed are the very numbers of the file that was opened. What such a file cannot hold (memory, what
    an input is, history) is written to the folder beside it, ``<file>.extend``, which `extend.load` reads; whoever only
    serves the model can leave that behind. Into another format goes the network alone, without memory: its features are
    those of another file.

    Parameters
    ----------
    classifier
        The classifier, or the path of one.
    path
        Where to write; what is there is replaced.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    ArgumentError
        The backbone is a function that JAX cannot trace, or the format cannot hold the head (Gaussians).
    FormatError
        The suffix is not one that this model can be written as.
    CheckpointError
        It could not be written; what was there is unchanged.

    Examples
    --------
    >>> import tempfile, extend, numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> x = np.eye(3).repeat(4, axis=0)
    >>> clf = extend.wrap(LogisticRegression().fit(x, np.repeat(["a", "b", "c"], 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     extend.load(save(clf, Path(folder) / "model.skops")).classes
    ('a', 'b', 'c')
    """
    as_classifier(classifier).save(path)
    return Path(path)
