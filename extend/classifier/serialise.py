"""A classifier <-> a checkpoint folder, or a file in the format that a path's suffix says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extend.backbone import Backbone, FlaxBackbone, FunctionBackbone, Space, filled, is_flax, named_leaves
from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.classifier.recipe import Recipe
from extend.core import checkpoint, flax_files
from extend.core.errors import ArgumentError, CheckpointError, ExtendError
from extend.data import class_names, spec_from_dict
from extend.heads import LinearHead
from extend.heads import serialise as heads
from extend.memory import serialise as memories

Json = Mapping[str, Any]
Path_ = str | os.PathLike[str]


def becomes_a_checkpoint(classifier: Classifier, path: Path_) -> bool:
    """Whether `save` writes a checkpoint folder at this path, not a file."""
    target = Path(path)
    return classifier.backbone.own_format is None and (checkpoint.is_ours(target) or not _names_a_file(target))


def save(classifier: Classifier, path: Path_, *, since: str | None = None) -> None:
    """Write a classifier; the path's suffix decides the form.

    A name without a suffix, or a folder that holds a checkpoint, becomes a checkpoint. A model of another framework
    always goes back into a file of its own, whose memory lies in the folder beside it. `since` is that of
    `extend.core.checkpoint.save`.

    Raises
    ------
    ArgumentError
        The backbone cannot be written in this format, or cannot hold the head.
    FormatError
        The suffix is not one that the backbone can be written as.
    CheckpointError
        It could not be written; what was there is unchanged.
    """
    target, backbone = Path(path), classifier.backbone
    if becomes_a_checkpoint(classifier, target):
        save_checkpoint(classifier, target, since=since)
        return

    def write() -> None:
        backbone.write(classifier.head, classifier.classes, target)

    if (beside := backbone.beside(target)) is None:
        write()
    else:  # The file changes in the moment in which its memory does, or neither.
        save_checkpoint(classifier, beside, before=write)


def save_checkpoint(
    classifier: Classifier, path: Path_, *, since: str | None = None, before: Callable[[], object] = lambda: None
) -> None:
    """Write a checkpoint folder; what was there is replaced at once or, on an error, left as it is.

    `since` and `before` are those of `extend.core.checkpoint.save`.
    """
    tree, description = _as_tree(classifier)
    checkpoint.save(path, tree, description, since=since, before=before)


def packed(classifier: Classifier) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return what a pickle holds of a classifier: arrays, a description, and the function that was wrapped.

    Raises
    ------
    TypeError
        Its network is not one of `extend.models`, or it is a file of another framework: such a classifier is saved.
    """
    backbone = classifier.backbone
    shipped = backbone.description.get("class") in _shipped_names() and "config" in backbone.description
    if backbone.own_format is not None or (backbone.source is None and not shipped):
        raise TypeError(
            f"a classifier on a {backbone.description.get('class')} cannot be pickled: write it with extend.save, and "
            "read it with extend.load where it is needed"
        )
    return *_as_tree(classifier), backbone.source


def unpacked(tree: Json, description: Json, model: Any) -> Classifier:
    """Return the classifier that `packed` took apart."""
    return _restored("the pickle", tree, description, model, None)


def _shipped_names() -> list[str]:
    from extend import models  # The engine needs no network until a checkpoint names one.

    return models.__all__


def _as_tree(classifier: Classifier) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a classifier, and everything else for JSON."""
    backbone = classifier.backbone
    arrays, head = heads.to_tree(classifier.head)
    tree: dict[str, Any] = {**backbone.params, **arrays}
    description = {
        "classes": list(classifier.classes),
        "network": dict(backbone.description),
        "space": backbone.space.to_dict(),
        "fingerprint": backbone.fingerprint,
        "batch_size": backbone.batch_size,
        "input": backbone.inputs.to_dict(),
        "head": head,
        "recipe": classifier.recipe.to_dict(),
        "history": [asdict(event) for event in classifier.history],
        "versions": _versions(),
        "memory": None,
    }
    if classifier.memory is not None:
        tree["memory"], description["memory"] = memories.to_tree(classifier.memory)
    return tree, description


def load(path: Path_, model: Any = None, call: Callable[..., Any] | None = None) -> Classifier:
    """Restore a classifier from a checkpoint folder of this package.

    Parameters
    ----------
    path
        The folder.
    model
        What the checkpoint does not hold: the network, where it is not one of `extend.models` (a Flax module, or a
        function that makes one), the function that was wrapped, or a `Backbone` whose feature space is to be restored.
    call
        As for `extend.backbone.flax.FlaxBackbone.from_nnx`.

    Raises
    ------
    CheckpointError
        It is missing, damaged, from a newer version, or its arrays do not fit the model.
    ArgumentError
        The model must be given and is not, or is another kind of thing.
    """
    tree, saved = checkpoint.load(path)
    try:
        return _restored(path, tree, saved, model, call)
    except ExtendError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: what it says of itself does not fit its arrays ({what})") from error


def _restored(path: Path_, tree: Json, saved: Json, model: Any, call: Callable[..., Any] | None) -> Classifier:
    network, space = saved["network"], Space.from_dict(saved["space"])
    bare = (
        _function(path, tree, saved, model) if network["kind"] == "function" else _flax(path, tree, saved, model, call)
    )
    backbone: Backbone = replace(
        bare.with_space(tree["space"]), space=space, batch_size=saved["batch_size"], description=network
    )
    if backbone.fingerprint != saved["fingerprint"]:
        raise CheckpointError(f"{path}: the model given is not the one that was saved (its fingerprint differs)")
    classes = tuple(saved["classes"])
    head = heads.from_tree(tree, saved["head"], backbone.origin_of)
    if head.num_classes != len(classes):
        raise CheckpointError(f"{path}: {len(classes)} classes are named, but the head has {head.num_classes} columns")
    memory = memories.from_tree(tree["memory"], saved["memory"]) if saved["memory"] is not None else None
    history = tuple(Event(**{**event, "classes": tuple(event["classes"])}) for event in saved["history"])
    recipe = Recipe.from_dict(saved["recipe"]) if "recipe" in saved else Recipe.of_history(history)
    return Classifier(backbone, head, classes, memory, history, recipe)


def load_weights(
    path: Path_,
    model: Any,
    classes: Sequence[str],
    inputs: Any,
    *,
    head: str | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    prefix: str | None = None,
) -> Classifier:
    """Make a classifier of a Flax model and its parameters, in Orbax's form or another's, whatever program wrote them.

    Raises
    ------
    CheckpointError
        It is missing or damaged, or its arrays do not fit the model (both shapes are named).
    ArgumentError
        The model is no Flax module, or its head is not found.
    """
    names = class_names(classes)
    backbone = FlaxBackbone.of(model, len(names), inputs, head=head, call=call, variables=variables)
    wanted = {name: (np.shape(leaf), leaf.dtype) for name, leaf in backbone.params["network"].items()}
    backbone = _with_arrays(path, backbone, flax_files.restore(path, wanted, prefix))
    assert backbone.own_head is not None  # `FlaxBackbone.of` always finds one.
    return Classifier(backbone, backbone.own_head, names, None, (Event("wrap", names, "own head", 0, {}),))


def _names_a_file(path: Path) -> bool:
    """Whether the name ends in a suffix; that of "run-1.2" is none."""
    return len(path.suffix) > 1 and not path.suffix[1:].isdecimal()


def _function(path: Path_, tree: Json, saved: Json, model: Any) -> Any:
    """The backbone of a function, with the parameters that were saved."""
    network, space = saved["network"], Space.from_dict(saved["space"])
    if hasattr(type(model), "with_space"):
        return model
    if model is None:
        raise ArgumentError(f"{path}: its features come from the function {network['class']!r}; pass it as model=")
    if is_flax(model) or not callable(model):
        raise ArgumentError(
            f"{path}: model is {type(model).__name__}; expected the function {network['class']!r} from a batch of "
            "inputs to features"
        )
    params = tree.get("network") or None
    if "params" in network:
        params = filled(network["params"], params or {})
    own = LinearHead.of(np.zeros((1, 1)), np.zeros(1)) if space.keep else None
    return FunctionBackbone.of(
        model,
        spec_from_dict(saved["input"]),
        params,
        own,
        transform=space.transform,
        width=space.width,
        batch_size=saved["batch_size"],
    )


def _flax(path: Path_, tree: Json, saved: Json, model: Any, call: Callable[..., Any] | None) -> FlaxBackbone:
    """The backbone of a Flax model, with the parameters that were saved."""
    network, space = saved["network"], Space.from_dict(saved["space"])
    backbone = FlaxBackbone.of(
        model if model is not None else _shipped(path, network, tree["network"]),
        network["num_classes"],
        spec_from_dict(saved["input"]),
        head=network["head"],
        call=call,
        taps=space.taps,
        transform=space.transform,
        width=space.width,
    )
    backbone = _with_arrays(path, backbone, tree["network"])
    # After a training of the network, the model's own head is of the network before it.
    return replace(backbone, own_head=None) if network.get("moved") else backbone


def _shipped(path: Path_, network: Json, arrays: Mapping[str, np.ndarray]) -> nnx.Module:
    """One of the networks in `extend.models`, by name; nothing else is ever imported.

    It is made without initial values (drawing them takes seconds of compilation) and filled with the saved arrays.
    """
    from extend import models  # The engine needs no network until a checkpoint names one.

    if network["class"] not in models.__all__ or "config" not in network:
        raise ArgumentError(
            f"{path}: the network {network['class']!r} is not one of extend.models ({', '.join(models.__all__)}); "
            "pass it, or a function that makes it, as model="
        )
    config = {key: tuple(v) if isinstance(v, list) else v for key, v in network["config"].items()}
    outline = nnx.eval_shape(lambda: getattr(models, network["class"])(**config, rngs=nnx.Rngs(0)))
    definition, state = nnx.split(outline)
    names, leaves, structure = named_leaves(state)
    if [arrays[name].shape if name in arrays else None for name in names] != [leaf.shape for leaf in leaves]:
        raise CheckpointError(f"{path}: its arrays do not fit the {network['class']} that it describes")
    return nnx.merge(definition, jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in names]))


def _with_arrays(path: Path_, backbone: FlaxBackbone, arrays: Mapping[str, np.ndarray]) -> FlaxBackbone:
    try:
        return backbone.with_arrays(arrays)
    except ArgumentError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _versions() -> dict[str, str]:
    found = {}
    for name in ("class-extend", "jax", "flax", "orbax-checkpoint", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
