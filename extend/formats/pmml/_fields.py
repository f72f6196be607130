"""Fields of a PMML file: what a model reads, as columns computed from the numbers that a user gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from extend.core.errors import FormatError
from extend.formats.pmml._document import children, number, only, real, text
from extend.formats.pmml._expressions import (
    MANY,
    ONE,
    TWO,
    Affine,
    Apply,
    Clip,
    Column,
    Constant,
    Expression,
    Indicator,
    Linear,
    affine,
    evaluate,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NUMERIC = ("integer", "float", "double")


@dataclass(frozen=True)
class Fields:
    """The fields that a model may read.

    `inputs` are the active mining fields, in the schema's order; `derived` those of the transformation dictionary and
    the local ones, each an expression of inputs and earlier ones, or the error that its use raises; `targets` are the
    values of the field `target` in the data dictionary, if it lists them.
    """

    where: str
    inputs: tuple[str, ...]
    codes: tuple[dict[str, float] | None, ...]
    derived: tuple[Expression | FormatError, ...]
    names: dict[str, Expression | FormatError]
    target: str
    targets: tuple[str, ...]

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each input."""
        return {name: place for place, name in enumerate(self.inputs)}

    @cached_property
    def named(self) -> set[str]:
        """The inputs whose values are names of categories."""
        return {
            name
            for name, code in zip(self.inputs, self.codes, strict=True)
            if code is not None and any(key != _plain(value) for key, value in code.items())
        }

    def field(self, name: str) -> Expression:
        """Return the column of a field."""
        found = self.names.get(name)
        if found is None:
            raise FormatError(f"{self.where}: field {name!r} is used, but is no active or earlier derived field")
        if isinstance(found, FormatError):
            raise found
        return found

    def category(self, name: str, value: str) -> Expression:
        """Return an expression that is 1 where a categorical input has this value."""
        code = self.codes[self.places[name]] if name in self.places else None
        if code is None:
            raise FormatError(f"{self.where}: field {name!r} is compared with {value!r}; expected a categorical input")
        if value not in code:
            raise FormatError(f"{self.where}: {value!r} is no value of field {name!r} in the data dictionary")
        return Indicator(self.field(name), code[value])

    def number(self, name: str) -> Expression:
        """Return the column of a field that is read as a number."""
        if name in self.named:
            raise FormatError(f"{self.where}: field {name!r} holds names of categories, and is read as a number")
        return self.field(name)

    def expression(self, holder: Element) -> Expression:
        """Return the one expression in an element, such as a derived field."""
        found = list(children(holder))
        found = [child for child in found if child.tag not in ("Value", "Interval")]
        name = holder.get("name") or holder.get("function") or ""
        if len(found) != 1:
            raise FormatError(f"{self.where}: {holder.tag} {name!r} has {len(found)} expressions; expected one")
        return self._expression(found[0])

    def _expression(self, element: Element) -> Expression:
        where = self.where
        if element.tag == "FieldRef":
            return self.number(text(element, "field", where))
        if element.tag == "Constant":
            return Constant(real(element.text or "", f"{where}: a Constant"))
        if element.tag == "NormDiscrete":
            if element.get("method", "indicator") != "indicator":
                raise FormatError(f"{where}: NormDiscrete method {element.get('method')!r}; expected 'indicator'")
            return self.category(text(element, "field", where), text(element, "value", where))
        if element.tag == "NormContinuous":
            return self._linear(element)
        if element.tag == "Apply":
            function = text(element, "function", where)
            arguments = tuple(self._expression(child) for child in children(element))
            least, most = (1, 1) if function in ONE else (2, 2) if function in TWO else (1, 1000)
            if function not in ONE | TWO | MANY or not least <= len(arguments) <= most:
                raise FormatError(
                    f"{where}: function {function!r} of {len(arguments)} arguments is not supported; "
                    f"there are {', '.join([*ONE, *TWO, *MANY])}"
                )
            return Apply(function, arguments)
        raise FormatError(f"{where}: expression {element.tag} is not supported; apply it before the model")

    def _linear(self, element: Element) -> Linear:
        name = text(element, "field", self.where)
        points = list(children(element, "LinearNorm"))
        x = tuple(number(point, "orig", self.where) for point in points)
        y = tuple(number(point, "norm", self.where) for point in points)
        if len(x) < 2 or any(b <= a for a, b in pairwise(x)):
            raise FormatError(f"{self.where}: NormContinuous of {name!r} needs two or more rising points, has {x}")
        outliers = element.get("outliers", "asIs")
        if outliers not in ("asIs", "asExtremeValues"):
            raise FormatError(f"{self.where}: NormContinuous of {name!r} has outliers={outliers!r}; expected asIs")
        return Linear(self.number(name), x, y, outliers == "asExtremeValues")

    def columns(self, x: np.ndarray, wanted: tuple[Expression, ...]) -> np.ndarray:
        """Return the wanted columns ``[n, wanted]`` of inputs ``[n, inputs]``, in float64.

        Raises
        ------
        FormatError
            If a column is not finite.
        """
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.inputs):
            raise FormatError(f"{self.where}: inputs of shape {list(x.shape)}; expected [n, {len(self.inputs)}]")
        values = list(x.T)
        for expression in self.derived:
            values.append(np.zeros(len(x)) if isinstance(expression, FormatError) else evaluate(expression, values))
        result = np.stack([evaluate(expression, values) for expression in wanted], axis=1)
        if not np.isfinite(result).all():
            raise FormatError(f"{self.where}: the transformed inputs hold NaN or infinity; are they in range?")
        return result

    def affine(self, wanted: tuple[Expression, ...]) -> list[Affine]:
        """Return the wanted columns as a scale and an offset of one input each.

        Raises
        ------
        FormatError
            If they are something else.
        """
        known: list[Affine | FormatError] = [(1.0, 0.0, index) for index in range(len(self.inputs))]
        for expression in self.derived:
            try:
                known.append(expression if isinstance(expression, FormatError) else affine(expression, known))
            except FormatError as error:
                known.append(error)
        return [affine(expression, known) for expression in wanted]


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def read(root: Element, model: Element, where: str) -> Fields:
    """Return the fields of a model.

    Raises
    ------
    FormatError
        If there are no or several targets, fields of an unknown kind, or treatments that change finite inputs.
    """
    data = {text(field, "name", where): field for field in children(only(root, "DataDictionary", where), "DataField")}
    inputs: list[str] = []
    codes: list[dict[str, float] | None] = []
    names: dict[str, Expression | FormatError] = {}
    targets: list[str] = []
    for mining in children(only(model, "MiningSchema", where), "MiningField"):
        name, usage = text(mining, "name", where), mining.get("usageType", "active")
        if name not in data:
            raise FormatError(f"{where}: mining field {name!r} is not in the data dictionary")
        if usage in ("predicted", "target"):
            targets.append(name)
        if usage != "active":
            continue
        if name in names:
            raise FormatError(f"{where}: mining field {name!r} is listed twice")
        names[name] = _input(mining, data[name], len(inputs), where)
        inputs.append(name)
        codes.append(_codes(data[name], where))
    if len(targets) != 1 or not inputs:
        raise FormatError(f"{where}: {len(targets)} target fields and {len(inputs)} active ones; expected 1, and some")
    target = data[targets[0]]
    if target.get("optype") not in ("categorical", "ordinal"):
        raise FormatError(
            f"{where}: the target {targets[0]!r} has optype {target.get('optype')!r}; expected categorical"
        )
    values = tuple(_values(target, where))
    fields = Fields(where, tuple(inputs), tuple(codes), (), names, targets[0], values)
    derived: list[Expression | FormatError] = []
    for holder in (*children(root, "TransformationDictionary"), *children(model, "LocalTransformations")):
        for field in children(holder, "DerivedField"):
            name = text(field, "name", where)
            if name in names:
                raise FormatError(f"{where}: field {name!r} is defined twice")
            try:
                derived.append(fields.expression(field))
                names[name] = Column(len(inputs) + len(derived) - 1)
            except FormatError as error:  # It counts only if the model reads the field.
                derived.append(error)
                names[name] = error
    return replace(fields, derived=tuple(derived))


def _input(mining: Element, data: Element, index: int, where: str) -> Expression:
    name = text(data, "name", where)
    if any(value.get("property", "valid") == "missing" for value in children(data, "Value")):
        raise FormatError(f"{where}: field {name!r} has numbers that mean 'missing'; remove those Value elements")
    outliers = mining.get("outliers", "asIs")
    if outliers == "asExtremeValues":
        return Clip(Column(index), number(mining, "lowValue", where), number(mining, "highValue", where))
    if outliers != "asIs":
        raise FormatError(f"{where}: field {name!r} has outliers={outliers!r}; expected asIs or asExtremeValues")
    return Column(index)


def _codes(data: Element, where: str) -> dict[str, float] | None:
    """What number stands for each value of a categorical field: the value itself if numeric, else its position."""
    name, optype, kind = text(data, "name", where), text(data, "optype", where), data.get("dataType", "string")
    if optype == "continuous":
        if kind not in NUMERIC:
            raise FormatError(f"{where}: field {name!r} has dataType {kind!r}; expected a number")
        return None
    values = _values(data, where)
    if kind in NUMERIC:
        return {value: real(value, f"{where}: a value of field {name!r}") for value in values}
    if kind not in ("string", "boolean"):
        raise FormatError(f"{where}: field {name!r} has dataType {kind!r}; expected a number, string or boolean")
    return {value: float(position) for position, value in enumerate(values)}


def _values(data: Element, where: str) -> list[str]:
    return [text(v, "value", where) for v in children(data, "Value") if v.get("property", "valid") == "valid"]
