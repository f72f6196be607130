"""Pick the format of a file by its content, and of an object by its type."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError
from extend.formats import keras, matlab, onnx, pmml, scikit_learn, tfjs, theanets, torch, transformers
from extend.formats.base import Foreign
from extend.formats.content import identify, identify_folder

FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras", "sklearn": "scikit-learn"}
"""The frameworks whose models are read as objects, by the names of their packages."""

SUFFIXES = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "keras"),
    **dict.fromkeys((".json", ".zip"), "tfjs"),
    **dict.fromkeys((".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".safetensors"), "torch"),
    ".onnx": "onnx",
    **dict.fromkeys((".skops", ".joblib"), "scikit_learn"),
    **dict.fromkeys((".pmml", ".xml"), "pmml"),
    ".mat": "matlab",
    **dict.fromkeys((".pkl", ".pkl.gz", ".gz", ".pickle"), "theanets"),
}
"""The formats by suffix, for files whose content does not tell: the reader says what is wrong with them."""


def framework_of(model: Any) -> str | None:
    """Return the name of the framework of which this is a model, by its type; None if it is of none that is known.

    Examples
    --------
    >>> from sklearn.svm import LinearSVC
    >>> framework_of(LinearSVC()), framework_of(len)
    ('scikit-learn', None)
    """
    origins = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    return next((name for package, name in FRAMEWORKS.items() if package in origins), None)


def is_model(path: str | os.PathLike[str]) -> bool:
    """Return whether a file lies at a path, or a folder of Hugging Face transformers or TensorFlow.js.

    Examples
    --------
    >>> is_model("/no/such/folder")
    False
    """
    place = Path(path)
    return place.is_file() or any((place / name).is_file() for name in ("config.json", "model.json", "saved_model.pb"))


def read(
    source: Any,
    *,
    model: Any = None,
    shape: Any = None,
    head: str | None = None,
    key: str | None = None,
    output: str | int | None = None,
    trust: bool = False,
) -> Foreign:
    """Open a model of another framework in its own terms.

    Parameters
    ----------
    source
        A file, a folder of Hugging Face transformers or TensorFlow.js, or a ``torch.nn.Module``, ``keras.Model`` or
        scikit-learn estimator.
    model
        For a file of PyTorch weights: the module, or a function that makes it.
    shape
        For PyTorch: the shape of one input, an `extend.formats.base.Input`, or a dict of them.
    head
        For PyTorch and ONNX: the path or the name of the last layer, if it is not found by itself.
    key, output
        For PyTorch: where in a file the weights lie, and which part of what the module returns are the scores.
    trust
        Whether code that the file names may run.

    Returns
    -------
    Foreign
        The opened model.

    Raises
    ------
    FormatError
        If the format is not known, or the file is damaged, unsafe, or has a part that is not supported; the message
        names it.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> read(LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "c"])).classes
    ('a', 'b', 'c')
    """
    if not isinstance(source, str | os.PathLike):
        return _object(source, shape, head, output)
    path = Path(source)
    if path.is_dir():
        return _folder(path, head, trust)
    match _reader(path):
        case "keras":
            return keras.open(path, trust=trust)
        case "tfjs":
            return tfjs.open(path)
        case "torch":
            if model is None and (path.parent / "config.json").is_file():
                raise FormatError(f"{path}: weights of a Hugging Face model: open the folder, {path.parent}")
            return torch.open(path, model=model, input=shape, head=head, key=key, output=output)
        case "onnx":
            return onnx.open(path, head=head)
        case "scikit_learn":
            return scikit_learn.open(path, trust=trust)
        case "pmml":
            return pmml.open(path)
        case "matlab":
            return matlab.open(path)
        case _:
            return theanets.open(path)


def _object(source: Any, shape: Any, head: str | None, output: str | int | None) -> Foreign:
    """Open a model that is given as an object."""
    match framework_of(source):
        case "PyTorch":
            return torch.open(source, input=shape, head=head, output=output)
        case "Keras":
            return keras.open(source)
        case "scikit-learn":
            return scikit_learn.open(source)
    raise FormatError(
        f"{type(source).__name__} is not a model that can be opened: give a file, a torch.nn.Module, a keras.Model "
        "or a scikit-learn estimator; a Flax model goes to extend.wrap"
    )


def _folder(path: Path, head: str | None, trust: bool) -> Foreign:
    """Open a folder of Hugging Face transformers or of TensorFlow.js, or say what another one is."""
    if (path / "config.json").is_file() and not (path / "model.weights.h5").is_file():
        return transformers.open(path, head=head, trust=trust)
    if (path / "model.json").is_file():
        return tfjs.open(path)
    if (found := identify_folder(path)) is not None:
        raise FormatError(found.refusal(path))
    raise FormatError(f"{path} is a folder without config.json or model.json: a checkpoint goes to extend.load")


def _reader(path: Path) -> str:
    """The package that reads a file: by its content, and by its suffix where the content does not tell."""
    found = identify(path)
    if found is None:
        if path.suffix.lower() in SUFFIXES:
            return SUFFIXES[path.suffix.lower()]
        raise FormatError(
            f"{path}: it is of no known format, neither by its content nor by its suffix ({', '.join(SUFFIXES)}, or a "
            "folder of transformers)"
        )
    if found.reader not in SUFFIXES.values():
        raise FormatError(found.refusal(path))
    return found.reader
