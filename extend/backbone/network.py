"""A Flax model as pure functions of a flat dictionary ``{path: array}``, in evaluation mode and in training mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from extend.backbone.recorder import Call, Layer, linen_heads, linen_record, nnx_heads, nnx_layers, nnx_record

Params = Mapping[str, Any]
Record = Callable[[Any, Any, Sequence[str]], "tuple[Any, list[list[Call]]]"]
Learn = Callable[[Any, Any, Any, Sequence[str]], "tuple[list[list[Call]], dict[str, Any]]"]


@dataclass(frozen=True, eq=False)
class Network:
    """What a backbone needs to know of a model.

    Parameters
    ----------
    record
        ``(params, batch, layer paths) -> (output, calls of each layer)``, in evaluation mode.
    learn
        ``(params, batch, key, layer paths) -> (calls of each layer, new statistics)``, in training mode: statistics are
        the arrays that no gradient moves (batch norm's); None where that mode is not known.
    params
        Every array by its dotted path.
    trainable
        The paths of those that a gradient may move.
    candidates
        The layers that could be the head.
    layers
        All layers; `tops`: those at the top of the model.
    kind, builder
        How to describe it in a checkpoint.
    """

    record: Record
    learn: Learn | None
    params: dict[str, Any]
    trainable: tuple[str, ...]
    candidates: list[Layer]
    layers: list[str]
    tops: list[str]
    kind: str
    builder: dict[str, Any]


def of_nnx(model: nnx.Module, call: Callable[[nnx.Module, Any], Any] | None) -> Network:
    """An NNX model; it is copied and never changed. `call` is ``call(model, batch)``, if not ``model(batch)``."""
    model = nnx.clone(model)
    model.train()
    training, chance, *(_,) = nnx.split(model, nnx.RngState, ...)
    model.eval()
    definition, noise, *(state,) = nnx.split(model, nnx.RngState, ...)
    names, leaves, structure = named_leaves(state)
    trainable = tuple(named_leaves(nnx.split(model, nnx.Param, ...)[1])[0])
    forward = call or (lambda module, x: module(x))

    def merged(graph: Any, chance: Any, params: Any) -> Any:
        # A copy of the noise, so that a stray draw cannot change the next call.
        return nnx.merge(graph, chance, jax.tree.unflatten(structure, [params[name] for name in names]), copy=True)

    def record(params: Any, x: Any, paths: Sequence[str]) -> tuple[Any, list[list[Call]]]:
        return nnx_record(merged(definition, noise, params), paths, lambda module: forward(module, x))

    def learn(params: Any, x: Any, key: Any, paths: Sequence[str]) -> tuple[list[list[Call]], dict[str, Any]]:
        def reseeded(number: int, leaf: Any) -> Any:
            if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                return leaf
            own = jax.random.fold_in(key, number)  # Every layer draws its own noise.
            return jax.random.split(own, leaf.shape) if leaf.shape else own

        parts, tree = jax.tree.flatten(chance)
        drawn = jax.tree.unflatten(tree, [reseeded(number, leaf) for number, leaf in enumerate(parts)])
        module = merged(training, drawn, params)
        _, calls = nnx_record(module, paths, lambda m: forward(m, x))
        after = dict(zip(*named_leaves(nnx.split(module, nnx.RngState, ...)[-1])[:2], strict=True))
        return calls, {name: after[name] for name in names if name not in trainable}

    builder: dict[str, Any] = {"class": type(model).__name__}
    if type(model).__module__.startswith("extend.models."):
        builder["config"] = dict(getattr(model, "config"))  # noqa: B009  # every shipped network has it
    layers = [path for path, _ in nnx_layers(model)]
    return Network(
        record,
        learn,
        dict(zip(names, leaves, strict=True)),
        trainable,
        nnx_heads(model, None),
        layers,
        [path for path in layers if "." not in path],
        "nnx",
        builder,
    )


def of_linen(
    model: nn.Module, variables: Mapping[str, Any], call: Callable[[nn.Module, Any, Any], Any] | None
) -> Network:
    """A Linen model; `call` is ``call(model, variables, batch)``.

    Without it, a ``train`` or ``training`` argument of the model is given as False and ``deterministic`` as True, and
    the other way round in training mode.
    """
    names, leaves, structure = named_leaves(dict(variables))
    flags = evaluation_flags(model)
    opposite: dict[str, Any] = {name: not value for name, value in flags.items()}
    forward = call or (lambda module, values, x: module.apply(values, x, **flags))
    statistics = [collection for collection in variables if collection != "params"]

    def tree(params: Any) -> Any:
        return jax.tree.unflatten(structure, [params[name] for name in names])

    def record(params: Any, x: Any, paths: Sequence[str]) -> tuple[Any, list[list[Call]]]:
        return linen_record(lambda: forward(model, tree(params), x), paths)

    def learn(params: Any, x: Any, key: Any, paths: Sequence[str]) -> tuple[list[list[Call]], dict[str, Any]]:
        def run() -> Any:
            return model.apply(tree(params), x, **opposite, rngs={"dropout": key}, mutable=statistics)

        (_, changed), calls = linen_record(run, paths)
        return calls, dict(zip(*named_leaves(dict(changed))[:2], strict=True))

    weights = variables.get("params", {})
    return Network(
        record,
        learn if call is None else None,
        dict(zip(names, leaves, strict=True)),
        tuple(name for name in names if name.startswith("params.")),
        linen_heads(weights, None),
        list(_paths(weights)),
        list(weights),
        "linen",
        {"class": type(model).__name__},
    )


def named_leaves(tree: Any) -> tuple[list[str], list[Any], Any]:
    """The leaves of a tree with dotted paths (a trailing ``value`` left out), and its structure."""
    pairs, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = []
    for path, _ in pairs:
        parts = [str(getattr(p, "key", getattr(p, "name", getattr(p, "idx", p)))) for p in path]
        names.append(".".join(parts[:-1] if len(parts) > 1 and parts[-1] in ("value", "raw_value") else parts))
    return names, [leaf for _, leaf in pairs], structure


def outline(tree: Any) -> Any:
    """A tree of dicts, lists, tuples and None as JSON, with the name of every leaf in its place; `filled` undoes it.

    Raises
    ------
    TypeError
        It holds other containers, which JSON has not.
    """
    names, _, structure = named_leaves(tree)

    def plain(part: Any) -> Any:
        if isinstance(part, Mapping) and all(isinstance(key, str) for key in part):
            return {"dict": {key: plain(value) for key, value in part.items()}}
        if type(part) in (list, tuple):
            return {type(part).__name__: [plain(value) for value in part]}
        if part is not None and not isinstance(part, str):
            raise TypeError(f"{type(part).__name__} is not a dict with names as keys, a list or a tuple")
        return part

    return plain(jax.tree.unflatten(structure, names))


def filled(outline: Any, arrays: Mapping[str, Any]) -> Any:
    """The tree of this outline with its arrays.

    Examples
    --------
    >>> filled({"dict": {"layers": {"list": ["layers.0"]}}}, {"layers.0": 3})
    {'layers': [3]}
    """
    if outline is None or isinstance(outline, str):
        return None if outline is None else arrays[outline]
    ((kind, parts),) = outline.items()
    if kind == "dict":
        return {key: filled(part, arrays) for key, part in parts.items()}
    return [filled(part, arrays) for part in parts] if kind == "list" else tuple(filled(part, arrays) for part in parts)


def evaluation_flags(model: nn.Module) -> dict[str, Any]:
    """The usual names of a Linen model's mode, for evaluation; those that its ``__call__`` takes."""
    names = inspect.signature(type(model).__call__).parameters
    known = {"train": False, "training": False, "is_training": False, "deterministic": True}
    return {name: value for name, value in known.items() if name in names}


def _paths(params: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The paths of all Linen modules that hold parameters."""
    for name, part in params.items():
        if hasattr(part, "items"):
            yield above + name
            yield from _paths(part, f"{above}{name}.")
