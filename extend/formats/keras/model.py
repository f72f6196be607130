"""Keras models, ``.keras`` and ``.h5``: opened with any backend (JAX if none is chosen), written back wider."""

from __future__ import annotations

import copy
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import DenseHead, Input, check_names, check_replacement, digest, read_bytes, replace_file
from extend.formats.keras import _archive as archive
from extend.formats.keras import _legacy as legacy
from extend.formats.keras._place import Place, activation_of, find, head_of
from extend.formats.keras._reading import guarded, read_hdf5, read_zip, the_keras, weights_of

SUFFIXES = (".keras", ".h5", ".hdf5")


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
        """Write an uncompiled ``.keras`` file, or an ``.h5`` that readers of Keras 2 open too.

        Every weight but the head's is bit-identical. Class names are kept in the file: the member ``classes.json``, the
        attribute ``class_names``.

        Raises
        ------
        FormatError
            If the suffix is another one, the layers after the head cannot take the new one, or Keras 2 has not a layer
            that an .h5 would need.
        """
        if not str(path).endswith(SUFFIXES):
            raise FormatError(f"{path}: a Keras file ends in one of {', '.join(SUFFIXES)}")
        check_replacement(head, self.head, classes, where=path)
        model = _with_head(self.model, self.place, head)
        if str(path).endswith(".keras"):
            replace_file(path, _zip_of(model, classes))
        else:
            config = legacy.config_of(type(model).__name__, model.get_config())
            replace_file(path, legacy.file_of(config, _weights(model), classes))

    def describe(self) -> dict[str, str]:
        """Describe the layers and where the head was found."""
        names = [layer.name for layer in self.model.layers]
        before = [
            layer for layer in self.model.layers if layer is not self.place.layer and layer is not self.place.after
        ]
        kinds = [type(layer).__name__ for layer in before]
        text = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        after = "" if self.place.after is None else f", then {self.place.after.name!r}"
        number = names.index(self.place.layer.name) + 1
        return {
            "backbone": f"{type(self.model).__name__} {self.model.name!r}: {text}",
            "head": f"Dense {self.place.layer.name!r}, layer {number} of {len(names)}{after}",
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
    keras = the_keras()
    if isinstance(path, keras.Model):
        return _opened(_copied(path), None, None)
    file = Path(path)
    try:
        if file.suffix not in SUFFIXES:
            raise FormatError(f"a Keras file ends in one of {', '.join(SUFFIXES)}")
        content = read_bytes(file, archive.MOST_WEIGHTS)
        read = read_zip if file.suffix == ".keras" else read_hdf5
        model, classes = read(content, trust)
        return _opened(model, file, classes)
    except FormatError as error:
        if isinstance(error, MissingExtraError) or str(error).startswith(str(file)):
            raise
        raise FormatError(f"{file}: {error}") from error


def _copied(model: Any) -> Any:
    """A copy of a user's model, with the values that its weights have now."""
    keras = the_keras()
    if not _plain_model(model):
        raise FormatError(f"{type(model).__name__} is neither Sequential nor functional: its layers are not known")
    if not model.built or not model.inputs:
        raise FormatError("the model has no input shape: call it, or build it, first")
    cls = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    made = guarded(lambda: cls.from_config(model.get_config()))
    _assign(model, made, None)
    return made


def _plain_model(model: Any) -> bool:
    return type(model).__name__ in ("Sequential", "Functional") and type(model).__module__.startswith("keras.")


def _assign(source: Any, target: Any, skip: str | None) -> None:
    """Copy every variable, layer by layer, and see that not a bit was changed."""
    keras = the_keras()
    for old, new in zip(source.layers, target.layers, strict=True):
        if old.name == skip:
            continue
        for a, b in zip(old.variables, new.variables, strict=True):
            b.assign(a)
            if keras.ops.convert_to_numpy(a).tobytes() != keras.ops.convert_to_numpy(b).tobytes():
                raise FormatError(f"layer {old.name!r}: weight {a.path} could not be copied exactly")


def _opened(model: Any, path: Path | None, classes: tuple[str, ...] | None) -> Keras:
    if not _plain_model(model):
        raise FormatError(f"{type(model).__name__} is neither Sequential nor functional: its layers are not known")
    place = find(model)
    head = head_of(place)
    if classes is not None:
        check_names(classes, head.num_classes)
    first = any(getattr(layer, "data_format", None) == "channels_first" for layer in model.layers)
    inputs = {
        tensor.name: Input(tuple(tensor.shape[1:]), np.dtype(tensor.dtype), first and len(tensor.shape) == 4)
        for tensor in model.inputs
    }
    one = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return Keras(path, model, one, head, classes, _fingerprint(model, place), place, _runner(model, place))


def _runner(model: Any, place: Place) -> Callable[[list[np.ndarray]], np.ndarray]:
    """A function of input arrays; on JAX compiled, once a shape of batch."""
    keras = the_keras()
    body = keras.Model(model.inputs, place.before)

    def widened(array: Any) -> np.ndarray:
        result = np.asarray(array)
        return result if result.dtype in (np.float32, np.float64) else result.astype(np.float32)

    def plain(arrays: list[np.ndarray]) -> np.ndarray:
        return widened(keras.ops.convert_to_numpy(keras.ops.cast(body(arrays, training=False), "float32")))

    if keras.backend.backend() != "jax":
        return plain
    import jax

    trained = [v.value for v in body.trainable_variables]
    others = [v.value for v in body.non_trainable_variables]

    @jax.jit
    def call(trained: Any, others: Any, arrays: list[Any]) -> Any:
        return body.stateless_call(trained, others, arrays, training=False)[0]

    return lambda arrays: widened(call(trained, others, arrays))


def _fingerprint(model: Any, place: Place) -> str:
    """SHA-256 over the layers before the head, how they are joined, and their weights."""
    to_numpy = the_keras().ops.convert_to_numpy
    skip = {place.layer.name, getattr(place.after, "name", None)}
    parts: list[tuple[str, Any]] = []
    for entry in model.get_config()["layers"]:
        if entry["config"].get("name") not in skip:
            parts.append(("layer", json.dumps(_stable(entry), sort_keys=True, default=str)))
    for layer in model.layers:
        if layer.name not in skip:
            parts += [(layer.name, np.asarray(to_numpy(weight))) for weight in weights_of(layer)]
    return digest(parts)


def _stable(value: Any) -> Any:
    """A config without what serves training alone, or differs between two loadings of one model."""
    if isinstance(value, list | tuple):
        return [_stable(part) for part in value]
    if isinstance(value, dict):
        drop = legacy.NEW_KEYS | {"trainable", "seed"}
        training = ("_initializer", "_regularizer", "_constraint")
        return {k: _stable(part) for k, part in value.items() if k not in drop and not str(k).endswith(training)}
    return value


def _with_head(model: Any, place: Place, head: DenseHead) -> Any:
    """The same model with another head; it shares nothing with the old one."""
    keras = the_keras()
    unit = head.single_unit() if place.binary else None
    kernel, bias = unit or (head.kernel, head.bias)
    wanted = "sigmoid" if unit else head.activation
    config = copy.deepcopy(model.get_config())
    for entry in config["layers"]:
        name = entry["config"].get("name")
        if name == place.layer.name:
            entry.pop("build_config", None)
            entry["config"]["units"] = len(bias)
            entry["config"]["use_bias"] = place.layer.use_bias or bool(bias.any())
            if place.layer.activation.__name__ != "linear":
                entry["config"]["activation"] = wanted
        elif place.after is not None and name == place.after.name:
            entry.pop("build_config", None)
            if activation_of(place.after) not in (wanted, "linear"):
                if entry["class_name"] != "Activation":
                    raise FormatError(f"layer {name!r} ({entry['class_name']}) cannot become a {wanted}")
                entry["config"]["activation"] = wanted
    cls = keras.Sequential if isinstance(model, keras.Sequential) else keras.Model
    made = guarded(lambda: cls.from_config(config))
    _assign(model, made, place.layer.name)
    layer = made.get_layer(place.layer.name)
    layer.kernel.assign(kernel)
    if layer.use_bias:
        layer.bias.assign(bias)
    return made


def _zip_of(model: Any, classes: tuple[str, ...]) -> bytes:
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

    return [
        (layer.name, [(name(layer, weight), np.asarray(to_numpy(weight))) for weight in weights_of(layer)])
        for layer in model.layers
    ]
