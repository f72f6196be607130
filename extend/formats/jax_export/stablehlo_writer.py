"""A scoring function of JAX as one ``.stablehlo`` file: a zip of a `jax.export` program and the classes' names.

The model's code is not needed to run it. These lines do, where only jax and flatbuffers are installed::

    import json, zipfile, jax.export
    with zipfile.ZipFile("digits.stablehlo") as file:
        model = jax.export.deserialize(bytearray(file.read("model.stablehlo")))
        classes = json.loads(file.read("classes.json"))
    probabilities = model.call(pictures)["probabilities"]  # Columns in the order of classes; there are "logits" too.

Source: https://docs.jax.dev/en/latest/export/export.html
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax import export

from extend.core.errors import FormatError, MissingExtraError
from extend.data import InputSpec
from extend.formats.base import replace_file

Score = Callable[[Any], tuple[jax.Array, jax.Array]]
"""A batch of inputs, normalised -> logits and probabilities, both float32 ``[n, k]``; traceable by JAX."""


def to_stablehlo(
    score: Score,
    spec: InputSpec,
    classes: Sequence[str],
    path: Path,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write a scoring function as a ``.stablehlo`` file, which takes batches of any size and gives "logits" and
    "probabilities".

    Parameters
    ----------
    score
        The function; it closes over its parameters.
    spec
        What one input is. For an `Image` the program takes uint8 pictures ``[n, height, width, channels]`` and
        normalises them itself.
    classes
        The names of the function's columns.
    path
        Where to write, ending in ``.stablehlo``.
    platforms
        What the program is lowered for.

    Raises
    ------
    FormatError
        If the suffix is another one, JAX cannot trace or lower the function, or the number of names is not that of the
        columns.
    MissingExtraError
        If flatbuffers is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from extend.data import Array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sum.stablehlo")
    ...     to_stablehlo(lambda x: (x, jax.nn.softmax(x)), Array((2,)), ["a", "b"], path)
    ...     with zipfile.ZipFile(path) as file:
    ...         model = export.deserialize(bytearray(file.read("model.stablehlo")))
    >>> model.call(np.float32([[1, 1]]))["probabilities"].tolist()
    [[0.5, 0.5]]
    """
    if path.suffix != ".stablehlo":
        raise FormatError(f"{path}: a StableHLO program is written as .stablehlo")
    function, argument = batched(score, spec, classes)
    try:
        program = export.export(jax.jit(function), platforms=platforms)(argument)
        content = program.serialize()
    except ImportError as error:
        raise MissingExtraError("a StableHLO program", "stablehlo", error) from error
    except Exception as error:  # An operation may have no lowering for a platform; JAX raises errors of many kinds.
        raise FormatError(f"{path}: JAX cannot lower the model for {', '.join(platforms)}: {error}") from error
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.stablehlo"), content)
        archive.writestr(zipfile.ZipInfo("classes.json"), json.dumps(list(classes), ensure_ascii=False))
    replace_file(path, packed.getvalue())


def batched(score: Score, spec: InputSpec, classes: Sequence[str]) -> tuple[Callable[[Any], dict[str, jax.Array]], Any]:
    """Return a function ``inputs -> {"logits", "probabilities"}``, and the shapes of its inputs for a batch of the size
    "b".

    A model that cannot be traced with a symbol as its size (it asks for ``len(x)``) is traced for one input, and
    mapped.

    Raises
    ------
    FormatError
        If JAX cannot trace the function, or its columns are not the classes.
    """
    (size,) = export.symbolic_shape("b")
    argument = spec.structs(size, stored=True)  # type: ignore[arg-type]  # JAX takes a symbol for a size.

    def inputs(x: Any) -> Any:
        return spec.prepare(x)

    def whole(x: Any) -> dict[str, jax.Array]:
        logits, probabilities = score(inputs(x))
        return {"logits": logits, "probabilities": probabilities}

    def mapped(x: Any) -> dict[str, jax.Array]:
        rows = jax.vmap(lambda one: whole(jax.tree.map(lambda leaf: leaf[None], one)))(x)
        return jax.tree.map(lambda leaf: leaf[:, 0], rows)

    function = whole
    try:
        shapes = jax.eval_shape(function, argument)
    except Exception:  # What a model raises that meets a symbol where it wants a number is its own.
        function = mapped
        try:
            shapes = jax.eval_shape(function, argument)
        except Exception as error:  # As above; a function of another framework ends here.
            raise FormatError(f"JAX cannot trace the model: {error}") from error
    if any(shape.shape[1:] != (len(classes),) for shape in shapes.values()):
        raise FormatError(f"{len(classes)} classes are named; the model gives {list(shapes['logits'].shape)}")
    return function, argument
