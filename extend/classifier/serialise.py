"""TODO"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extend.backbone.feature_space import Space
from extend.backbone.flax import Backbone
from extend.backbone.network import evaluation_flags, filled, named_leaves
from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.core import checkpoint
from extend.core import orbax as foreign
from extend.core.errors import ArgumentError, CheckpointError
from extend.data.input_spec import InputSpec, input_spec, spec_from_dict
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import Block, LinearHead
from extend.heads.links import link_named
from extend.heads.quadratic import QUADRATIC, QuadraticHead
from extend.memory.serialise import from_tree, to_tree


def save(classifier: Classifier, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint; what was there is replaced at once or, on an error, left as it is."""
    backbone = classifier.backbone
    arrays, head = _head_to_tree(classifier.head)
    tree: dict[str, Any] = {**backbone.params, **arrays}
    description = {
        "classes": list(classifier.classes),
        "network": dict(backbone.description),
        "space": backbone.space.to_dict(),
        "fingerprint": backbone.fingerprint,
        "batch_size": backbone.batch_size,
        "input": backbone.inputs.to_dict(),
        "head": head,
        "history": [asdict(event) for event in classifier.history],
        "versions": _versions(),
        "memory": None,
    }
    if classifier.memory is not None:
        tree["memory"], description["memory"] = to_tree(classifier.memory)
    checkpoint.save(path, tree, description)


def load(
    path: str | os.PathLike[str],
    model: Any = None,
    *,
    classes: Sequence[str] | None = None,
    inputs: InputSpec | None = None,
    head: str | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Classifier:
    """Restore a classifier: one that `Classifier.save` wrote, or any Orbax checkpoint of a Flax model.

    Args:
        path: a checkpoint folder.
        model: the network, where the checkpoint does not name one of `extend.models`: an NNX module, a Linen module
            (with `variables`, or `inputs` to initialise them), a function that returns one of these, or the
            function from inputs to features that was wrapped. For a checkpoint of this package it is optional.
        classes: for a checkpoint that this package did not write: the names, in the order of the head's columns.
        inputs: for such a checkpoint: what one input is (`extend.Image` or ``jax.ShapeDtypeStruct``).
        head, call: as for `Backbone.from_nnx` and `Backbone.from_linen`.

    Raises:
        CheckpointError: missing, damaged, from a newer version, or arrays that do not fit the model (both shapes are
            named).
        ValueError: the network must be given and is not, or its head is not found.

    >>> import tempfile, extend
    >>> from extend.models import MLP
    >>> model = MLP(2, inputs=4, rngs=nnx.Rngs(0))
    >>> clf = extend.wrap(model, ["a", "b"], inputs=jax.ShapeDtypeStruct((4,), np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clf.save(folder)
    ...     load(folder).classes
    ('a', 'b')
    """
    if checkpoint.is_ours(path) or model is None:
        tree, description = checkpoint.load(path)
        return _rebuild(path, tree, description, model, call)
    if classes is None or inputs is None:
        raise ArgumentError(
            f"{path} was not written by extend: pass classes=[...] (the names, in the order of the head's columns) and "
            "inputs= (extend.Image(...) for pictures, jax.ShapeDtypeStruct(shape, dtype) for arrays)"
        )
    names = tuple(map(str, classes))
    backbone = build(model, len(names), inputs, head=head, call=call, variables=variables)
    wanted = {name: (np.shape(leaf), leaf.dtype) for name, leaf in backbone.params["network"].items()}
    backbone = _with_network(backbone, foreign.restore(path, wanted), path)
    assert backbone.own_head is not None  # from_nnx and from_linen always find one
    return Classifier(backbone, backbone.own_head, names, None, (Event("wrap", names, "own head", 0, {}),))


def build(
    model: Any,
    num_classes: int,
    inputs: InputSpec,
    *,
    head: str | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    **space: Any,
) -> Backbone:
    """A backbone from an NNX module, a Linen module (or ``(module, variables)``), or a function that returns one."""
    if isinstance(model, tuple) and len(model) == 2 and isinstance(model[0], nn.Module):
        model, variables = model
    if not isinstance(model, (nnx.Module, nn.Module)):
        made = model() if callable(model) else model
        if not isinstance(made, (nnx.Module, nn.Module)):
            raise ArgumentError(
                f"model is {type(model).__name__}; expected a Flax module, or a function that returns one"
            )
        model = made
    if isinstance(model, nnx.Module):
        return Backbone.from_nnx(model, num_classes, inputs, head, call, **space)
    if variables is None:
        example = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), input_spec(inputs).structs(1))
        variables = model.init(jax.random.key(0), example, **evaluation_flags(model))
    return Backbone.from_linen(model, variables, num_classes, inputs, head, call, **space)


def _rebuild(path: Any, tree: dict[str, Any], saved: dict[str, Any], model: Any, call: Any) -> Classifier:
    network, spec, space = saved["network"], spec_from_dict(saved["input"]), Space.from_dict(saved["space"])
    classes = tuple(saved["classes"])
    restored = _head_from_tree(tree, saved["head"])
    if restored.num_classes != len(classes):
        raise CheckpointError(
            f"{path}: {len(classes)} classes are named, but the head has {restored.num_classes} columns"
        )
    options: dict[str, Any] = {"transform": space.transform, "width": space.width}
    if network["kind"] == "function":
        if model is None:
            raise ArgumentError(f"{path}: its features come from the function {network['class']!r}; pass it as model=")
        if isinstance(model, (nnx.Module, nn.Module)) or not callable(model):
            raise ArgumentError(
                f"{path}: model is {type(model).__name__}; expected the function {network['class']!r} from a batch of "
                "inputs to features"
            )
        own = LinearHead.of(np.zeros((1, 1)), np.zeros(1)) if space.keep else None
        params = tree.get("network") or None
        if "params" in network:
            params = filled(network["params"], params or {})
        backbone = Backbone.from_function(model, spec, params, own, **options)
        if backbone.penultimate != saved["network"].get("penultimate", backbone.penultimate):
            raise CheckpointError(
                f"{path}: the function gives {backbone.penultimate} features; the saved one gave other"
            )
    else:
        builder = model if model is not None else _shipped(path, network, tree["network"])
        backbone = build(
            builder, network["num_classes"], spec, head=network["head"], call=call, taps=space.taps, **options
        )
        backbone = _with_network(backbone, tree["network"], path)
        if network.get("moved"):  # The model's own head is of the network before it was trained on.
            backbone = replace(backbone, own_head=None)
    backbone = replace(
        backbone.with_space(tree["space"]), space=space, batch_size=saved["batch_size"], description=network
    )
    if backbone.fingerprint != saved["fingerprint"]:
        raise CheckpointError(f"{path}: the model given is not the one that was saved (its fingerprint differs)")
    memory = from_tree(tree["memory"], saved["memory"]) if saved["memory"] is not None else None
    history = tuple(Event(**{**event, "classes": tuple(event["classes"])}) for event in saved["history"])
    return Classifier(backbone, restored, classes, memory, history)


def _shipped(path: Any, network: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> nnx.Module:
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


def _with_network(backbone: Backbone, arrays: Mapping[str, np.ndarray], path: Any) -> Backbone:
    """The backbone with these network parameters, and its own head taken from them."""
    old = backbone.params["network"]
    for name, leaf in old.items():
        if name not in arrays:
            raise CheckpointError(f"{path}: parameter {name!r} {list(np.shape(leaf))} of the model is not in it")
        if np.shape(arrays[name]) != np.shape(leaf):
            raise CheckpointError(
                f"{path}: parameter {name!r} has shape {list(np.shape(arrays[name]))}; "
                f"the model expects {list(np.shape(leaf))}"
            )
    if extra := sorted(set(arrays) - set(old)):
        raise CheckpointError(f"{path}: parameter {extra[0]!r} {list(arrays[extra[0]].shape)} is not in the model")
    path_of_head = backbone.description["head"]
    prefix = "" if f"{path_of_head}.kernel" in arrays else "params."
    kernel = np.asarray(arrays[f"{prefix}{path_of_head}.kernel"], np.float32)
    bias = np.asarray(arrays.get(f"{prefix}{path_of_head}.bias", np.zeros(kernel.shape[1])), np.float32)
    return replace(backbone, params={**backbone.params, "network": dict(arrays)}, own_head=LinearHead.of(kernel, bias))


def _head_to_tree(head: Head) -> tuple[dict[str, Any], dict[str, Any]]:
    """A head's arrays, and the rest as JSON."""
    arrays: dict[str, Any] = {}
    calibrated = isinstance(head, Calibrated)
    if isinstance(head, Calibrated):
        arrays["calibration"] = {"scale": head.scale, "offset": head.offset}
        arrays["calibration"]["temperature"] = np.asarray([head.temperature])
        head = head.head
    if isinstance(head, QuadraticHead):
        arrays["head"] = {name: getattr(head, name) for name in QUADRATIC}
        return arrays, {
            "kind": "quadratic",
            "start": head.start,
            "activation": head.link.name,
            "calibrated": calibrated,
        }
    assert isinstance(head, LinearHead)
    if not all(block.kernel.size for block in head.blocks):
        raise ArgumentError("the head has a block without columns")
    arrays["head"] = {str(i): {"kernel": b.kernel, "bias": b.bias} for i, b in enumerate(head.blocks)}
    starts, origins = [block.start for block in head.blocks], [block.origin for block in head.blocks]
    return arrays, {
        "kind": "linear",
        "starts": starts,
        "origins": origins,
        "activation": head.link.name,
        "calibrated": calibrated,
    }


def _head_from_tree(tree: Mapping[str, Any], saved: Mapping[str, Any]) -> Head:
    head: LinearHead | QuadraticHead
    if saved.get("kind", "linear") == "quadratic":
        head = QuadraticHead(**tree["head"], start=saved["start"], link=link_named(saved["activation"]))
    else:
        blocks = (tree["head"][str(i)] for i in range(len(saved["starts"])))
        origins = saved.get("origins", ["solved"] * len(saved["starts"]))  # Older checkpoints do not tell.
        made = (
            Block(b["kernel"], b["bias"], start, origin)
            for b, start, origin in zip(blocks, saved["starts"], origins, strict=True)
        )
        head = LinearHead(tuple(made), link_named(saved["activation"]))
    old = float(tree.get("temperature", [1.0])[0])  # Before heads were calibrated apart, a temperature was all.
    if saved.get("calibrated"):
        c = tree["calibration"]
        return Calibrated(head, c["scale"], c["offset"], np.float32(c["temperature"][0]))
    return head if old == 1 else replace(Calibrated.of(head), temperature=np.float32(old))


def _versions() -> dict[str, str]:
    found = {}
    for name in ("class-extend", "jax", "flax", "orbax-checkpoint", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
