"""scikit-learn: a fitted classifier, or a pipeline that ends in one, from an object or from a ``.skops`` file.

Linear models (`LogisticRegression`, `LinearSVC`, `SGDClassifier`, `RidgeClassifier`, `Perceptron`,
`PassiveAggressiveClassifier` and the two with built-in cross-validation) and `MLPClassifier`. What comes before the
last linear map makes the features: the pipeline's earlier steps and the hidden layers. What is written is the same
estimator with more classes; scikit-learn predicts with it as with one that it fitted.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, Input, check_names, check_replacement, check_unlike, digest
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.scikit_learn import _skops_file as skops_file
from extend.formats.scikit_learn._inputs import Inputs, given_to, in_words, inputs_of
from extend.formats.scikit_learn._refusals import refusal

LINEAR = {
    "LogisticRegression": "sklearn.linear_model",
    "LogisticRegressionCV": "sklearn.linear_model",
    "LinearSVC": "sklearn.svm",
    "SGDClassifier": "sklearn.linear_model",
    "RidgeClassifier": "sklearn.linear_model",
    "RidgeClassifierCV": "sklearn.linear_model",
    "Perceptron": "sklearn.linear_model",
    "PassiveAggressiveClassifier": "sklearn.linear_model",
}
"""Estimators whose scores are ``x @ coef_.T + intercept_``, and the packages that they are of."""

SOFTMAX = ("LogisticRegression", "LogisticRegressionCV", "MLPClassifier")
"""Estimators whose probabilities are the softmax of their scores."""

MOST_FEATURES = 1 << 16
"""The most that a head may read: the memory keeps whole rows of features."""
MOST_PARTS = 1_000_000
"""What steps of a pipeline may hold; lists that hold one list twice, and so on, would have endlessly many parts."""

ORDER = "extend_order_"
"""An attribute of an estimator that was written here: where its sorted `classes_` stand in the head that was given."""


@dataclass(frozen=True, eq=False)
class Sklearn:
    """A fitted scikit-learn classifier, opened.

    `extend.formats.base.Foreign` says what its attributes and methods mean. `estimator` is a copy that nothing changes;
    `dense` is its hidden layers and its head.
    """

    estimator: Any
    dense: DenseNetwork
    input: Inputs
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    format: str = "sklearn"

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the last linear map reads, in float64.

        Raises
        ------
        FormatError
            If a step of the pipeline does not take the batch.
        """
        x = given_to(self.input, batch)
        for step in _steps(self.estimator)[:-1]:
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "X does not have valid feature names")
                    x = step.transform(x)
            except Exception as error:  # A step may raise anything.
                raise FormatError(f"{type(step).__name__}: {_brief(error)}") from error
        x = np.asarray(x.toarray() if sparse.issparse(x) else x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.dense.scale):
            raise FormatError(f"the pipeline gives {list(x.shape)}; the classifier expects {len(self.dense.scale)}")
        return self.dense.features(x)

    @property
    def network(self) -> DenseNetwork | None:
        """The whole model as a dense network; None where a step of the pipeline is no plain scaler.

        Its outputs are probabilities where the estimator's are a softmax, else scores.
        """
        *before, last = _steps(self.estimator)
        if not isinstance(self.input, Input) or not self.input.shape:
            return None
        scale, offset = np.ones(self.input.shape[0] or 0), np.zeros(self.input.shape[0] or 0)
        for step in before:
            if type(step).__name__ == "StandardScaler":
                factor = 1 / step.scale_ if step.with_std else np.ones_like(scale)
                shift = -step.mean_ * factor if step.with_mean else np.zeros_like(scale)
            elif type(step).__name__ == "MinMaxScaler" and not step.clip:
                factor, shift = step.scale_, step.min_
            else:
                return None
            scale, offset = scale * factor, offset * factor + shift
        head = self.dense.layers[-1]
        if type(last).__name__ in SOFTMAX:
            head = replace(head, activation="softmax")
        names = tuple(map(str, getattr((*before, last)[0], "feature_names_in_", ())))
        return DenseNetwork((*self.dense.layers[:-1], head), scale, offset, names, self.classes or ())

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the estimator with this head as a ``.skops`` file.

        Its `classes_` are sorted, as scikit-learn's always are, and the head's columns with them; `open` gives them
        back in the order of `classes`. They are integers (or floats) if the estimator's were and every name is one,
        else strings. Two classes become one row of `coef_`. The optimizer of an `MLPClassifier` starts afresh at its
        next `partial_fit`.

        Raises
        ------
        FormatError
            If the suffix is not .skops, there are fewer than two classes, or skops cannot write a step.
        """
        if path.suffix != ".skops":
            raise FormatError(f"{path}: a scikit-learn model is written as .skops")
        skops_file.write(path, self.widened(head, classes))

    def widened(self, head: DenseHead, classes: tuple[str, ...]) -> Any:
        """Return a new estimator with this head: what `save` writes, without a file.

        Raises
        ------
        FormatError
            If there are fewer than two classes, or the names do not fit the head.
        """
        check_replacement(head, self.head, classes, fewest=2)
        estimator = copy.deepcopy(self.estimator)
        last = _steps(estimator)[-1]
        labels = _labels(classes, np.asarray(last.classes_))
        order = np.argsort(labels)
        kernel, bias = head.kernel[:, order], head.bias[order]
        vars(last).pop(ORDER, None)
        if (np.diff(order) < 0).any():
            setattr(last, ORDER, order)
        if len(classes) == 2:  # One row that says how much likelier the second class is.
            kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
        if type(last).__name__ == "MLPClassifier":
            _widen_mlp(last, kernel, bias, labels[order])
        else:
            _widen_linear(last, kernel, bias, labels[order])
        return estimator

    def describe(self) -> dict[str, str]:
        """Describe the pipeline's steps, the layers and the head."""
        *before, last = _steps(self.estimator)
        parts = [type(step).__name__ for step in before]
        parts += [f"dense {layer.kernel.shape[1]} {layer.activation}" for layer in self.dense.layers[:-1]]
        d, k = self.head.kernel.shape
        return {
            "backbone": " -> ".join([in_words(self.input), *parts]),
            "head": f"{type(last).__name__}: {k} classes on {d} features",
            "limits": "classes_ stay sorted, so that new columns may stand between old ones",
        }


def open(source: Any, *, classes: Sequence[str] | None = None, trust: bool = False) -> Sklearn:
    """Open a fitted estimator or pipeline, or a ``.skops`` file of one; the object itself is never changed.

    Parameters
    ----------
    source
        The estimator, or the path of a file.
    classes
        Names in place of `classes_`, in their order (or in that of the head that was written here).
    trust
        Whether objects of whatever types the file names are made, as unpickling would do: only for a file of your own.

    Returns
    -------
    Sklearn
        The opened model.

    Raises
    ------
    FormatError
        If the file is no skops file, damaged, or holds types that are not trusted (they are named), or if the estimator
        is not supported, not fitted, has several outputs, or has another number of classes than there are names.
    MissingExtraError
        If skops is not installed.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = open(LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"]))
    >>> model.classes, model.head.kernel.shape
    (('a', 'b', 'c'), (1, 3))
    """
    if isinstance(source, (str, os.PathLike)):
        name, estimator = str(source), skops_file.read(source, trust=trust)
    else:
        name, estimator = type(source).__name__, copy.deepcopy(source)
    try:
        return _opened(estimator, None if classes is None else tuple(map(str, classes)))
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    except Exception as error:  # A damaged file's objects lack attributes or hold others than scikit-learn's.
        raise FormatError(f"{name}: not an estimator as scikit-learn makes it: {error!r}") from error


def _opened(estimator: Any, names: tuple[str, ...] | None) -> Sklearn:
    *before, last = _steps(estimator)
    kind = type(last).__name__
    if kind == "MLPClassifier" and type(last).__module__.startswith("sklearn.neural_network"):
        hidden, kernel, bias = _mlp(last)
    elif type(last).__module__.startswith(LINEAR.get(kind, "-")):
        hidden, kernel, bias = (), *_linear(last)
    else:
        raise FormatError(refusal(last, f"{', '.join(LINEAR)} and MLPClassifier"))
    found = np.asarray(last.classes_)
    if found.ndim != 1 or kernel.shape[1] != (1 if len(found) == 2 and kernel.shape[1] == 1 else len(found)):
        raise FormatError(f"{kind} has {len(found)} classes_ and {kernel.shape[1]} outputs; expected one output each")
    if len(found) == 2 and kernel.shape[1] == 1:
        head = DenseHead.from_single_unit(kernel, bias)
        kernel, bias = head.kernel, head.bias
    order = getattr(last, ORDER, None)
    if order is not None and np.array_equal(np.sort(order), np.arange(len(found))):
        back = np.argsort(order)
        kernel, bias, found = kernel[:, back], bias[back], found[back]
    head = DenseHead(np.ascontiguousarray(kernel), np.ascontiguousarray(bias))
    if names is None:
        names = tuple(str(label) for label in found.tolist())
    check_names(names, head.num_classes)
    check_unlike(names)
    layers = (*hidden, DenseLayer(head.kernel.astype(np.float64), head.bias.astype(np.float64), "identity"))
    width = layers[0].kernel.shape[0]
    dense = DenseNetwork(layers, np.ones(width), np.zeros(width))
    if width > MOST_FEATURES:
        raise FormatError(
            f"{kind} reads {width:,} features; expected at most {MOST_FEATURES:,}, as the memory keeps whole rows: fit "
            "it again with fewer (HashingVectorizer(n_features=2**14), max_features=, or TruncatedSVD before it)"
        )
    inputs = inputs_of((*before, last), width)
    parts = [
        part for number, step in enumerate(before) for part in islice(_parts(f"step {number}", step), MOST_PARTS + 1)
    ]
    if len(parts) > MOST_PARTS:
        raise FormatError(f"{kind}: the steps before it hold more than {MOST_PARTS} parts")
    fingerprint = digest([*parts, ("dense", dense.fingerprint)])
    return Sklearn(estimator, dense, inputs, head, names, fingerprint)


def _brief(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines within it among them; an estimator alone is one step."""
    from sklearn.pipeline import Pipeline

    if not isinstance(estimator, Pipeline):
        return [estimator]
    return [part for _, step in estimator.steps if step not in (None, "passthrough") for part in _steps(step)]


def _linear(last: Any) -> tuple[np.ndarray, np.ndarray]:
    if not hasattr(last, "coef_"):
        raise FormatError(f"{type(last).__name__} is not fitted")
    if getattr(getattr(last, "_label_binarizer", None), "y_type_", "").startswith("multilabel"):
        raise FormatError(f"{type(last).__name__} was fitted on several labels a sample; expected one class a sample")
    coef = last.coef_.toarray() if sparse.issparse(last.coef_) else np.asarray(last.coef_)
    coef = _floats("coef_", np.atleast_2d(coef))
    intercept = np.asarray(last.intercept_)
    return coef.T, _floats("intercept_", np.broadcast_to(intercept, coef.shape[:1])).astype(coef.dtype)


def _mlp(last: Any) -> tuple[tuple[DenseLayer, ...], np.ndarray, np.ndarray]:
    if not hasattr(last, "coefs_"):
        raise FormatError("MLPClassifier is not fitted")
    if last._label_binarizer.y_type_ not in ("binary", "multiclass"):
        raise FormatError("MLPClassifier was fitted on several labels a sample; expected one class a sample")
    kernels = [_floats("coefs_", np.asarray(kernel)) for kernel in last.coefs_]
    biases = [_floats("intercepts_", np.asarray(bias)) for bias in last.intercepts_]
    expected = "logistic" if kernels[-1].shape[1] == 1 else "softmax"
    if len(kernels) != len(biases) or last.n_layers_ != len(kernels) + 1 or last.out_activation_ != expected:
        raise FormatError(f"MLPClassifier has {len(kernels)} kernels, {len(biases)} biases, n_layers_ {last.n_layers_}")
    hidden = (
        DenseLayer(kernel.astype(np.float64), bias.astype(np.float64), str(last.activation))
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True)
    )
    return tuple(hidden), kernels[-1], biases[-1]


def _floats(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype not in (np.float32, np.float64):
        raise FormatError(f"{name} is {array.dtype}; expected float32 or float64")
    return array


def _labels(names: tuple[str, ...], old: np.ndarray) -> np.ndarray:
    """Class names as labels of the old ones' kind, where all of them are such."""
    for kinds, kind in (("iu", int), ("f", float)):
        if old.dtype.kind in kinds:
            try:
                values = [kind(name) for name in names]
                if [str(value) for value in values] == list(names):
                    return np.asarray(values)
            except (ValueError, OverflowError):
                pass
    return np.asarray(names)


def _widen_linear(last: Any, kernel: np.ndarray, bias: np.ndarray, labels: np.ndarray) -> None:
    # SGD's loops write into rows of C order.
    coef, intercept = np.ascontiguousarray(kernel.T), np.ascontiguousarray(bias)
    last.coef_ = coef[0] if len(coef) == 1 and np.ndim(last.coef_) == 1 else coef
    last.intercept_ = intercept
    if hasattr(last, "_label_binarizer"):  # Of RidgeClassifier; its classes_ are a property before scikit-learn 1.9.
        _relabel(last._label_binarizer, labels)
    if "classes_" in vars(last):
        last.classes_ = labels
    if getattr(last, "_standard_coef", None) is not None:
        last._standard_coef, last._average_coef = coef.copy(), coef.copy()
        last._standard_intercept, last._average_intercept = intercept.copy(), intercept.copy()
    if getattr(last, "solver", None) == "liblinear" and len(labels) > 2:
        # liblinear means one against the rest, or two classes alone; the others mean softmax.
        last.solver = "lbfgs" if getattr(last, "penalty", None) != "l1" and not getattr(last, "l1_ratio", 0) else "saga"
    if getattr(last, "multi_class", None) == "ovr" and type(last).__name__.startswith("Logistic"):
        last.multi_class = "auto"


def _widen_mlp(last: Any, kernel: np.ndarray, bias: np.ndarray, labels: np.ndarray) -> None:
    last.coefs_ = [*last.coefs_[:-1], np.ascontiguousarray(kernel)]
    last.intercepts_ = [*last.intercepts_[:-1], np.ascontiguousarray(bias)]
    last.classes_ = labels
    last.n_outputs_ = kernel.shape[1]
    last.out_activation_ = "logistic" if kernel.shape[1] == 1 else "softmax"
    _relabel(last._label_binarizer, labels)
    if hasattr(last, "_best_coefs"):
        last._best_coefs = [array.copy() for array in last.coefs_]
        last._best_intercepts = [array.copy() for array in last.intercepts_]
    if hasattr(last, "_optimizer"):  # Its moments are of the old shapes.
        del last._optimizer


def _relabel(binarizer: Any, labels: np.ndarray) -> None:
    binarizer.classes_ = labels
    binarizer.y_type_ = "binary" if len(labels) == 2 else "multiclass"


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What a step of a pipeline holds, as named arrays and texts: the same before and after a file."""
    match value:
        case np.ndarray() if value.dtype != object:
            yield name, value
        case _ if sparse.issparse(value):
            yield from _parts(name, {"shape": value.shape, "csr": [value.tocsr().data, value.tocsr().indices]})
            yield f"{name}.indptr", value.tocsr().indptr
        case Mapping():
            for key in sorted(value, key=str):
                yield from _parts(f"{name}.{key}", value[key])
        case list() | tuple() | np.ndarray():
            yield name, len(value)
            for number, part in enumerate(value):
                yield from _parts(f"{name}.{number}", part)
        case None | str() | int() | float() | complex() | slice() | np.generic() | np.dtype() | np.ufunc():
            yield name, repr(value)
        case _ if hasattr(value, "__qualname__"):
            yield name, f"{value.__module__}.{value.__qualname__}"
        case _:
            yield name, type(value).__qualname__
            state = value.__getstate__() if hasattr(value, "__getstate__") else None
            if isinstance(state, Mapping):
                yield from _parts(name, {key: part for key, part in state.items() if key != "_sklearn_version"})
