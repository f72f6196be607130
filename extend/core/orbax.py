"""Read checkpoints that other programs wrote with Orbax: find the arrays of a model in whatever tree was saved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from extend.core.errors import CheckpointError
from extend.core.matching import Wanted, places

Tree = Any
"""Nested dicts and lists, as Orbax gives them."""
Keys = tuple[str | int, ...]


def restore(path: str | os.PathLike[str], wanted: Wanted, prefix: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of a model out of an Orbax checkpoint, by dotted path.

    The folder may be one checkpoint, or a `CheckpointManager`'s with steps (the highest is taken). Whatever prefix
    holds most of the model's paths is taken for the model; other things saved beside it are not read.

    Parameters
    ----------
    wanted
        Dotted path -> (shape, dtype) of every array of the model.
    prefix
        A part of the path before the model's own, such as ``"ema_params"``, where the model is there more than once.

    Raises
    ------
    CheckpointError
        Nothing found, an array is missing or has another shape (path and both shapes are named), or several parts of
        the checkpoint fit equally well.
    """
    folder = Path(path).absolute()
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such checkpoint folder")
    items = _items(folder)
    found: dict[str, tuple[Path, Keys, object]] = {}
    for prefixed, item in items:
        for keys, leaf in _leaves(_metadata(item)):
            found[".".join([*prefixed, *_clean(keys)])] = (item, keys, leaf)
    shapes = {name: tuple(getattr(leaf, "shape", None) or ()) for name, (_, _, leaf) in found.items()}
    chosen = {name: found[full] for name, full in places(folder, shapes, wanted, prefix).items()}
    arrays: dict[str, np.ndarray] = {}
    for item in {entry[0] for entry in chosen.values()}:
        ours = {name: keys for name, (where, keys, _) in chosen.items() if where == item}
        tree = _read(item, list(ours.values()))
        for name, keys in ours.items():
            arrays[name] = np.asarray(_at(tree, keys))
    return {name: arrays[name] for name in wanted}


def _items(folder: Path) -> list[tuple[tuple[str, ...], Path]]:
    """The Orbax checkpoints to look in: the folder itself, or every item of its highest step."""
    step = folder
    while not (step / "_METADATA").is_file():
        steps = [child for child in step.iterdir() if child.is_dir() and _number(child.name) is not None]
        if steps:
            step = max(steps, key=lambda child: _number(child.name) or 0)
            continue
        items = [child for child in sorted(step.iterdir()) if (child / "_METADATA").is_file()]
        if items:
            return [((child.name,), child) for child in items]
        raise CheckpointError(f"{folder}: no Orbax checkpoint here (no _METADATA in it or in its newest step)")
    return [((), step)]


def _number(name: str) -> int | None:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isdigit() else None


def _metadata(item: Path) -> Tree:
    try:
        with ocp.PyTreeCheckpointer() as reader:
            return reader.metadata(item).item_metadata.tree
    except Exception as error:  # Orbax has no exception type of its own for a damaged file.
        raise CheckpointError(f"{item}: not a readable Orbax checkpoint ({error})") from error


def _leaves(tree: Tree, keys: Keys = ()) -> list[tuple[Keys, Tree]]:
    if isinstance(tree, Mapping):
        return [pair for key, value in tree.items() for pair in _leaves(value, (*keys, key))]
    if isinstance(tree, (list, tuple)):
        return [pair for key, value in enumerate(tree) for pair in _leaves(value, (*keys, key))]
    return [(keys, tree)]


def _clean(keys: Keys) -> list[str]:
    parts = [str(key) for key in keys]
    return parts[:-1] if len(parts) > 1 and parts[-1] in ("value", "raw_value") else parts


def _read(item: Path, paths: list[Keys]) -> Tree:
    """Only these leaves, as NumPy arrays."""
    leaf = object()
    tree: Tree = {}
    arguments: Tree = {}
    for keys in paths:
        for root, value in ((tree, leaf), (arguments, ocp.RestoreArgs(restore_type=np.ndarray))):
            node = root
            for key in keys[:-1]:
                node = node.setdefault(key, {})
            node[keys[-1]] = value
    try:
        with ocp.PyTreeCheckpointer() as reader:
            return reader.restore(
                item, args=ocp.args.PyTreeRestore(item=tree, restore_args=arguments, partial_restore=True)
            )
    except Exception as error:  # As above.
        raise CheckpointError(f"{item}: cannot be read ({error})") from error


def _at(tree: Tree, keys: Keys) -> Tree:
    for key in keys:
        tree = tree[key]
    return tree
