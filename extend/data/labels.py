"""What a label means: the one place where labels and class names, in whatever form users have them, are read.

**The rule of integers.** An integer label means the class of that name: with classes 0, 5, 7 the label 5 is class 5,
and with classes 2, 0, 1 the label 2 is the first of them. Where no class's name is an integer, an integer label is a
place in the classes, from 0. So it is where every integer name stands at its own place ("0", "1", "other"), as both
readings agree there. Where they do not, a label that is no name is refused and never taken for a place: the classes of
a part of the data would otherwise be read in another way than those of the whole.

**What is missing is refused**, with the rows: None, NaN, NA, NaT, a masked label, empty text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Int

from extend.core.errors import ArgumentError, DataError

SEVERAL = (
    "where classes do not exclude each other, wrap a model whose own head scores each class alone with "
    'activation="sigmoid", and give each sample under one of its classes'
)
"""What to do with samples of several classes each."""
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0)?")
"""A name that is an integer, or the float of one, as Python writes them."""
SHOWN = 5
"""How many rows a message names."""


def class_names(given: object, what: str = "classes") -> tuple[str, ...]:
    """Return class names as a tuple of texts.

    Raises
    ------
    ArgumentError
        These are no names, or one of them is missing; `what` they should be stands in the message.

    Examples
    --------
    >>> class_names(["cat", 7, b"dog"])
    ('cat', '7', 'dog')
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ArgumentError(f"{what} is {given!r}; expected names, such as ['cat', 'dog']")
    values = list(given)
    if gone := [place for place, value in enumerate(values) if is_missing(value)]:
        raise ArgumentError(f"{what} is {values!r}: the name at place {gone[0]} is missing ({values[gone[0]]!r})")
    return tuple(map(text_of, values))


def mapping_names(given: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of a mapping or of a triple ``(inputs, labels, names)``, which differ.

    Raises
    ------
    DataError
        One is missing, or two are the same.
    """
    values = list(given)
    if gone := [value for value in values if is_missing(value)]:
        raise DataError(f"a class is called {gone[0]!r}, a missing name: name it, or leave it out")
    names = tuple(map(text_of, values))
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"class {name!r} is named twice; names must differ")
        seen.add(name)
    return names


def refuse_similar(new: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a new name that differs from another one only in case, spaces, hyphens or underscores.

    Raises
    ------
    ArgumentError
        There is one; the message asks which is meant.

    Examples
    --------
    >>> refuse_similar(["Cat"], ["cat"])
    Traceback (most recent call last):
    ...
    extend.core.errors.ArgumentError: class 'Cat' is called almost as 'cat' is: give it that name if it is the same \
class, or pass similar_names=True (--similar-names) if it is another
    """
    plain = {_plain(name): name for name in known}
    for name in new:
        other = plain.setdefault(_plain(name), name)
        if other != name and name not in known:
            raise ArgumentError(
                f"class {name!r} is called almost as {other!r} is: give it that name if it is the same class, or pass "
                "similar_names=True (--similar-names) if it is another"
            )


def _plain(name: str) -> str:
    """A name without what people spell in different ways; single letters may differ in case alone."""
    folded = unicodedata.normalize("NFKC", name)
    folded = folded.casefold() if len(folded) > 1 else folded
    return re.sub(r"[\s_-]+", "", folded) or name


def read_labels(
    labels: Any, count: int, names: Sequence[Any] | None = None, *, known: Sequence[str] = (), listed: bool = False
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Return labels as places in classes, and the classes.

    Parameters
    ----------
    labels
        One for each sample: names, or integers by the rule above; a list, an array, a column of a table.
    count
        The number of samples.
    names
        The classes that labels are of; None where the labels name them.
    known
        The classes of the classifier that new ones join. If these have integer names, integer labels without `names`
        are names too.
    listed
        Whether `names` were written beside the labels, as in ``(inputs, labels, names)``: labels that are not names
        are then places in them, whatever the names are.

    Raises
    ------
    DataError
        Labels are missing, several for a sample, of another number than samples, or none of the classes.

    Examples
    --------
    >>> read_labels([5, 7, 5], 3, (7, 5, 0))
    (array([1, 0, 1]), ('7', '5', '0'))
    >>> read_labels(["b", "a"], 2)
    (array([0, 1]), ('b', 'a'))
    """
    given = _one_each(labels, count)
    _refuse_missing(given, labels)
    classes = None if names is None else mapping_names(names)
    if given.dtype.kind in "iubf":
        values, which = np.unique(given, return_inverse=True)
        if (places := _of_numbers(values.tolist(), given.dtype, classes, known, listed)) is not None:
            return places[which.reshape(-1)], classes if classes is not None else ()
        texts = [text_of(int(value) if given.dtype.kind == "f" else value) for value in values.tolist()]
        first = np.unique(given, return_index=True)[1]
        order = np.argsort(first)
        return np.argsort(order)[which.reshape(-1)], tuple(texts[place] for place in order)
    return _of_texts([text_of(label) for label in given.tolist()], classes)


def _of_texts(texts: list[str], classes: tuple[str, ...] | None) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels that are names."""
    if classes is None:
        classes = tuple(dict.fromkeys(texts))
    index = {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(texts) - set(index)):
        raise DataError(f"label {unknown[0]!r} is not one of the classes {_shortened(classes)}")
    return np.asarray([index[text] for text in texts], np.int64), classes


def _of_numbers(
    values: list[Any], dtype: np.dtype, classes: tuple[str, ...] | None, known: Sequence[str], listed: bool
) -> Int[np.ndarray, " u"] | None:
    """The places of numbers that are labels; None where they are names themselves, of classes not known yet."""
    index = {name: place for place, name in enumerate(classes or ())}
    if classes is not None and all(str(value) in index for value in values):  # Integers, or True, or 0.5.
        return np.asarray([index[str(value)] for value in values], np.int64)
    if dtype.kind == "f" and not all(float(value).is_integer() for value in values):
        raise DataError(f"labels are {dtype}; expected class names, or integers with names")
    whole = [int(value) for value in values]
    if classes is None:
        if any(WHOLE.fullmatch(name) for name in known) and dtype.kind != "b":
            return None
        raise DataError("integer labels without names: pass (inputs, labels, names), names[i] being what label i means")
    named = {int(match[1]): place for place, name in enumerate(classes) if (match := WHOLE.fullmatch(name))}
    if named and all(value in named for value in whole):
        return np.asarray([named[value] for value in whole], np.int64)
    if not listed and any(value != place for value, place in named.items()):
        stranger = next(value for value in whole if value not in named)
        raise DataError(
            f"label {stranger} is not one of the classes {_shortened(classes)}: where names are integers, integer "
            "labels mean the names; for labels that are places pass np.asarray(classes)[labels]"
        )
    if min(whole) < 0 or max(whole) >= len(classes):
        raise DataError(f"labels run from {min(whole)} to {max(whole)}, but there are {len(classes)} names")
    return np.asarray(whole, np.int64)


def _one_each(labels: Any, count: int) -> np.ndarray:
    """Labels as an array ``[n]``; values of a list keep their types, so that NaN among texts stays NaN."""
    if isinstance(labels, str | bytes) or not hasattr(labels, "__len__"):
        raise DataError(f"labels is {labels!r}; expected one for each of {count} samples")
    if isinstance(labels, set | frozenset | dict):
        raise DataError(f"labels are a {type(labels).__name__}, which has no order; expected a list or an array")
    try:
        given = np.ma.getdata(labels) if isinstance(labels, np.ma.MaskedArray) else np.asarray(labels)
    except ValueError:  # Lists of different lengths.
        given = _as_objects(labels)
    if given.dtype.kind not in "biuf" and given.ndim == 1 and not isinstance(labels, np.ndarray):
        given = _as_objects(labels)
    if given.dtype.kind == "O" and given.size and all(isinstance(label, Integral) for label in given.flat):
        given = np.asarray(given.tolist())
    several = [isinstance(label, list | tuple | set | frozenset | dict | np.ndarray) for label in _objects(given)]
    if any(several):
        row = several.index(True)
        raise DataError(f"the label of row {row} is {given[row]!r}; expected one class for each sample; {SEVERAL}")
    if given.ndim == 2 and given.shape[1] > 1:
        raise DataError(_matrix_words(given))
    if given.shape != (count,):
        hint = ": pass labels.ravel()" if given.shape == (count, 1) else ""
        raise DataError(f"labels have shape {list(given.shape)}; expected one a sample, [{count}]{hint}")
    return given


def _matrix_words(given: np.ndarray) -> str:
    """What to do about a matrix of labels."""
    shape = list(given.shape)
    if given.dtype.kind in "biuf" and np.isin(given, (0, 1)).all():
        if (given.sum(axis=1) == 1).all():
            how = "pass np.asarray(classes)[labels.argmax(axis=1)]"
            return f"labels are a one-hot matrix {shape}; expected one label a sample: {how}"
        return (
            f"labels are a matrix {shape} of 0 and 1, several classes a sample; expected one label a sample; {SEVERAL}"
        )
    return f"labels have shape {shape}; expected one a sample, [{len(given)}]; {SEVERAL}"


def _refuse_missing(given: np.ndarray, labels: Any) -> None:
    """Refuse labels of which some are missing, and name their rows."""
    gone = np.zeros(len(given), bool)
    if given.dtype.kind in "fcmM":
        gone = np.asarray(given != given)
    elif given.dtype.kind in "OUST":
        gone = np.asarray([is_missing(label) for label in given.tolist()], bool)
    if given.dtype == np.dtype("<U32"):  # What NumPy makes of texts and NaN in one list.
        gone |= given == "nan"
    if isinstance(labels, np.ma.MaskedArray):
        gone |= np.ma.getmaskarray(labels)
    if gone.any():
        what = "1 label is" if gone.sum() == 1 else f"{gone.sum()} labels are"
        raise DataError(f"{what} missing, {rows_in_words(gone)}: leave these samples out, or give them a class")


def rows_in_words(mask: np.ndarray) -> str:
    """Say which rows of a mask are true, the first of them where they are many.

    Examples
    --------
    >>> rows_in_words(np.arange(9) > 1)
    'at rows 2, 3, 4, 5, 6 and 2 more'
    """
    rows = np.flatnonzero(mask)
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"at row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"


def is_missing(value: Any) -> bool:
    """Whether a label or a name is none: None, NaN, NA, NaT, masked, or empty text.

    Examples
    --------
    >>> [is_missing(value) for value in (None, float("nan"), " ", "None", 0)]
    [True, True, True, False, False]
    """
    if isinstance(value, str | bytes):
        return not value.strip()
    if value is None or value is np.ma.masked or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | complex | np.inexact | np.datetime64 | np.timedelta64) and bool(value != value)


def text_of(name: Any) -> str:
    """Return the text of a class name.

    Examples
    --------
    >>> text_of(b"cat"), text_of(np.int64(7))
    ('cat', '7')
    """
    return name.decode() if isinstance(name, bytes) else str(name)


def _shortened(classes: Sequence[str]) -> str:
    return ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")


def _objects(given: np.ndarray) -> list[Any]:
    return given.tolist() if given.dtype.kind == "O" and given.ndim == 1 else []


def _as_objects(labels: Any) -> np.ndarray:
    """The values of a sequence, each as it is."""
    values = labels if isinstance(labels, list | tuple) else np.asarray(labels, object).tolist()
    made = np.empty(len(values), object)
    for place, value in enumerate(values):
        made[place] = value
    return made
