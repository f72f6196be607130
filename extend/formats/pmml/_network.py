"""A PMML ``NeuralNetwork`` as dense layers, and its last layer written anew."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING
from xml.etree.ElementTree import SubElement

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, same_columns
from extend.formats.dense import DenseLayer
from extend.formats.pmml._document import children, number, only, text
from extend.formats.pmml._fields import Expression, Fields
from extend.formats.pmml._parts import Parts, laid_out

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from extend.heads import Activation

WEIGHTS = 1 << 25
"""At most so many weights in all."""
HIDDEN = {"identity": "identity", "tanh": "tanh", "logistic": "logistic", "rectifier": "relu"}
LAST: dict[tuple[str, str], tuple[Activation, str, float]] = {
    ("identity", "softmax"): ("softmax", "softmax", 1.0),
    ("exponential", "simplemax"): ("softmax", "softmax", 1.0),
    ("identity", "none"): ("softmax", "identity", 1.0),
    ("logistic", "none"): ("sigmoid", "logistic", 1.0),
    ("logistic", "simplemax"): ("sigmoid", "logistic", 1.0),
    ("logistic", "softmax"): ("sigmoid", "logistic", 1.0),
    ("tanh", "none"): ("sigmoid", "logistic", 2.0),
    ("tanh", "softmax"): ("sigmoid", "logistic", 2.0),
}
"""Activation and normalisation of the last layer -> the head's activation, the dense layer's, the weights' factor."""


def read(model: Element, fields: Fields) -> Parts:
    """Return the network of a ``NeuralNetwork`` element.

    Raises
    ------
    FormatError
        If a connection skips a layer, an activation is not supported, or an output names no class.
    """
    where = fields.where
    columns: list[Expression] = []
    before: dict[str, int] = {}
    for node in children(only(model, "NeuralInputs", where), "NeuralInput"):
        before[text(node, "id", where)] = len(columns)
        columns.append(fields.expression(only(node, "DerivedField", where)))
    elements = list(children(model, "NeuralLayer"))
    if not elements or not columns or len(before) != len(columns):
        raise FormatError(f"{where}: {len(elements)} layers and {len(before)} different inputs; expected some of each")
    read_layers = []
    left = WEIGHTS
    for position, element in enumerate(elements, 1):
        neurons = list(children(element, "Neuron"))
        left -= len(before) * len(neurons)
        if left < 0:
            raise FormatError(f"{where}: layer {position}: more than {WEIGHTS} weights; the network is too large")
        kernel, bias, ids = _weights(neurons, before, f"{where}: layer {position}")
        activation = element.get("activationFunction", text(model, "activationFunction", where))
        norm = element.get("normalizationMethod", model.get("normalizationMethod", "none"))
        read_layers.append((kernel, bias, activation, norm))
        before = ids
    names = _classes(model, fields, before)
    hidden, (kernel, bias, activation, norm) = read_layers[:-1], read_layers[-1]
    order = [before[neuron] for neuron in names]
    if len(order) != kernel.shape[1]:
        raise FormatError(f"{where}: the last layer has {kernel.shape[1]} neurons and {len(order)} neural outputs")
    kernel, bias = kernel[:, order], bias[order]
    classes = tuple(names.values())
    single = _two_from_one(kernel, bias, activation, norm, hidden)
    if single is not None:
        hidden, kernel, bias, first = single
        classes = (classes[1 - first], classes[first])
    elif len(classes) == 1:
        kernel, classes = kernel[:, 0], (_other_class(activation, norm, classes[0], fields), *classes)
        activation = "single"
    layers = tuple(_hidden(layer, f"{where}: layer {n}") for n, layer in enumerate(hidden, 1))
    if single is not None or activation == "single":
        head = DenseHead.from_single_unit(kernel[:, None], bias)
        return Parts(tuple(columns), layers, head, classes, "softmax", single=True)
    if (activation, norm) not in LAST:
        raise FormatError(
            f"{where}: the last layer has activation {activation!r} and normalization {norm!r}; "
            f"expected one of {', '.join('/'.join(pair) for pair in LAST)}"
        )
    kind, last, factor = LAST[activation, norm]
    return Parts(tuple(columns), layers, DenseHead(kernel * factor, bias * factor, kind), classes, last, factor)


Layer = tuple[np.ndarray, np.ndarray, str, str]


def _weights(
    neurons: list[Element], before: dict[str, int], where: str
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    kernel, bias = np.zeros((len(before), len(neurons))), np.zeros(len(neurons))
    ids: dict[str, int] = {}
    for column, neuron in enumerate(neurons):
        name = text(neuron, "id", where)
        if name in ids or name in before:
            raise FormatError(f"{where}: neuron {name!r} is defined twice")
        ids[name] = column
        label = f"{where}, neuron {name!r}"
        bias[column] = number(neuron, "bias", label, 0.0)
        for link in children(neuron, "Con"):
            source = text(link, "from", label)
            if source not in before:
                raise FormatError(
                    f"{label} reads {source!r}, which is no neuron of the layer before; "
                    "connections that skip a layer are not supported"
                )
            kernel[before[source], column] += number(link, "weight", label)
    if not neurons:
        raise FormatError(f"{where}: no neurons")
    return kernel, bias, ids


def _classes(model: Element, fields: Fields, neurons: dict[str, int]) -> dict[str, str]:
    """Neuron -> class, in the order of the neural outputs."""
    where = fields.where
    result: dict[str, str] = {}
    for output in children(only(model, "NeuralOutputs", where), "NeuralOutput"):
        neuron = text(output, "outputNeuron", where)
        derived = only(output, "DerivedField", where)
        found = list(children(derived, "NormDiscrete"))
        if len(found) != 1 or found[0].get("field") != fields.target:
            raise FormatError(f"{where}: neural output {neuron!r} is no NormDiscrete of the target {fields.target!r}")
        if neuron not in neurons or neuron in result:
            raise FormatError(f"{where}: neural output {neuron!r} is no neuron of the last layer, or is listed twice")
        result[neuron] = text(found[0], "value", where)
    if not result or len(set(result.values())) != len(result):
        raise FormatError(f"{where}: the neural outputs name the classes {list(result.values())}; expected unlike ones")
    return result


def _hidden(layer: Layer, where: str) -> DenseLayer:
    kernel, bias, activation, norm = layer
    if activation == "identity" and norm == "softmax":
        return DenseLayer(kernel, bias, "softmax")
    if activation not in HIDDEN or norm != "none":
        raise FormatError(
            f"{where}: activation {activation!r} with normalization {norm!r} is not supported in a hidden layer; "
            f"there are {', '.join(HIDDEN)}"
        )
    return DenseLayer(kernel, bias, HIDDEN[activation])


def _two_from_one(
    kernel: np.ndarray, bias: np.ndarray, activation: str, norm: str, hidden: list[Layer]
) -> tuple[list[Layer], np.ndarray, np.ndarray, int] | None:
    """The layers before, and the one logistic unit p, where the last layer only gives ``p`` and ``1 - p``."""
    if kernel.shape != (1, 2) or (activation, norm) != ("identity", "none") or not hidden:
        return None
    first = int(kernel[0, 1] == 1.0)
    if kernel[0].tolist() != [[-1.0, 1.0], [1.0, -1.0]][1 - first] or bias.tolist() != [float(first), float(1 - first)]:
        return None
    unit, offset, function, normalised = hidden[-1]
    if unit.shape[1] != 1 or (function, normalised) != ("logistic", "none"):
        return None
    if len(hidden) > 1 and unit.tolist() == [[1.0]] and offset.tolist() == [0.0]:
        inner, shift, function, normalised = hidden[-2]
        if (function, normalised) == ("identity", "none"):
            return hidden[:-2], inner[:, 0], shift, first
    return hidden[:-1], unit[:, 0], offset, first


def _other_class(activation: str, norm: str, name: str, fields: Fields) -> str:
    """Of a target of two classes the one that a single logistic unit does not name."""
    other = [value for value in fields.targets if value != name]
    if (activation, norm) != ("logistic", "none") or len(other) != 1:
        raise FormatError(
            f"{fields.where}: one neural output, of activation {activation!r}, for a target of the classes "
            f"{', '.join(fields.targets) or '(none listed)'}; expected a logistic one for two classes, or one a class"
        )
    return other[0]


def widen(model: Element, parts: Parts, head: DenseHead, classes: tuple[str, ...]) -> None:
    """Put this head in the place of the network's own; neurons of columns that are unchanged stay as they are."""
    layers = list(children(model, "NeuralLayer"))
    last = layers[-1]
    outputs = only(model, "NeuralOutputs", "")
    old = {next(o.iter("NormDiscrete")).get("value"): o for o in children(outputs, "NeuralOutput")}
    template = next(iter(old.values()))
    matches: list[int | None] = [None] * len(classes)
    factor = parts.factor
    if parts.single:
        _one_layer(model, layers[len(parts.layers) :])
    else:
        matches = same_columns(parts.head, head)
    if parts.single or head.activation != parts.head.activation:
        last.set("activationFunction", "identity" if head.activation == "softmax" else "logistic")
        last.set("normalizationMethod", "softmax" if head.activation == "softmax" else "none")
        factor, matches = 1.0, [None] * len(classes)
    neurons = list(children(last, "Neuron"))
    by_class = {name: text(output, "outputNeuron", "") for name, output in old.items()}
    by_id = {text(neuron, "id", ""): neuron for neuron in neurons}
    before = [text(node, "id", "") for node in _sources(model, len(parts.layers))]
    ids = {text(node, "id", "") for node in model.iter() if node.tag in ("Neuron", "NeuralInput")}
    for neuron in neurons:
        last.remove(neuron)
    for output in old.values():
        outputs.remove(output)
    used: set[str] = set()
    for column, name in enumerate(classes):
        match = matches[column]
        node = None if match is None else by_class[parts.classes[match]]
        if node is None or node in used:
            node = _unused(f"class/{column + 1}", ids)
            ids.add(node)
            by_id[node] = laid_out(_neuron(last, node, head, column, before, factor), neurons[0])
        used.add(node)
        last.append(by_id[node])
        output = deepcopy(old.get(name, template))
        output.set("outputNeuron", node)
        next(output.iter("NormDiscrete")).set("value", name)
        outputs.append(output)
    if last.get("numberOfNeurons") is not None:
        last.set("numberOfNeurons", str(len(classes)))
    if outputs.get("numberOfOutputs") is not None:
        outputs.set("numberOfOutputs", str(len(classes)))


def _sources(model: Element, layers: int) -> list[Element]:
    """What the head's neurons read: those of the last layer before it, or the inputs."""
    if layers:
        return list(children(list(children(model, "NeuralLayer"))[layers - 1], "Neuron"))
    return list(children(only(model, "NeuralInputs", ""), "NeuralInput"))


def _one_layer(model: Element, tail: list[Element]) -> None:
    """Of the layers that make two outputs of one unit, keep the last alone."""
    for layer in tail[:-1]:
        model.remove(layer)
    if model.get("numberOfLayers") is not None:
        model.set("numberOfLayers", str(len(list(children(model, "NeuralLayer")))))


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _neuron(layer: Element, name: str, head: DenseHead, column: int, before: list[str], factor: float) -> Element:
    neuron = layer.makeelement("Neuron", {"id": name, "bias": repr(float(head.bias[column]) / factor)})
    for source, weight in zip(before, head.kernel[:, column], strict=True):
        SubElement(neuron, "Con", {"from": source, "weight": repr(float(weight) / factor)})
    return neuron
