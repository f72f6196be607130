"""A dense network as a PMML file that both JPMML and Weka 3.6 read."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent

from extend.core.errors import FormatError
from extend.formats.base import replace_file
from extend.formats.dense import DenseNetwork
from extend.formats.pmml._document import write

ACTIVATION = {"identity": "identity", "tanh": "tanh", "logistic": "logistic", "relu": "rectifier"}
VERSION = "4.4"


def to_pmml(network: DenseNetwork, path: str | os.PathLike[str]) -> None:
    """Write a dense network as a ``NeuralNetwork`` of PMML 4.4.

    Inputs are named as the network names them, else "x1", "x2", ...; classes likewise, else "0", "1", ... The last
    layer's tanh becomes a logistic of twice the weights: ``(1 + tanh z) / 2``, the same order, as a probability. Weka
    3.6 knows no rectifier (`relu`): such a file is for others.

    Parameters
    ----------
    network
        The network.
    path
        Where to write, ending in ``.pmml`` or ``.xml``.

    Raises
    ------
    FormatError
        If the suffix is another one, there is one class alone, a name occurs twice, or the last layer is of relu.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from extend.formats.dense import DenseLayer
    >>> network = DenseNetwork((DenseLayer(np.eye(2), np.zeros(2), "softmax"),), np.ones(2), np.zeros(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_pmml(network, Path(folder) / "network.pmml")
    ...     (Path(folder) / "network.pmml").read_text().count("<Neuron ")
    2
    """
    if Path(path).suffix.lower() not in (".pmml", ".xml"):
        raise FormatError(f"{path}: a PMML file is named .pmml or .xml")
    replace_file(path, document(network))


def document(network: DenseNetwork) -> bytes:
    """Return the content of the file that `to_pmml` writes."""
    inputs = network.inputs or tuple(f"x{number}" for number in range(1, len(network.scale) + 1))
    classes = network.classes or tuple(map(str, range(network.layers[-1].kernel.shape[1])))
    target = "class"
    while target in inputs:
        target += "_"
    for kind, names in (("inputs", inputs), ("classes", classes)):
        if len(set(names)) != len(names):
            raise FormatError(f"the network's {kind} have names that occur twice; PMML tells them apart by name")
        if any(not name or not name.isprintable() for name in names):
            raise FormatError(f"the network's {kind} have an empty name, or one that cannot be printed")
    if len(classes) < 2:
        raise FormatError("a PMML classifier needs two classes or more")
    root = Element("PMML", {"xmlns": f"http://www.dmg.org/PMML-{VERSION.replace('.', '_')}", "version": VERSION})
    SubElement(SubElement(root, "Header"), "Application", name="extend")
    dictionary = SubElement(root, "DataDictionary", numberOfFields=str(len(inputs) + 1))
    for name in inputs:
        SubElement(dictionary, "DataField", name=name, optype="continuous", dataType="double")
    field = SubElement(dictionary, "DataField", name=target, optype="categorical", dataType="string")
    for name in classes:
        SubElement(field, "Value", value=name)
    model = SubElement(root, "NeuralNetwork", functionName="classification", activationFunction="identity")
    schema = SubElement(model, "MiningSchema")
    for name in inputs:
        SubElement(schema, "MiningField", name=name, usageType="active")
    SubElement(schema, "MiningField", name=target, usageType="predicted")
    output = SubElement(model, "Output")
    for name in classes:
        title = f"probability({name})"
        SubElement(
            output, "OutputField", name=title, optype="continuous", dataType="double", feature="probability", value=name
        )
    before = _inputs(model, network, inputs)
    last = len(network.layers)
    for number in range(1, last + 1):
        before = _layer(model, network, number, before)
    model.set("numberOfLayers", str(last))
    outputs = SubElement(model, "NeuralOutputs", numberOfOutputs=str(len(classes)))
    for neuron, name in zip(before, classes, strict=True):
        derived = SubElement(SubElement(outputs, "NeuralOutput", outputNeuron=neuron), "DerivedField")
        derived.attrib |= {"optype": "categorical", "dataType": "string"}
        SubElement(derived, "NormDiscrete", field=target, value=name)
    indent(root, " ")
    return write(root)


def _inputs(model: Element, network: DenseNetwork, names: tuple[str, ...]) -> list[str]:
    """Each input goes through ``x * scale + offset``, written as the line through two points; Weka needs two."""
    holder = SubElement(model, "NeuralInputs", numberOfInputs=str(len(names)))
    ids = [f"0/{number}" for number in range(1, len(names) + 1)]
    for node, name, scale, offset in zip(ids, names, network.scale, network.offset, strict=True):
        derived = SubElement(SubElement(holder, "NeuralInput", id=node), "DerivedField")
        derived.attrib |= {"optype": "continuous", "dataType": "double"}
        line = SubElement(derived, "NormContinuous", field=name)
        SubElement(line, "LinearNorm", orig="0.0", norm=repr(float(offset)))
        SubElement(line, "LinearNorm", orig="1.0", norm=repr(float(offset + scale)))
    return ids


def _layer(model: Element, network: DenseNetwork, number: int, before: list[str]) -> list[str]:
    layer, is_last = network.layers[number - 1], number == len(network.layers)
    kernel, bias, activation = layer.kernel, layer.bias, layer.activation
    normalized = "softmax" if activation == "softmax" or (activation == "log_softmax" and is_last) else "none"
    if is_last and activation == "tanh":
        kernel, bias, activation = 2 * kernel, 2 * bias, "logistic"
    function = "identity" if normalized == "softmax" else ACTIVATION.get(activation)
    if function is None or (is_last and activation == "relu"):
        raise FormatError(f"layer {number}: PMML cannot hold activation {activation!r} there")
    element = SubElement(model, "NeuralLayer", activationFunction=function, normalizationMethod=normalized)
    element.set("numberOfNeurons", str(len(bias)))
    ids = [f"{number}/{unit}" for unit in range(1, len(bias) + 1)]
    for node, weights, shift in zip(ids, kernel.T, bias, strict=True):
        neuron = SubElement(element, "Neuron", {"id": node, "bias": repr(float(shift))})
        for source, weight in zip(before, weights, strict=True):
            SubElement(neuron, "Con", {"from": source, "weight": repr(float(weight))})
    return ids
