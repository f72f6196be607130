"""What a stored model holds, without using it: a checkpoint of this package, or a model of another framework."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from extend.backbone import column_names, inputs_in_words
from extend.core import checkpoint
from extend.core.errors import ArgumentError
from extend.data import InputSpec, input_spec, spec_from_dict
from extend.formats import is_model, read
from extend.operations.foreign import module_input
from extend.operations.load_any import check_folder, folder_beside

CHECKPOINT = "extend checkpoint"
"""The "format" of this package's own checkpoints."""


def inspect(
    source: Any,
    *,
    model: Any = None,
    inputs: InputSpec | None = None,
    head: str | None = None,
    key: str | None = None,
    output: str | int | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Describe what a checkpoint or a model of another framework holds, in JSON's types.

    Every file of a checkpoint is compared with its SHA-256, so a description that comes back is of a whole checkpoint.

    Parameters
    ----------
    source
        A checkpoint folder of this package; a file of another framework, or a folder of Hugging Face transformers; or
        a ``torch.nn.Module``, ``keras.Model`` or scikit-learn estimator. The other parameters are for the models of
        other frameworks only.
    model
        For a file of PyTorch weights: the module, or a function that makes it.
    inputs
        For PyTorch: what one input is; the module is run on such an input to find its head. A file that `extend.save`
        wrote needs none.
    head
        PyTorch, transformers and ONNX: path or name of the last layer, if it is not found by itself.
    key, output
        For PyTorch: where in the file the weights lie, and which output are the scores; see `extend.load`.
    trust
        Allow what executes code that the file names.

    Returns
    -------
    dict
        For a checkpoint: "format" (``"extend checkpoint"``), "classes", "network" (its class, configuration and where
        its own head is), "input", "features" (taps, transform and width), "head", "memory" (its settings; None without
        one), "history" (one entry for each action), "versions" (of the libraries that wrote it), "fingerprint" and
        "batch_size".

        For a model of another framework: "format", "classes", "named" (whether the class names are the file's own),
        "input" and "features" (how many the head reads), "activation", what the format adds ("backbone", "head",
        "limits"), "memory" (where it is) and "works" (the methods that can add classes).

    Raises
    ------
    CheckpointError
        The checkpoint is damaged or from a newer version, or the folder holds no checkpoint.
    FormatError
        The format is not known, or the file is damaged, unsafe, or has a part that is not supported.
    ArgumentError
        The path does not exist.

    Examples
    --------
    >>> import tempfile, extend
    >>> import jax, numpy as np
    >>> from flax import nnx
    >>> net = extend.models.MLP(2, inputs=4, rngs=nnx.Rngs(0))
    >>> clf = extend.wrap(net, ["a", "b"], inputs=jax.ShapeDtypeStruct((4,), np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(folder)
    ...     found = extend.inspect(folder)
    >>> found["format"], found["classes"], found["network"]["class"], found["memory"]
    ('extend checkpoint', ['a', 'b'], 'MLP', None)
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.exists():
            raise ArgumentError(f"{path}: no such file or folder")
        if not is_model(path):
            if path.is_dir() and not checkpoint.is_ours(path):
                check_folder(path)
            return _checkpoint(path)
    return _foreign(source, inputs, model=model, head=head, key=key, output=output, trust=trust)


def _checkpoint(path: Path) -> dict[str, Any]:
    """What the manifest of a checkpoint says, after all of its files were compared with their sums."""
    _, saved = checkpoint.load(path)
    named = {"format": CHECKPOINT, "classes": saved["classes"], "features": saved["space"]}
    kept = ("network", "input", "head", "memory", "history", "versions", "fingerprint", "batch_size")
    return named | {name: saved[name] for name in kept}


def _foreign(source: Any, inputs: InputSpec | None, **options: Any) -> dict[str, Any]:
    """What a model of another framework says of itself, and what the folder beside its file adds."""
    beside = folder_beside(source)
    saved = None if beside is None else checkpoint.describe(beside)
    spec = spec_from_dict(saved["input"]) if saved is not None and inputs is None else None
    spec = input_spec(inputs) if inputs is not None else spec
    opened = read(source, shape=module_input(spec), **options)
    names = column_names(opened) if saved is None else saved["classes"]
    d, k = opened.head.kernel.shape
    found = {
        "format": opened.format,
        "classes": list(names),
        "named": opened.classes is not None or beside is not None,
        "input": inputs_in_words(opened),
        "features": d,
        "activation": opened.head.activation,
        **opened.describe(),
        "memory": f"in {beside.name}" if beside is not None else "none",
    }
    found["works"] = (
        "every linear method (auto, lda, ridge, nearest_mean, svm, new_units, imprint)"
        if beside is not None
        else f"imprint, as nothing is known of its {k} classes; every linear method with samples of them (--old, data=)"
    )
    return found
