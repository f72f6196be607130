"""Keras models, ``.keras`` and ``.h5``: opened with any backend (JAX if none is chosen), written back wider."""

from __future__ import annotations

import copy
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import DenseHead, Input, check_names, check_replacement, digest, read_bytes, replace_file
from extend.formats.keras import _archive as archive
from extend.formats.keras import _labels as labels
from extend.formats.keras import _legacy as legacy
from extend.formats.keras._library import made, the_keras
from extend.formats.keras._original import Original
from extend.formats.keras._place import Columns, Place, Way, find, head_of, name_of, put
from extend.formats.keras._reading import Read, read_hdf5, read_zip, weights_of

SUFFIXES = (".keras", ".h5", ".hdf5")
REGRESSION = archive.words(
    """Huber LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError huber
    huber_loss log_cosh logcosh mae mape mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error mse msle"""
)
"""Losses of models that predict a number."""


@dataclass(frozen=True)
class Keras:
    """A Keras model, opened.

    `extend.formats.base.Foreign` says what its attributes and methods mean. It holds a copy of its own in `model`: the
    user's model is neither used nor changed.
    """

    path: Path | None
    model: Any
    input: Input | Mapping[str, Input]
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    place: Place = field(repr=False)
    run: Callable[[list[np.ndarray]], np.ndarray] = field(repr=False, compare=False)
    original: Original | None = field(default=None, repr=False, compare=False)
    labels: labels.Labels | None = field(default=None, compare=False)
    format: str = "keras"

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads in inference mode, float32 (float64 in a model of float64).

        Raises
        ------
        FormatError
            If Keras cannot run the model on this batch.
        """
        if isinstance(self.input, Input):
            arrays = [np.asarray(batch, self.input.dtype)]
        else:
            if not isinstance(batch, Mapping) or set(batch) != set(self.input):
                raise FormatError(f"the model has the inputs {', '.join(self.input)}; a batch is a dict of them")
            arrays = [np.asarray(batch[name], one.dtype) for name, one in self.input.items()]
        try:
            return self.run(arrays)
        except Exception as error:  # Whatever a backend raises for a model that does not run.
            raise FormatError(
                f"{self.path or 'the model'}: it does not run: {type(error).__name__}: {error}"
            ) from error

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write an uncompiled ``.keras`` file, an ``.h5`` that readers of Keras 2 open too, or a TensorFlow.js model.

        Every weight but the head's is bit-identical. Class names are kept in the file: the member ``classes.json``, the
        attribute ``class_names``; and in ``labels.txt`` beside it where the model that was opened had one. A file of
        Keras 2 stays one, with its own configuration.

        Raises
        ------
        FormatError
            If the suffix is another one, the layers after the head cannot take the new one, or Keras 2 has not a layer
            that an .h5 would need.
        """
        from extend.formats import tfjs  # It opens Keras models too.

        path = Path(path)
        if path.suffix.lower() not in SUFFIXES and not tfjs.is_target(path):
            raise FormatError(f"{path}: a Keras file ends in one of {', '.join(SUFFIXES)}")
        check_replacement(head, self.head, classes, where=path)
        if tfjs.is_target(path):
            tfjs.to_tfjs(_with_columns(self.model, self.place, Columns.of(head, self.place)), path, classes)
            return
        if self.labels is not None:
            own = self.path is not None and path.absolute() == self.path.absolute()
            labels.check_target(path, classes, own=own)
        replace_file(path, self._written(".keras" if path.suffix.lower() == ".keras" else ".h5", head, classes))
        if self.labels is not None:
            replace_file(path.with_name(labels.NAME), self.labels.text(classes))

    def _written(self, suffix: str, head: DenseHead, classes: tuple[str, ...]) -> bytes:
        """The bytes of a file with this head; a file of Keras 2 keeps its own configuration."""
        columns = Columns.of(head, self.place)
        if self.original is not None and self.original.suffix == suffix:
            return self.original.written(self.place, columns, classes)
        model = _with_columns(self.model, self.place, columns)
        if suffix == ".keras":
            return _zip_of(model, classes)
        return legacy.file_of(legacy.for_both(keras2_of(model)), _weights(model), classes)

    def describe(self) -> dict[str, str]:
        """Describe the layers and where the head was found."""
        place, layers = self.place, self.model.layers
        kinds = [type(layer).__name__ for layer in layers if layer is not place.layer and layer is not place.after]
        text = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        after = "" if place.after is None else f", then {place.after.name!r}"
        number = [layer.name for layer in layers].index(place.way[0]) + 1
        inside = "".join(f", inside {name!r}" for name in reversed(place.way[:-1]))
        return {
            "backbone": f"{type(self.model).__name__} {self.model.name!r}: {text}",
            "head": f"Dense {place.layer.name!r}{inside}, layer {number} of {len(layers)}{after}",
            "limits": "written uncompiled: optimizer, loss and metrics are not kept",
        }


def open(path: str | os.PathLike[str] | Any, *, trust: bool = False) -> Keras:
    """Open a ``.keras`` or legacy ``.h5`` file, or a `keras.Model`, whose last layer is dense.

    Nothing of a file is executed: a config may name only Keras' own layers. ``KERAS_BACKEND`` is set to "jax" if Keras
    is not imported yet and no backend is chosen.

    Parameters
    ----------
    path
        A file, or a Sequential or functional model.
    trust
        Whether Lambda layers and registered custom classes are loaded too, which runs what is in the file.

    Returns
    -------
    Keras
        The opened model.

    Raises
    ------
    FormatError
        If the file is damaged or names a class that is not Keras' own, or the model has several outputs or no dense
        layer at its end.
    MissingExtraError
        If Keras is not installed.

    Examples
    --------
    >>> import os; _ = os.environ.setdefault("KERAS_BACKEND", "jax")
    >>> import keras
    >>> open(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])).head.num_classes
    3
    """
    if not isinstance(path, str | os.PathLike):
        loss = getattr(path, "loss", None)
        return keras_of(Read(_copied(path), None, loss if isinstance(loss, str) else type(loss).__name__), None)
    file = Path(path)
    try:
        content = read_bytes(file, archive.MOST_WEIGHTS)
        opened = keras_of(_reader(content)(content, trust), file)
        found = labels.beside(file, opened.head.num_classes)
        return opened if found is None else replace(opened, classes=opened.classes or found.names, labels=found)
    except FormatError as error:
        if isinstance(error, MissingExtraError) or str(error).startswith(str(file)):
            raise
        raise FormatError(f"{file}: {error}") from error


def keras2_of(model: Any) -> dict[str, Any]:
    """Return the config of Keras 2 for a Sequential or functional model.

    Raises
    ------
    FormatError
        If Keras 2 has not one of its layers; the message names it.
    """
    return legacy.config_of(type(model).__name__, model.get_config())


def _reader(content: bytes) -> Callable[[bytes, bool], Read]:
    """What reads a file, by how it begins: suffixes are often wrong."""
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return read_hdf5
    if content.startswith(b"PK"):
        return read_zip
    if content.startswith(b"version https://git-lfs"):
        raise FormatError("it is a pointer of git-LFS in place of the file: fetch the file with git lfs pull")
    raise FormatError(
        f"it begins with {content[:8]!r}, and is neither HDF5 (.h5) nor a zip archive (.keras): it is no Keras model"
    )


def _copied(model: Any) -> Any:
    """A copy of a user's model, with the values that its weights have now."""
    keras = the_keras()
    if not _plain_model(model):
        raise FormatError(f"{type(model).__name__} is neither Sequential nor functional: its layers are not known")
    if not model.built or not model.inputs:
        raise FormatError("the model has no input shape: call it, or build it, first")
    cls = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    copy_of = made(lambda: cls.from_config(model.get_config()))
    _assign(model, copy_of, ())
    return copy_of


def _plain_model(model: Any) -> bool:
    return type(model).__name__ in ("Sequential", "Functional") and type(model).__module__.startswith("keras.")


def _assign(source: Any, target: Any, skip: Way) -> None:
    """Copy every variable but those of one layer, and see that not a bit was changed."""
    keras = the_keras()
    for old, new in zip(source.layers, target.layers, strict=True):
        if skip and old.name == skip[0]:
            if len(skip) > 1:
                _assign(old, new, skip[1:])
            continue
        for a, b in zip(old.variables, new.variables, strict=True):
            b.assign(a)
            if keras.ops.convert_to_numpy(a).tobytes() != keras.ops.convert_to_numpy(b).tobytes():
                raise FormatError(f"layer {old.name!r}: weight {a.path} could not be copied exactly")


def keras_of(read: Read, path: Path | None) -> Keras:
    """Return what was read of a file as an opened model; a FormatError says why it is no classifier."""
    model, classes = read.model, read.classes
    if not _plain_model(model):
        raise FormatError(f"{type(model).__name__} is neither Sequential nor functional: its layers are not known")
    place = find(model)
    if place.binary and place.layer.activation.__name__ == "linear" and place.after is None and read.loss in REGRESSION:
        raise FormatError(
            f"the model was trained with {read.loss} on the one linear unit {place.layer.name!r}: it predicts a "
            "number, and is no classifier"
        )
    head = head_of(place)
    if classes is not None:
        check_names(classes, head.num_classes)
    first = any(getattr(layer, "data_format", None) == "channels_first" for layer in model.layers)
    inputs = {
        tensor.name: Input(tuple(tensor.shape[1:]), np.dtype(tensor.dtype), first and len(tensor.shape) == 4)
        for tensor in model.inputs
    }
    one = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return Keras(path, model, one, head, classes, _fingerprint(model, place), place, _runner(place), read.original)


def _runner(place: Place) -> Callable[[list[np.ndarray]], np.ndarray]:
    """A function of input arrays; on JAX compiled, once a shape of batch."""
    keras = the_keras()
    bodies = [keras.Model(inputs, outputs) for inputs, outputs in place.stages]

    def widened(array: Any) -> np.ndarray:
        result = np.asarray(array)
        return result if result.dtype in (np.float32, np.float64) else result.astype(np.float32)

    def plain(arrays: list[np.ndarray]) -> np.ndarray:
        for body in bodies:
            arrays = keras.tree.flatten(body(arrays, training=False))
        return widened(keras.ops.convert_to_numpy(keras.ops.cast(arrays[0], "float32")))

    if keras.backend.backend() != "jax":
        return plain
    import jax

    trained = [[v.value for v in body.trainable_variables] for body in bodies]
    others = [[v.value for v in body.non_trainable_variables] for body in bodies]

    @jax.jit
    def call(trained: Any, others: Any, arrays: list[Any]) -> Any:
        for body, some, rest in zip(bodies, trained, others, strict=True):
            arrays = keras.tree.flatten(body.stateless_call(some, rest, arrays, training=False)[0])
        return arrays[0]

    return lambda arrays: widened(call(trained, others, arrays))


def _fingerprint(model: Any, place: Place) -> str:
    """SHA-256 over the layers before the head, how they are joined, and their weights."""
    to_numpy = the_keras().ops.convert_to_numpy
    parts: list[tuple[str, Any]] = []

    def look(part: Any, config: Any, ways: list[Way]) -> None:
        inside = [way[0] for way in ways if len(way) > 1]
        ends = [way[0] for way in ways if len(way) == 1]
        operations = [name_of(entry) for entry in config["layers"] if entry.get("module") in archive.OPERATIONS]
        numbers = {str(name): f"operation {number}" for number, name in enumerate(operations)}
        for entry in config["layers"]:
            kept = {k: v for k, v in entry.items() if k != "config"} if name_of(entry) in inside else entry
            if name_of(entry) not in ends:
                parts.append(("layer", json.dumps(_stable(kept, numbers), sort_keys=True, default=str)))
        for layer, entry in ((layer, entry) for layer in part.layers for entry in config["layers"]
                             if name_of(entry) == layer.name):  # fmt: skip
            if layer.name in inside:
                look(layer, entry["config"], [way[1:] for way in ways if way[0] == layer.name and len(way) > 1])
            elif layer.name not in ends:
                parts.extend((layer.name, np.asarray(to_numpy(weight))) for weight in weights_of(layer))

    look(model, model.get_config(), [way for way in (place.way, place.way_after) if way])
    return digest(parts)


def _stable(value: Any, numbers: Mapping[str, str]) -> Any:
    """A config without what serves training alone, or differs between two loadings, as names of operations do."""
    if isinstance(value, str):
        return numbers.get(value, value)
    if isinstance(value, list | tuple):
        return [_stable(part, numbers) for part in value]
    if isinstance(value, dict):
        drop = legacy.NEW_KEYS | {"trainable", "seed"}
        training = ("_initializer", "_regularizer", "_constraint")
        return {
            k: _stable(part, numbers) for k, part in value.items() if k not in drop and not str(k).endswith(training)
        }
    return value


def _with_columns(model: Any, place: Place, columns: Columns) -> Any:
    """The same model with another head; it shares nothing with the old one."""
    keras = the_keras()
    config = copy.deepcopy(model.get_config())
    put({"config": config}, place, columns)
    cls = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    wider = made(lambda: cls.from_config(config))
    _assign(model, wider, place.way)
    layer = wider
    for name in place.way:
        layer = layer.get_layer(name)
    layer.kernel.assign(columns.kernel)
    if columns.bias is not None:
        layer.bias.assign(columns.bias)
    return wider


def _zip_of(model: Any, classes: tuple[str, ...]) -> bytes:
    if legacy.KERAS2_HARD_SIGMOID in json.dumps(model.get_config(), default=str):
        raise FormatError("hard_sigmoid of Keras 2 is another function than that of Keras 3: save as .h5")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        content = io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(content, "a") as target:
        target.writestr("classes.json", json.dumps(list(classes)))
    return content.getvalue()


def _weights(model: Any) -> legacy.Weights:
    to_numpy = the_keras().ops.convert_to_numpy

    def name(layer: Any, weight: Any) -> str:
        _, found, rest = weight.path.partition(f"{layer.name}/")
        return str(rest if found else weight.name)

    result = []
    for layer in model.layers:
        weights = weights_of(layer)
        names = legacy.weight_names(layer.name, [name(layer, weight) for weight in weights])
        result.append((layer.name, [(one, np.asarray(to_numpy(w))) for one, w in zip(names, weights, strict=True)]))
    return result
