"""What a Keras file may hold: its zip, its HDF5 and its JSON are looked through before Keras sees any of it.

Keras' own ``safe_mode`` was got round more than once: CVE-2024-3660 (Lambda), CVE-2025-1550 and CVE-2025-8747
(``module`` and ``class_name`` of any function), CVE-2025-9906 (a config that turns safe mode off), CVE-2025-9905 (not
applied to .h5). So a config may name only the classes of an allow-list, whatever the version of Keras.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.keras._library import the_keras
from extend.formats.keras._probe import probe

if TYPE_CHECKING:
    import h5py

MOST_WEIGHTS = 4 << 30
MOST_CONFIG = 64 << 20
MOST_OBJECTS = 100_000
MOST_LAYERS = 5_000
ZIP_MEMBERS = {"config.json": MOST_CONFIG, "metadata.json": 1 << 20, "classes.json": 1 << 24}
WEIGHTS = "model.weights.h5"


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


KERAS2_LAYERS = words(
    """Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CenterCrop Concatenate Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D
    Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten
    GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity
    InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum
    Minimum MultiHeadAttention Multiply Normalization PReLU Permute RNN RandomBrightness RandomContrast
    RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D"""
)
LAYERS = KERAS2_LAYERS | words(
    """AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AdaptiveMaxPooling3D AugMix AutoContrast Equalization GroupQueryAttention MixUp
    RMSNormalization RandAugment RandomColorDegeneration RandomColorJitter RandomErasing RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
    RandomSharpness RandomShear Solarization"""
)
MODELS = frozenset({"Sequential", "Functional", "Model"})
PARTS = {
    "initializers": words(
        """Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros"""
    ),
    "regularizers": frozenset({"L1", "L1L2", "L2", "OrthogonalRegularizer"}),
    "constraints": frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"}),
}
ACTIVATIONS = words(
    """celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparsemax squareplus swish tanh tanh_shrink threshold"""
)
INNER = {"layer", "backward_layer", "cell", "cells"}
DATA = frozenset({"__keras_tensor__", "__numpy__", "__tensor__", "__bytes__", "__ellipsis__", "__slice__"})
OPERATIONS = ("keras.src.ops.numpy", "keras.src.ops.nn")


HOMES: dict[str, frozenset[str]] = {
    "keras": MODELS | {"DTypePolicy"},
    "keras.models": MODELS,
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.src.ops.core": frozenset({"Cast"}),
    "keras.layers": LAYERS,
    **{f"keras.{name}": classes for name, classes in PARTS.items()},
}
"""Modules, and the classes that a config may take from them."""
WITHOUT_MODULE = LAYERS | MODELS | frozenset().union(*PARTS.values()) | {"DTypePolicy"}


def _json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is no JSON: {error}") from error


def read_zip(content: bytes) -> tuple[dict[str, Any], bytes, tuple[str, ...] | None, int]:
    """Return the config, the weights' HDF5 file, the class names and Keras' main version of a ``.keras`` file.

    Raises
    ------
    FormatError
        If the file is damaged or too large, or has a member that a plain model has not (``assets/``, vocabularies).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > 16:
                raise FormatError(f"{len(members)} members; expected config.json, metadata.json and {WEIGHTS}")
            parts = {member.filename: _member(archive, member) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the zip archive is damaged: {error}") from error
    for name in ("config.json", WEIGHTS):
        if name not in parts:
            raise FormatError(f"{name} is missing in the archive")
    config = _json(parts["config.json"], "config.json")
    if not isinstance(config, dict):
        raise FormatError("config.json is no object")
    names = parts.get("classes.json")
    told = _json(parts.get("metadata.json", b"{}"), "metadata.json")
    version = str(told.get("keras_version", "3")) if isinstance(told, dict) else "3"
    return config, parts[WEIGHTS], None if names is None else class_names(names), 2 if version.startswith("2.") else 3


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    limit = MOST_WEIGHTS if member.filename == WEIGHTS else ZIP_MEMBERS.get(member.filename)
    if limit is None:
        raise FormatError(
            f"the archive holds {member.filename[:100]!r}; only config.json, metadata.json and {WEIGHTS} are read"
        )
    if not 0 < member.file_size <= min(limit, 50 * member.compress_size + (1 << 20)):
        raise FormatError(f"{member.filename} declares {member.file_size} bytes out of {member.compress_size}")
    with archive.open(member) as stream:
        data = stream.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise FormatError(f"{member.filename} is not of its declared size")
    return data


def class_names(text: str | bytes) -> tuple[str, ...]:
    """Return the names in a JSON list of text.

    Raises
    ------
    FormatError
        If the text is something else.
    """
    names = _json(text, "the list of class names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError("the list of class names is no list of text")
    return tuple(names)


def check_config(config: Any) -> dict[str, Any]:
    """Check that every class that a config names is on the allow-list; return the config without what compiling needs.

    Raises
    ------
    FormatError
        If a layer is a Lambda, a custom class, or names a class or function from elsewhere; the message names it.

    Examples
    --------
    >>> check_config({"class_name": "Lambda", "config": {"name": "mine"}})
    Traceback (most recent call last):
    ...
    extend.core.errors.FormatError: layer 'mine': Lambda is not among the layers ... trust=True
    """
    layers = 0

    def walk(value: Any, layer: str) -> Any:
        nonlocal layers
        if isinstance(value, list):
            return [walk(part, layer) for part in value]
        if not isinstance(value, dict):
            return value
        if "class_name" in value or "registered_name" in value:
            inner = value.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            if isinstance(name, str) and value.get("class_name") != "DTypePolicy":
                layer, layers = name, layers + 1
                if layers > MOST_LAYERS:
                    raise FormatError(f"more than {MOST_LAYERS} layers")
            _check_class(value, layer)
        if "__lambda__" in value:
            raise FormatError(_refused(layer, "a Python lambda"))
        result = {key: walk(part, layer) for key, part in value.items() if key != "compile_config"}
        for key in INNER & result.keys():  # Keras 3 does not find a wrapper's layers in a file of Keras 2 without this.
            for inner in result[key] if isinstance(result[key], list) else [result[key]]:
                if isinstance(inner, dict) and inner.get("class_name") in LAYERS:
                    inner.setdefault("module", "keras.layers")
        return result

    try:
        checked = walk(config, "model")
    except RecursionError as error:
        raise FormatError("the config is nested too deeply") from error
    if not isinstance(checked, dict) or checked.get("class_name") not in MODELS:
        kind = checked.get("class_name") if isinstance(checked, dict) else None
        raise FormatError(f"the model is of the class {kind!r}; expected Sequential or Functional")
    if not isinstance(checked.get("config"), dict | list):
        raise FormatError("the model has no config")
    return checked


def is_keras3(config: Any) -> bool:
    """Return whether a config is one of Keras 3, which alone calls the shape of an input so."""
    if isinstance(config, list):
        return any(map(is_keras3, config))
    return isinstance(config, dict) and ("batch_shape" in config or any(map(is_keras3, config.values())))


def with_modules(value: Any) -> Any:
    """Return a config of Keras 3 with the modules of Keras' own classes, which TensorFlow.js' converter drops."""
    if isinstance(value, list):
        return [with_modules(part) for part in value]
    if not isinstance(value, dict):
        return value
    result = {key: with_modules(part) for key, part in value.items()}
    kind = value.get("class_name")
    if "config" in value and isinstance(kind, str) and value.get("module") is None and kind not in DATA:
        own = {"Functional": "keras.src.models.functional", "Model": "keras.src.models.functional"}
        module = own.get(kind) or next((home for home, classes in HOMES.items() if kind in classes), None)
        result |= {"module": module, "registered_name": None if module != own["Model"] else "Functional"}
        result["class_name"] = "Functional" if kind == "Model" else kind
    return result


def _refused(layer: str, what: str) -> str:
    return (
        f"layer {layer[:100]!r}: {what[:200]} is not among the layers of Keras that are opened; if you trust the "
        f"file, and its own classes are registered, pass trust=True"
    )


def _check_class(value: dict[str, Any], layer: str) -> None:
    kind, module, registered = value.get("class_name"), value.get("module"), value.get("registered_name")
    if not isinstance(kind, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        raise FormatError(_refused(layer, "a class without a name"))
    if kind in DATA:
        return
    if kind == "function":
        if module == "builtins" and value.get("config") in tuple(ACTIVATIONS):
            return
        raise FormatError(_refused(layer, f"function {str(value.get('config'))[:80]}"))
    full = f"{module}.{kind}" if module else kind
    if registered not in (None, kind):
        raise FormatError(_refused(layer, f"the custom class {registered}"))
    if module is None:
        if kind not in WITHOUT_MODULE:
            raise FormatError(_refused(layer, full))
    elif module in OPERATIONS:
        if not kind.isidentifier() or kind.startswith("_"):
            raise FormatError(_refused(layer, full))
    elif kind not in HOMES.get(module, ()):
        raise FormatError(_refused(layer, full))


def open_hdf5(content: bytes) -> tuple[h5py.File, int]:
    """Open an HDF5 file out of bytes and look through its objects; return it with the size of its arrays in bytes.

    Raises
    ------
    FormatError
        If the file is damaged, has links to elsewhere or data stored elsewhere, or declares more than it can hold.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("Keras", "keras", error) from error
    with ThreadPoolExecutor(1) as thread:
        probed = thread.submit(probe, content)
        the_keras()
        probed.result()
    try:
        file = h5py.File(io.BytesIO(content), "r")
        stored = 0
        for item in _objects(file):
            stored += _stored(item, len(content))
            if stored > 50 * len(content):
                raise FormatError(f"the arrays declare {stored} bytes, the file has {len(content)}")
    except FormatError:
        raise
    except Exception as error:  # libhdf5 reports damage as OSError, KeyError, RuntimeError, ValueError, ...
        raise FormatError(f"the HDF5 file is damaged: {type(error).__name__}: {error}"[:500]) from error
    return file, stored


def _objects(file: h5py.File) -> Iterator[h5py.Group | h5py.Dataset]:
    import h5py

    seen: set[int] = set()
    groups = [(file["/"], 0)]
    while groups:
        group, depth = groups.pop()
        yield group
        if depth > 64:
            raise FormatError("the groups are nested too deeply")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FormatError(f"{group.name}/{name} is a link to elsewhere")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise FormatError(f"{item.name} is reached twice")
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise FormatError(f"more than {MOST_OBJECTS} objects")
            if isinstance(item, h5py.Group):
                groups.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                yield item
            else:
                raise FormatError(f"{item.name} is neither a group nor an array")


def _stored(item: h5py.Group | h5py.Dataset, size: int) -> int:
    """Bytes of an array; its attributes and where it lies are checked too."""
    import h5py

    for name in item.attrs:
        attribute = item.attrs.get_id(name)
        kind = attribute.get_type()
        if math.prod(attribute.shape) * kind.get_size() > size or kind.get_class() not in (
            h5py.h5t.STRING,
            h5py.h5t.FLOAT,
            h5py.h5t.INTEGER,
            h5py.h5t.ENUM,
        ):
            raise FormatError(f"attribute {name!r} of {item.name} is of an unusual kind or size")
    if isinstance(item, h5py.Group):
        return 0
    if item.is_virtual or item.external:
        raise FormatError(f"{item.name} is stored elsewhere")
    if item.dtype.kind not in "fiub":
        raise FormatError(f"{item.name} has the dtype {item.dtype}; expected numbers")
    needed = math.prod(item.shape) * item.dtype.itemsize
    if item.chunks is None and needed > size:
        raise FormatError(f"{item.name} declares {needed} bytes, the file has {size}")
    return needed


def attribute(group: h5py.Group, name: str) -> str | None:
    """Return a text attribute, or None if there is none.

    Raises
    ------
    FormatError
        If the attribute is no text.
    """
    if name not in group.attrs:
        return None
    try:
        value = group.attrs[name]
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)
    except Exception as error:  # as in `open_hdf5`
        raise FormatError(f"attribute {name!r} is damaged: {type(error).__name__}: {error}"[:500]) from error


def attributes(group: h5py.Group, name: str) -> list[str]:
    """Return a list of texts, which Keras cuts into ``name0``, ``name1``, ... where it is long.

    Raises
    ------
    FormatError
        If the list is missing, or no list of text.
    """
    try:
        if name in group.attrs:
            values = list(group.attrs[name])
        else:
            values, part = [], 0
            while f"{name}{part}" in group.attrs:
                values += list(group.attrs[f"{name}{part}"])
                part += 1
            if part == 0:
                raise FormatError(f"attribute {name!r} of {group.name} is missing")
        return [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    except FormatError:
        raise
    except Exception as error:  # as in `open_hdf5`
        raise FormatError(f"attribute {name!r} is damaged: {type(error).__name__}: {error}"[:500]) from error
