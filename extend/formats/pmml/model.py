"""PMML 3.x and 4.x: ``NeuralNetwork`` and ``RegressionModel`` that classify, read by a strict parser.

The file's own tree is kept: `Pmml.save` changes the last layer (or the tables), the outputs and the lists of classes,
and leaves everything else as it was. What a score is follows JPMML, the reference evaluator.
Source: the PMML standard, https://dmg.org/pmml/v4-4-1/NeuralNetwork.html and .../Regression.html.
"""

from __future__ import annotations

import os
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, Input, check_replacement, digest, read_bytes, replace_file
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.pmml import _fields as pmml_fields
from extend.formats.pmml import _network as pmml_network
from extend.formats.pmml import _regression as pmml_regression
from extend.formats.pmml._document import BYTES, children, parse, text, write
from extend.formats.pmml._fields import Fields
from extend.formats.pmml._parts import Parts, set_classes

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KINDS = {"NeuralNetwork": pmml_network, "RegressionModel": pmml_regression}
AROUND = ("Header", "MiningBuildTask", "DataDictionary", "TransformationDictionary")


@dataclass(frozen=True)
class Pmml:
    """A PMML classifier, opened; one row of input holds its active fields, in the mining schema's order.

    `extend.formats.base.Foreign` says what its attributes and methods mean. A categorical field is given as a number:
    its value where its values are numbers, else its value's position in the data dictionary, from 0.
    """

    path: str
    root: Element
    fields: Fields
    parts: Parts
    format: str = "pmml"

    @property
    def input(self) -> Input:
        """One row of the active fields."""
        return Input((len(self.fields.inputs),), np.dtype(np.float64))

    @property
    def head(self) -> DenseHead:
        """The last layer, or the regression tables."""
        return self.parts.head

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the neural outputs, or the regression tables, name."""
        return self.parts.classes

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fields and the layers before the head."""
        derived = [None if isinstance(one, FormatError) else one for one in self.fields.derived]
        fields = (self.fields.inputs, self.fields.codes, derived, self.parts.columns)
        parts: list[tuple[str, Any]] = [("fields", repr(fields))]
        for layer in self.parts.layers:
            parts += [("kernel", layer.kernel), ("bias", layer.bias), ("activation", layer.activation)]
        return digest(parts)

    @property
    def network(self) -> DenseNetwork | None:
        """The whole as a dense network, or None where inputs are more than scaled and shifted, or read twice."""
        try:
            columns = self.fields.affine(self.parts.columns)
        except FormatError:
            return None
        sources = [index for _, _, index in columns]
        if len(set(sources)) != len(sources) or -1 in sources:
            return None
        n = len(self.fields.inputs)
        scale, offset = np.zeros(n), np.zeros(n)
        head = self.parts.head
        layers = [*self.parts.layers, DenseLayer(head.kernel, head.bias, self.parts.last)]
        kernel = np.zeros((n, layers[0].kernel.shape[1]))
        for column, (a, b, index) in enumerate(columns):
            scale[index], offset[index], kernel[index] = a, b, layers[0].kernel[column]
        layers[0] = DenseLayer(kernel, layers[0].bias, layers[0].activation)
        return DenseNetwork(tuple(layers), scale, offset, self.fields.inputs, self.parts.classes)

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the last layer reads, in float64.

        Raises
        ------
        FormatError
            If the batch has another number of inputs, or transformed inputs are not finite.
        """
        x = self.fields.columns(np.asarray(batch), self.parts.columns)
        for layer in self.parts.layers:
            x = layer(x)
        return x

    def save(self, path: str | os.PathLike[str], head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the file with this head in place of its own.

        Raises
        ------
        FormatError
            If the suffix is not .pmml or .xml, or the file cannot hold the head.
        """
        if Path(path).suffix.lower() not in (".pmml", ".xml"):
            raise FormatError(f"{path}: a PMML file is named .pmml or .xml")
        check_replacement(head, self.head, classes, fewest=2, where=path)
        root = deepcopy(self.root)
        if not self._holds(head, classes):
            model = _model(root, self.path)
            KINDS[model.tag].widen(model, self.parts, head, classes)
            set_classes(root, model, self.fields.target, self.parts.classes, classes)
        content = write(root)
        _open(content, str(path))._check(self, head, classes)
        replace_file(path, content)

    def _holds(self, head: DenseHead, classes: tuple[str, ...]) -> bool:
        return self.parts.head.equals(head) and classes == self.parts.classes

    def _check(self, source: Pmml, head: DenseHead, classes: tuple[str, ...]) -> None:
        """What was written reads as what was given."""
        if not self._holds(head.astype(np.float64), classes) or self.fingerprint != source.fingerprint:
            raise FormatError(f"{self.path}: the written file would read otherwise than the model that was given")

    def describe(self) -> dict[str, str]:
        """Describe the layers, the kind of head, and what each input is."""
        kinds = [f"{name} ({'categorical' if code else 'number'})" for name, code in zip(
            self.fields.inputs, self.fields.codes, strict=True)]  # fmt: skip
        widths = [f"{layer.kernel.shape[1]} {layer.activation}" for layer in self.parts.layers]
        return {
            "backbone": f"{len(self.parts.columns)} inputs of the network, layers of {', '.join(widths) or 'none'}",
            "head": _model(self.root, self.path).tag + (", one unit for two classes" if self.parts.single else ""),
            "inputs": ", ".join(kinds[:20]) + (f" and {len(kinds) - 20} more" if len(kinds) > 20 else ""),
            "limits": "missing values are not treated; ranges of inputs are not checked",
        }


def open(path: str | os.PathLike[str]) -> Pmml:
    """Open a PMML file of a neural network or a regression model that classifies.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Pmml
        The opened model.

    Raises
    ------
    FormatError
        If the file is damaged, has a DTD, or has a part that is not supported; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from extend.formats import DenseLayer, DenseNetwork, to_pmml
    >>> layer = DenseLayer(np.eye(2), np.zeros(2), "softmax")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_pmml(DenseNetwork((layer,), np.ones(2), np.zeros(2), classes=("cat", "dog")), Path(folder) / "a.pmml")
    ...     open(Path(folder) / "a.pmml").classes
    ('cat', 'dog')
    """
    return _open(read_bytes(path, BYTES), str(path))


def _open(content: bytes, where: str) -> Pmml:
    root = parse(content, where)
    model = _model(root, where)
    if model.get("functionName") != "classification":
        raise FormatError(f"{where}: functionName is {model.get('functionName')!r}; expected 'classification'")
    fields = pmml_fields.read(root, model, where)
    parts = KINDS[model.tag].read(model, fields)
    unlisted = [name for name in parts.classes if fields.targets and name not in fields.targets]
    if unlisted:
        raise FormatError(f"{where}: class {unlisted[0]!r} is not among the values of the target {fields.target!r}")
    return Pmml(where, root, fields, parts)


def _model(root: Element, where: str) -> Element:
    models = [child for child in children(root) if child.tag not in AROUND]
    if len(models) != 1 or models[0].tag not in KINDS:
        raise FormatError(
            f"{where}: holds {', '.join(child.tag for child in models) or 'no model'}; "
            f"expected one of {', '.join(KINDS)} (of a pipeline's nested models none is supported)"
        )
    text(models[0], "functionName", where)
    return models[0]
