"""The class names that an ONNX file holds: label lists among its nodes, and lists in its metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.onnx._graph import Place
from extend.formats.onnx._nodes import set_attributes, tensor_value
from extend.formats.onnx._tail import Labels

NAMES = {"names", "labels", "classes", "class_names", "classnames", "categories", "character", "id2label"}
_MOST_TEXT = 1 << 20


def relabel(values: Labels, classes: Sequence[str], old: Sequence[str] | None, where: str) -> Labels:
    """Return what a label list is to say of each class: of an old class what it said, of a new one its name.

    A list of integers that are not the classes' names (places, or keys of another list) gets the next integers.

    Parameters
    ----------
    values
        What the list says of the classes `old`, in their order.
    classes
        The classes from now on.
    old
        The classes until now; if None, the first of `classes` are the old ones.
    where
        The node, for the message.

    Raises
    ------
    FormatError
        If the list holds integers as names and a new name is none, or two classes would get one label.

    Examples
    --------
    >>> relabel((1, 2), ["1", "2", "7"], ["1", "2"], "ZipMap"), relabel((0, 1), ["a", "b", "c"], ["a", "b"], "keys")
    ((1, 2, 7), (0, 1, 2))
    """
    numbers = isinstance(values[0], int)
    names = old is None or [str(value) for value in values] == list(old)  # They are the classes' very names.
    at = {name: place for place, name in enumerate(classes[: len(values)] if old is None else old)}
    made: list[int | str] = []
    for name in classes:
        if name in at:
            made.append(values[at[name]])
        elif not numbers:
            made.append(name)
        elif not names:
            made.append(max(v for v in (*values, *made) if isinstance(v, int)) + 1)
        elif (number := _integer(name)) is None:
            raise FormatError(
                f"{where} names its classes with integers; {name!r} is none, use one such as '{len(made)}'"
            )
        else:
            made.append(number)
    if len(set(made)) < len(made):
        raise FormatError(f"{where} would name two classes alike: {made}")
    return tuple(made)


def _integer(name: str) -> int | None:
    try:
        number = int(name)
    except ValueError:
        return None
    return number if -(1 << 63) <= number < 1 << 63 else None


def write_labels(node: Any, given: Labels, values: Labels) -> None:
    """Change a ZipMap, LinearClassifier or LabelEncoder so that it makes `values` of `given`."""
    from onnx import numpy_helper

    if node.op_type != "LabelEncoder":
        numbers = "classlabels_ints" if node.op_type == "LinearClassifier" else "classlabels_int64s"
        set_attributes(node, **{numbers if isinstance(values[0], int) else "classlabels_strings": list(values)})
        return
    for what, content in (("keys", given), ("values", values)):
        for attribute in list(node.attribute):
            if attribute.name in (f"{what}_strings", f"{what}_int64s"):
                set_attributes(node, **{attribute.name: list(content)})
            elif attribute.name == f"{what}_tensor":
                table = np.array(content, tensor_value(attribute.t).dtype)
                attribute.t.CopyFrom(numpy_helper.from_array(table, attribute.t.name))


def names_of(model: Any, place: Place) -> tuple[str, ...] | None:
    """Return the classes' names: from the last label lists of the graph, texts before integers, or from `listed`."""
    lookups = place.tail.lookups
    used = {lookup.source for lookup in lookups}
    last = [lookup.values for at, lookup in enumerate(lookups) if at not in used]
    last.sort(key=lambda values: isinstance(values[0], int))
    names = tuple(map(str, last[0])) if last else listed(model, place.head.num_classes)
    return names if names and len(set(names)) == len(names) and all(names) else None


def listed(model: Any, k: int) -> tuple[str, ...] | None:
    """Return the names of k classes that the file's metadata lists, or None.

    Lists under "names", "labels", "classes", "character" and the like count, in JSON, as a Python literal (as
    Ultralytics writes them), or separated by new lines or commas; a list of another length says something else.
    """
    for item in model.metadata_props:
        if item.key.lower() in NAMES and (names := _parse(item.value)[0]) and len(names) == k:
            return names
    return None


def write_listed(model: Any, place: Place, classes: Sequence[str]) -> None:
    """Bring the metadata's lists up to date; a file that named its classes nowhere gets a list "class_names".

    Raises
    ------
    FormatError
        If a name holds the list's separator.
    """
    k, found = place.head.num_classes, bool(place.tail.lookups)
    for item in model.metadata_props:
        names, write = _parse(item.value) if item.key.lower() in NAMES else ((), str)
        if not names or len(names) != k:
            continue
        found, item.value = True, write(classes)
        if _parse(item.value)[0] != tuple(classes):
            raise FormatError(f"the metadata {item.key!r} cannot hold these class names: {list(classes)}")
    if not found and not any(item.key == "class_names" for item in model.metadata_props):
        model.metadata_props.add(key="class_names", value=json.dumps(list(classes), ensure_ascii=False))


def _parse(text: str) -> tuple[tuple[str, ...], Callable[[Sequence[str]], str]]:
    """The names in a text, and how to write others in the same way."""
    if len(text) > _MOST_TEXT:
        return (), str
    for read, write, kind in ((json.loads, _json, str), (ast.literal_eval, repr, int)):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        ordered = [value.get(kind(i)) for i in range(len(value))] if isinstance(value, dict) else value
        if not isinstance(ordered, (list, tuple)) or not all(isinstance(name, str) for name in ordered):
            return (), str
        return tuple(ordered), partial(_write, write, kind if isinstance(value, dict) else type(value))
    separator = "\n" if "\n" in text else ","
    end = separator if text.endswith(separator) else ""
    names = text.removesuffix(end).split(separator)
    pad = " " if separator == "," and all(name.startswith(" ") for name in names[1:]) else ""
    return tuple(name.removeprefix(pad) for name in names), lambda names: f"{separator}{pad}".join(names) + end


def _write(write: Callable[[Any], str], kind: type, names: Sequence[str]) -> str:
    if kind in (int, str):
        return write({kind(place): name for place, name in enumerate(names)})
    return write(kind(names))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
