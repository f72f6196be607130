"""Read a classifier from whatever lies at a path: our checkpoint, weights of a Flax model, another framework's file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from extend.backbone import FileBackbone, is_flax, memory_folder
from extend.classifier import Classifier, serialise
from extend.core import checkpoint
from extend.core.errors import ArgumentError, CheckpointError, FormatError
from extend.data import InputSpec, Progress, class_names, input_spec, spec_from_dict
from extend.formats import framework_of, identify, identify_folder, is_model
from extend.operations.foreign import Pixels, open_backbone, picture
from extend.operations.wrap import wrap

Json: TypeAlias = dict[str, Any]


def load(
    path: str | os.PathLike[str],
    model: Any = None,
    *,
    classes: Sequence[str] | None = None,
    inputs: Any = None,
    pixels: Pixels | None = None,
    size: int | None = None,
    head: str | None = None,
    key: str | None = None,
    output: str | int | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    prefix: str | None = None,
    data: Any = None,
    held_out: Any = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> Classifier:
    """Read a classifier: a checkpoint of this package, weights of a Flax model, or a file of another framework.

    What lies at the path decides, by its content. A checkpoint of this package needs no other argument, except for
    `model` where its network is not one of `extend.models`. Weights of a Flax model (an Orbax checkpoint, msgpack,
    safetensors, ``.npz``) need `model`, `classes` and `inputs`. A file of another framework needs what it does not say
    (see ``docs/formats.md``); its features come from the model in its own runtime, and the memory that `extend.save`
    wrote beside it is read again.

    Parameters
    ----------
    path
        A checkpoint folder, a file, or a folder of Hugging Face transformers.
    model
        The network: an NNX module, a Linen module, a function that makes one, or the function that was wrapped. For
        PyTorch weights: the ``torch.nn.Module``, or a function that makes it.
    classes
        The names in the order of the head's columns; by default those in the file, or "0", "1", ...
    inputs
        What one input is: `extend.Image`, `extend.Array`, or an example such as ``x[:1]``. Of a checkpoint of this
        package only an `extend.Image` of other ``values`` may be given.
    pixels, size
        In place of `inputs`: inputs are pictures of the model's own size (or of this height and width), and how their
        pixels are scaled: "raw", "unit", "symmetric", "imagenet" or "caffe".
    head, call, variables
        The path of the head; how a Flax model is called; a Linen module's variables. See `extend.wrap`.
    prefix
        Which of several copies of a Flax model's weights is meant: a part of their path, such as "ema_params".
    key, output
        For PyTorch: where in the file the weights lie, such as ``"model_ema"``, if it holds several that fit; and which
        part of what the module returns are the scores, by its place or key, if that is not found by itself.
    data, held_out
        Samples of the classes, from which the memory is measured. See `extend.wrap`.
    trust
        Allow what executes code that the file names (Keras's Lambda layers, types of your own).
    progress
        Wraps the batches, such as ``tqdm.tqdm``.

    Raises
    ------
    CheckpointError
        Missing, damaged, from a newer version, or arrays that do not fit the model (both shapes are named).
    FormatError
        The file is of no known format, damaged, unsafe, or has a part that is not supported (which is named).
    ArgumentError
        Something must be said and is not, or does not apply to what lies there.

    Examples
    --------
    >>> import tempfile, extend
    >>> from flax import nnx
    >>> model = extend.models.MLP(2, inputs=4, rngs=nnx.Rngs(0))
    >>> clf = extend.wrap(model, ["a", "b"], inputs=extend.Array((4,)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     extend.load(extend.save(clf, folder)).classes
    ('a', 'b')
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path is a {type(path).__name__}; expected a path: a model goes to extend.wrap")
    told = {"classes": classes, "inputs": inputs, "head": head, "data": data, "held_out": held_out}
    of_file = {"pixels": pixels, "size": size, "key": key, "output": output, "trust": trust or None}
    return _read(Path(path), model, told, of_file, {"call": call, "variables": variables, "prefix": prefix}, progress)


def _read(path: Path, model: Any, told: Json, of_file: Json, of_flax: Json, progress: Progress | None) -> Classifier:
    """What lies at a path: the arguments of `load` that say what is there, what a file is, and what a Flax model is."""
    if checkpoint.is_ours(path):
        _refuse(path, "a checkpoint of extend", told | of_file | of_flax | {"inputs": None, "call": None})
        clf = serialise.load(path, model, of_flax["call"])
        said = clf.backbone.inputs if told["inputs"] is None else input_spec(told["inputs"])
        if not _same_but_for_values(said, clf.backbone.inputs):
            _refuse(path, f"a checkpoint of extend, whose inputs are {clf.backbone.inputs}", {"inputs": said})
        return _with_inputs(clf, said)
    if told["held_out"] is not None and told["data"] is None:
        raise ArgumentError("held_out= goes with data=, from which the memory is measured, and there is none")
    if is_model(path) and not _is_flax(path, model):
        _refuse(path, "a model of another framework", of_flax)
        options = of_file | {"trust": bool(of_file["trust"])}
        return _from_file(path, model, progress=progress, **told, **options)
    if model is None and not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    if model is None:
        check_folder(path)
        return serialise.load(path)  # Which says what is missing.
    _refuse(path, "taken for weights of a Flax model", of_file)
    classes, inputs, head, data, held_out = told.values()
    if classes is None or inputs is None:
        raise ArgumentError(
            f"{path} was not written by extend: pass classes=[...] (the names, in the order of the head's columns) "
            "and inputs= (extend.Image(...) for pictures, extend.Array(shape, dtype) for arrays)"
        )
    clf = serialise.load_weights(path, model, classes, inputs, head=head, **of_flax)
    return clf if data is None else wrap(clf.backbone, clf.classes, data, held_out=held_out, progress=progress)


def check_folder(path: Path) -> None:
    """Refuse a folder that is known to be something else than a checkpoint.

    Raises
    ------
    FormatError
        It is, such as a SavedModel of TensorFlow; the message says what to do.

    Examples
    --------
    >>> import tempfile
    >>> check_folder(Path(tempfile.mkdtemp()))
    """
    if (found := identify_folder(path)) is not None:
        raise FormatError(found.refusal(path))


def _is_flax(path: Path, model: Any) -> bool:
    """Whether a model that is given for a file or a folder is one of Flax, or the file can be of nothing else."""
    if model is None:
        return False
    first = model[0] if isinstance(model, tuple) and model else model
    if is_flax(first) or (path.is_file() and (found := identify(path)) is not None and found.reader == "flax"):
        return True
    makes = callable(model) and framework_of(model) is None and not isinstance(model, type)
    return path.suffix == ".safetensors" and makes and is_flax(model())


def as_classifier(given: Classifier | str | os.PathLike[str]) -> Classifier:
    """Return a classifier that is given as such, or as a path to `load`.

    Raises
    ------
    ArgumentError
        It is neither.
    CheckpointError, FormatError
        The path cannot be read.

    Examples
    --------
    >>> as_classifier(None)
    Traceback (most recent call last):
    extend.core.errors.ArgumentError: a NoneType is given; expected a Classifier (see extend.wrap), or the path of one
    """
    if isinstance(given, Classifier):
        return given
    if isinstance(given, str | os.PathLike):
        return load(given)
    raise ArgumentError(
        f"a {type(given).__name__} is given; expected a Classifier (see extend.wrap), or the path of one"
    )


def folder_beside(path: Any) -> Path | None:
    """Return the folder that `extend.save` wrote beside a file, if there is one."""
    folder = memory_folder(path) if isinstance(path, str | os.PathLike) else None
    return folder if folder is not None and checkpoint.is_ours(folder) else None


def _same_but_for_values(one: InputSpec, two: InputSpec) -> bool:
    """Whether both are the same but for what the floats of pictures are."""
    images = one.as_image(), two.as_image()
    if images[0] is None or images[1] is None:
        return one == two
    return replace(images[0], values=None) == replace(images[1], values=None)


def _with_inputs(clf: Classifier, inputs: InputSpec) -> Classifier:
    """The same classifier, told what its inputs are."""
    if inputs == clf.backbone.inputs:
        return clf
    return replace(clf, backbone=replace(clf.backbone, inputs=inputs))  # type: ignore[type-var]  # All are dataclasses.


def _refuse(path: Path, what: str, given: Mapping[str, Any]) -> None:
    """Refuse the first of these arguments that is not None."""
    if wrong := [name for name, value in given.items() if value is not None]:
        raise ArgumentError(f"{path} is {what}: {wrong[0]}= does not apply to it")


def _from_file(
    path: Path, model: Any, *, classes: Sequence[str] | None, inputs: Any, data: Any, held_out: Any, **options: Any
) -> Classifier:
    """The classifier of a file, with the memory that lies beside it or is measured from data."""
    progress = options.pop("progress")
    beside = folder_beside(path)
    if beside is None:
        backbone = open_backbone(path, classes=classes, inputs=inputs, data=data, model=model, **options)
        return wrap(backbone, backbone.columns, data, held_out=held_out, progress=progress)
    kept = checkpoint.describe(beside)
    saved, named = spec_from_dict(kept["input"]), tuple(kept["classes"])
    pixels, size = options.pop("pixels"), options.pop("size")
    if inputs is not None and pixels is not None:
        raise ArgumentError("pixels= describes pictures, and so does inputs=: give one of them")
    if classes is not None and class_names(classes) != named:
        raise ArgumentError(f"{beside} names the classes {', '.join(named)}; {', '.join(map(str, classes))} are given")
    opened = open_backbone(path, inputs=saved, model=model, **options)
    said = (
        picture(opened.model, pixels, size) if pixels is not None else saved if inputs is None else input_spec(inputs)
    )
    if not _same_but_for_values(said, saved):
        raise ArgumentError(
            f"{beside} says that inputs are {saved}; {said} is given: move the folder away to begin anew"
        )
    clf = _with_inputs(_remembered(opened, beside, kept), said)
    if data is None:
        return clf
    measured = wrap(clf.backbone, clf.classes, data, held_out=held_out, progress=progress)
    return replace(clf, memory=measured.memory, history=measured.history, recipe=measured.recipe)


def _remembered(opened: FileBackbone, folder: Path, kept: Mapping[str, Any]) -> Classifier:
    """The classifier that was saved, with its memory, on the file that lies beside it."""
    if kept["network"].get("origin") != opened.model.fingerprint:
        raise FormatError(f"{folder} belongs to another network than the file beside it: move it away, or save again")
    named = tuple(kept["classes"])
    other = FormatError(f"{folder} belongs to another version of the file beside it: move it away, or save again")
    if len(named) != len(opened.columns):
        raise other
    if set(named) != set(opened.columns):  # The file names none.
        opened = replace(opened, columns=named)
    clf = serialise.load(folder, opened.with_columns(named))
    if not opened.agrees(clf.head, clf.classes):
        raise other
    return clf
