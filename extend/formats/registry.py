"""Pick the format by a file's suffix, or by an object's type."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError
from extend.formats import keras, matlab, onnx, pmml, scikit_learn, tfjs, theanets, torch, transformers
from extend.formats.base import Foreign

FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras", "sklearn": "scikit-learn"}
"""The frameworks whose models are read as objects, by the names of their packages."""


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


def read(source: Any, *, model: Any = None, shape: Any = None, head: str | None = None, trust: bool = False) -> Foreign:
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
        match framework_of(source):
            case "PyTorch":
                return torch.open(source, input=shape, head=head)
            case "Keras":
                return keras.open(source)
            case "scikit-learn":
                return scikit_learn.open(source)
        raise FormatError(
            f"{type(source).__name__} is not a model that can be opened: give a file, a torch.nn.Module, a keras.Model "
            "or a scikit-learn estimator; a Flax model goes to extend.wrap"
        )
    path = Path(source)
    if path.is_dir():
        if (path / "config.json").is_file():
            return transformers.open(path, head=head, trust=trust)
        if (path / "model.json").is_file():
            return tfjs.open(path)
        if (path / "saved_model.pb").is_file():
            raise FormatError(
                f"{path} is a SavedModel folder, which only TensorFlow reads: in TensorFlow 2.15 or older run "
                f"tf.keras.models.load_model({str(path)!r}).save('model.h5'), and open that"
            )
        raise FormatError(f"{path} is a folder without config.json or model.json: Flax checkpoints go to extend.load")
    match path.suffix.lower():
        case ".keras" | ".h5" | ".hdf5":
            return keras.open(path, trust=trust)
        case ".json" | ".zip":
            return tfjs.open(path)
        case ".pt" | ".pth" | ".th" | ".bin" | ".safetensors":
            return torch.open(path, model=model, input=shape, head=head)
        case ".onnx":
            return onnx.open(path, head=head)
        case ".skops" | ".joblib":
            return scikit_learn.open(path, trust=trust)
        case ".pmml" | ".xml":
            return pmml.open(path)
        case ".mat":
            return matlab.open(path)
        case ".gz" | ".pkl" | ".pickle":
            return theanets.open(path)
    raise FormatError(
        f"{path}: its suffix is of no known format (.keras, .h5, .pt, .pth, .safetensors, .onnx, .skops, .pmml, .mat, "
        ".pkl.gz, model.json, or a folder of transformers or TensorFlow.js)"
    )
