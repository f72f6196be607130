"""What both PMML models are in our terms, and the parts of the file that name classes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import DenseLayer
from extend.formats.pmml._document import NUMBER, children, only, text
from extend.formats.pmml._fields import NUMERIC, Expression

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class Parts:
    """The columns that the first layer reads, the layers before the head, the head with its classes.

    `last` is the head's activation in `extend.formats.dense`; `factor` is what the file's weights are multiplied by
    (2 for tanh, as ``(tanh z + 1) / 2`` is the logistic of 2 z); `single` says that the file has one unit for two
    classes.
    """

    columns: tuple[Expression, ...]
    layers: tuple[DenseLayer, ...]
    head: DenseHead
    classes: tuple[str, ...]
    last: str
    factor: float = 1.0
    single: bool = False


def set_classes(root: Element, model: Element, target: str, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Bring the target's values, the output fields and the priors to the new classes; drop the stale verification.

    A target of numbers becomes one of strings where a new name is no number.

    Raises
    ------
    FormatError
        If an output field that stays refers to one of a class that goes.
    """
    field = next(f for f in children(only(root, "DataDictionary", ""), "DataField") if f.get("name") == target)
    number, kind = field.get("dataType", "string"), field.get("dataType", "string")
    if kind != "string" and not all(_fits(name, kind) for name in new):
        field.set("dataType", "string")
        for element in model.iter():
            derived = element.tag == "DerivedField" and element.get("dataType") == number
            named = any(c.get("field") == target for c in element) if derived else False
            if named or (element.tag == "OutputField" and element.get("feature") == "predictedValue"):
                element.set("dataType", "string")
    values = {v.get("value"): v for v in children(field, "Value") if v.get("property", "valid") == "valid"}
    if values:
        place = min(list(field).index(v) for v in values.values())
        for value in values.values():
            field.remove(value)
        for position, name in enumerate(new):
            made = values.get(name)
            field.insert(place + position, _like(field, "Value", value=name) if made is None else made)
    gone = set(old) - set(new)
    for targets in children(model, "Targets"):
        for one in children(targets, "Target"):
            for value in list(children(one, "TargetValue")):
                if value.get("value") in gone:
                    one.remove(value)
    for verification in list(children(model, "ModelVerification")):
        model.remove(verification)
    for output in children(model, "Output"):
        _set_outputs(output, old, new)


def _set_outputs(output: Element, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    listed = {f.get("value"): f for f in children(output, "OutputField") if f.get("feature") == "probability"}
    listed.pop(None, None)
    taken = {text(f, "name", "Output") for f in children(output, "OutputField")}
    if not listed:
        return
    pattern_value, pattern = next(iter(listed.items()))
    place = 1 + max(list(output).index(f) for f in listed.values())
    for name in new:
        if name not in listed:
            made = deepcopy(pattern)
            was, label = text(pattern, "name", "Output"), str(pattern_value)
            title = was.replace(label, name) if label in was else f"probability({name})"
            while title in taken:
                title += "_"
            taken.add(title)
            made.set("name", title)
            made.set("value", name)
            made.attrib.pop("displayName", None)
            output.insert(place, made)
            place += 1
    for value, element in listed.items():
        if value in old and value not in new:
            gone = element.get("name")
            output.remove(element)
            if any(e.get("field") == gone for e in output.iter("FieldRef")):
                raise FormatError(
                    f"an output field refers to {gone!r}, whose class is removed: remove that field first"
                )


def _fits(name: str, kind: str) -> bool:
    if kind == "integer":
        return name.removeprefix("-").isdecimal() and name.isascii()
    return kind in NUMERIC and NUMBER.fullmatch(name) is not None


def _like(parent: Element, tag: str, **attributes: Any) -> Element:
    """A new element for this parent, laid out as its neighbours are."""
    made = parent.makeelement(tag, attributes)
    made.tail = parent[0].tail if len(parent) else parent.text
    return made


def laid_out(made: Element, like: Element) -> Element:
    """Return the element with the line breaks of one like it."""
    made.tail, made.text = like.tail, like.text
    for child in made:
        child.tail = like[0].tail if len(like) else None
    if len(made) and len(like):
        made[-1].tail = like[-1].tail
    return made
