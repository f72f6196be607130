"""A PMML ``RegressionModel`` that classifies, as one dense layer, and its tables written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import SubElement

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, same_columns
from extend.formats.pmml._document import children, number, text
from extend.formats.pmml._fields import Apply, Expression, Fields
from extend.formats.pmml._parts import Parts, laid_out

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

WEIGHTS = 1 << 25
"""At most so many coefficients in all."""
Key = tuple[str, str, str]
"""Tag, field (or fields, one a line), value or exponent of a predictor."""


def read(model: Element, fields: Fields) -> Parts:
    """Return the tables of a ``RegressionModel`` as a head; its features are the predictors of all tables.

    Raises
    ------
    FormatError
        If a table has no class, or a normalisation or a predictor is not supported.
    """
    where = fields.where
    norm = model.get("normalizationMethod", "none")
    tables = list(children(model, "RegressionTable"))
    classes = tuple(text(table, "targetCategory", where) for table in tables)
    if len(tables) < 2 or len(set(classes)) != len(classes):
        raise FormatError(f"{where}: regression tables for {list(classes)}; expected two or more unlike classes")
    places = {key: place for place, key in enumerate(_keys(tables, where))}
    if not places or len(places) * len(tables) > WEIGHTS:
        raise FormatError(f"{where}: {len(places)} predictors in {len(tables)} tables; expected 1 to {WEIGHTS} in all")
    columns = tuple(_column(key, fields) for key in places)
    kernel, bias = np.zeros((len(places), len(tables))), np.zeros(len(tables))
    for place, table in enumerate(tables):
        bias[place] = number(table, "intercept", where, 0.0)
        for element in children(table):
            kernel[places[_key(element, where)], place] += number(element, "coefficient", where)
    if norm == "softmax":
        return Parts(columns, (), DenseHead(kernel, bias), classes, "softmax")
    if norm == "logit" and len(tables) > 2:
        return Parts(columns, (), DenseHead(kernel, bias, "sigmoid"), classes, "logistic")
    if norm == "logit" and not kernel[:, 1].any() and bias[1] == 0:
        head = DenseHead(kernel[:, ::-1].copy(), bias[::-1].copy())
        return Parts(columns, (), head, classes[::-1], "softmax", single=True)
    raise FormatError(
        f"{where}: {len(tables)} regression tables with normalizationMethod {norm!r}; expected 'softmax', or 'logit' "
        "(of two tables the second must be empty). Scores of 'none' are probabilities only as long as no class is added"
    )


def _keys(tables: list[Element], where: str) -> list[Key]:
    """The predictors of all tables, in an order that does not depend on the tables'."""
    return sorted({_key(element, where) for table in tables for element in children(table)})


def _key(element: Element, where: str) -> Key:
    tag = element.tag
    if tag == "NumericPredictor":
        return tag, text(element, "name", where), element.get("exponent", "1")
    if tag == "CategoricalPredictor":
        return tag, text(element, "name", where), text(element, "value", where)
    if tag == "PredictorTerm":
        return tag, "\n".join(text(field, "field", where) for field in children(element, "FieldRef")), ""
    raise FormatError(
        f"{where}: a regression table holds {tag}; expected numeric and categorical predictors, and terms"
    )


def _column(key: Key, fields: Fields) -> Expression:
    tag, name, detail = key
    if tag == "CategoricalPredictor":
        return fields.category(name, detail)
    if tag == "PredictorTerm":
        return Apply("product", tuple(fields.number(field) for field in name.split("\n")))
    if not detail.isdecimal() or not 1 <= int(detail[:4]) <= 16:
        raise FormatError(f"{fields.where}: predictor {name!r} has exponent {detail!r}; expected 1 to 16")
    column = fields.number(name)
    return column if detail == "1" else Apply("product", (column,) * int(detail))


def widen(model: Element, parts: Parts, head: DenseHead, classes: tuple[str, ...]) -> None:
    """Put this head in the place of the model's tables; tables of columns that are unchanged keep their predictors."""
    tables = list(children(model, "RegressionTable"))
    by_class = {text(table, "targetCategory", ""): table for table in tables}
    keys = _keys(tables, "")
    place = list(model).index(tables[0])
    for table in tables:
        model.remove(table)
    sigmoid = head.activation == "sigmoid"
    if sigmoid and len(classes) == 2:
        raise FormatError("a PMML regression model of two classes has one probability, and its complement: use softmax")
    model.set("normalizationMethod", "logit" if sigmoid else "softmax")
    used: set[int] = set()
    made: list[Element] = []
    for column, (match, name) in enumerate(zip(same_columns(parts.head, head), classes, strict=True)):
        if match is None or match in used:
            table = model.makeelement("RegressionTable", {"intercept": repr(float(head.bias[column]))})
            _add(table, [(key, float(weight)) for key, weight in zip(keys, head.kernel[:, column], strict=True)])
        else:
            used.add(match)
            table = by_class[parts.classes[match]]
        table.set("targetCategory", name)
        model.insert(place + column, table)
        made.append(table)
    _add(made[0], [(key, 0.0) for key in sorted(set(keys) - set(_keys(made, "")))])
    like = max(tables, key=len)
    for table in set(made) - set(tables):
        laid_out(table, like)


def _add(table: Element, predictors: list[tuple[Key, float]]) -> None:
    """Put predictors with their coefficients into a table, in the order of the schema."""
    for (tag, name, detail), weight in predictors:
        attributes = {"coefficient": repr(weight)}
        if tag == "PredictorTerm":
            term = SubElement(table, tag, attributes)
            for field in name.split("\n"):
                SubElement(term, "FieldRef", {"field": field})
        else:
            what = "value" if tag == "CategoricalPredictor" else "exponent"
            SubElement(table, tag, {"name": name, what: detail, **attributes})
    order = ("NumericPredictor", "CategoricalPredictor", "PredictorTerm")
    table[:] = sorted(table, key=lambda e: order.index(e.tag) if e.tag in order else -1)
