"""TensorFlow.js layers models: read into Keras, run there, and written back wider with every other byte as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError, MissingExtraError
from extend.data import Image
from extend.formats import keras
from extend.formats.base import DenseHead, Input, check_replacement
from extend.formats.tfjs import _topology as topology
from extend.formats.tfjs import _weights as weights
from extend.formats.tfjs._names import assign, leaves, names_of
from extend.formats.tfjs._source import METADATA, MODEL, MOST_JSON, Source
from extend.formats.tfjs._target import SUFFIXES, Target
from extend.formats.tfjs._weights import Groups, Weight


@dataclass(frozen=True)
class TensorFlowJS:
    """A layers model of TensorFlow.js, opened.

    `extend.formats.base.Foreign` says what its attributes and methods mean.

    Parameters
    ----------
    path
        The ``.json`` file, or the zip archive.
    keras
        The same model in Keras.
    input, classes
        As `Foreign` says.
    image
        How a picture becomes an input, which Teachable Machine's ``metadata.json`` tells; None where nothing does.
    document, metadata
        What ``model.json`` and ``metadata.json`` hold.
    groups, files
        The weights, and the names of the files that they were read from.
    kind
        What wrote the model, where ``metadata.json`` says it.
    """

    path: Path
    keras: keras.Keras
    input: Input | Mapping[str, Input]
    classes: tuple[str, ...] | None
    image: Image | None
    document: topology.Json = field(repr=False)
    metadata: topology.Json = field(repr=False)
    groups: Groups = field(repr=False)
    files: list[list[str]] = field(repr=False)
    kind: str = ""
    format: str = field(default="tfjs", init=False)

    @property
    def head(self) -> DenseHead:
        """The model's last dense layer."""
        return self.keras.head

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything before the head."""
        return self.keras.fingerprint

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads in inference mode, float32."""
        return self.keras.features(batch)

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write a folder, a ``.json`` file with its weights beside it, a zip archive, or a file of Keras.

        Every weight but the head's keeps its bytes, quantized ones too; the head is stored as float32. The config of
        Keras 3, which TensorFlow.js cannot read, becomes one of Keras 2, and all weights become float32.

        Raises
        ------
        FormatError
            If the suffix is of another format, or the folder holds something else.
        """
        if path.suffix.lower() in keras.SUFFIXES or keras.is_keras3(topology.read(self.document)):
            self.keras.save(path, head, classes)
            return
        check_replacement(head, self.head, classes, where=path)
        target = Target.at(path)
        config = topology.read(self.document)
        place = self.keras.place
        columns = keras.Columns.of(head, place)
        keras.put(config, place, columns)
        groups = _with_head(self.groups, names_of(place.layer), columns)
        document = topology.with_config(self.document, config)
        target.write(document, groups, self.files, self.metadata, classes)

    def describe(self) -> dict[str, str]:
        """Describe the layers, where the head was found, and what is not kept."""
        limits = ["the optimizer is not kept"]
        if self.image is not None:
            limits.append("pictures are resized as a whole, where Teachable Machine crops them to a square")
        if self.kind.endswith("pose"):
            limits.append("an input is what PoseNet makes of a picture, and PoseNet is not in the file")
        return {**self.keras.describe(), "limits": "; ".join(limits)} | ({"made by": self.kind} if self.kind else {})


def open(path: str | os.PathLike[str]) -> TensorFlowJS:
    """Open a layers model of TensorFlow.js: its folder, its ``model.json``, or a zip archive of them.

    Parameters
    ----------
    path
        The folder, the ``.json`` file or the ``.zip`` file. ``metadata.json`` beside it names the classes.

    Returns
    -------
    TensorFlowJS
        The opened model.

    Raises
    ------
    FormatError
        If it is a graph model, is damaged, names a file outside of its folder or a layer that is not Keras' own, or its
        weights do not fit its layers.
    MissingExtraError
        If Keras is not installed.

    Examples
    --------
    >>> import keras, tempfile
    >>> folder = tempfile.mkdtemp() + "/three.tfjs"
    >>> to_tfjs(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")]), folder, ("a", "b", "c"))
    >>> opened = open(folder)
    >>> opened.classes, opened.input.shape, opened.head.kernel.shape
    (('a', 'b', 'c'), (4,), (4, 3))
    """
    where = Path(path)
    try:
        source = Source.at(where)
        document = topology.parse(source.read(source.name, MOST_JSON))
        config = topology.read(document)
        groups, files = weights.read(document.get("weightsManifest"), source)
        metadata = topology.parse(source.read(METADATA, MOST_JSON)) if source.holds(METADATA) else {}
        labels = topology.labels_of(metadata)
        stored = {weight.name: weight.array() for group in groups for weight in group}
        names = None if labels is None else labels[1]
        loss = topology.loss_of(document)
        model = keras.read_config(config, stored, lambda model: assign(model, stored), names, loss)
        opened = keras.keras_of(model, source.path)
    except FormatError as error:
        if isinstance(error, MissingExtraError) or str(error).startswith(str(where)):
            raise
        raise FormatError(f"{where}: {error}") from error
    kind, inputs = _kind(metadata), opened.input
    image = _image(inputs) if kind.endswith("image") else None
    if kind == "speech-commands" and isinstance(inputs, Input):
        inputs = replace(inputs, is_picture=False)
    return TensorFlowJS(source.path, opened, inputs, opened.classes, image, document, metadata, groups, files, kind)


def to_tfjs(model: Any, path: str | os.PathLike[str], classes: Sequence[str]) -> None:
    """Write a Sequential or functional Keras model as a layers model of TensorFlow.js.

    Parameters
    ----------
    model
        The model.
    path
        A folder, a ``.json`` file whose weights are to lie beside it, or a ``.zip`` file.
    classes
        The classes' names, for ``metadata.json``.

    Raises
    ------
    FormatError
        If TensorFlow.js has not such a layer, or the folder holds something else.
    """
    target = Target.at(Path(path))
    config = keras.keras2_of(model)
    try:
        topology.adapt(config)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    group = [
        Weight.of(name, np.asarray(weight.value))
        for layer in leaves(model)
        for name, weight in zip(names_of(layer), keras.weights_of(layer), strict=True)
    ]
    written = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": config}
    target.write({"format": "layers-model", "modelTopology": written}, [group], [], {}, classes)


def is_target(path: str | os.PathLike[str]) -> bool:
    """Return whether a model is written at this path as one of TensorFlow.js.

    Examples
    --------
    >>> is_target("out/model.json"), is_target("net.tfjs"), is_target("net.h5")
    (True, True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES or (Path(path) / MODEL).is_file()


def _with_head(groups: Groups, names: Sequence[str], columns: keras.Columns) -> Groups:
    """The same weights with another kernel and bias; a bias that the file has not comes after the kernel."""
    stem = names[0].rpartition("/")[0]
    new = {names[0]: columns.kernel} | ({} if columns.bias is None else {f"{stem}/bias": columns.bias})
    made = []
    for group in groups:
        own = []
        for weight in group:
            if weight.name not in (names[0], f"{stem}/bias"):
                own.append(weight)
            elif weight.name == names[0]:
                own += [Weight.of(name, array) for name, array in new.items()]
        made.append(own)
    return made


def _kind(metadata: topology.Json) -> str:
    """What made the model: Teachable Machine's "@teachablemachine/image", "speech-commands", ..., or "" if unknown."""
    if "tfjsSpeechCommandsVersion" in metadata or "wordLabels" in metadata:
        return "speech-commands"
    name = metadata.get("packageName")
    return name[:100] if isinstance(name, str) else ""


def _image(inputs: Input | Mapping[str, Input]) -> Image | None:
    """How Teachable Machine's library makes an input of a picture: ``pixel / 127 - 1``."""
    shape = inputs.picture if isinstance(inputs, Input) else None
    if shape is None or shape[0] is None or shape[1] is None:
        return None
    return Image(shape[0], shape[1], shape[2], scale=1 / 127, mean=(1.0,))
