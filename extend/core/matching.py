"""Where the arrays of a Flax model stand among the names of a checkpoint, whatever was saved around them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from extend.core.errors import CheckpointError

MOMENTS = ("opt_state", "optimizer", "optimiser")
"""Parts of a tree that repeat the model's paths for an optimiser's own purposes."""
Wanted = Mapping[str, tuple[tuple[int, ...], object]]
"""Dotted path -> (shape, dtype) of every array of a model."""


def places(
    where: str | os.PathLike[str], found: Mapping[str, Sequence[int]], wanted: Wanted, prefix: str | None = None
) -> dict[str, str]:
    """Find the name under which a checkpoint has each array of a model.

    Whatever prefix stands before most of the model's paths is taken for the model; other things that were saved beside
    it are passed over. A Linen model's parameters may stand without the name of their collection ("params").

    Parameters
    ----------
    where
        What the checkpoint is called in messages.
    found
        Dotted path -> shape of everything in the checkpoint.
    wanted
        The model's arrays.
    prefix
        A part of the path before the model's own, such as ``"ema_params"``, where the model is there more than once.

    Raises
    ------
    CheckpointError
        Nothing found, an array is missing or has another shape (path and both shapes are named), or several parts of
        the checkpoint fit equally well.

    Examples
    --------
    >>> places("x", {"state.net.kernel": [2, 3]}, {"net.kernel": ((2, 3), "float32")})
    {'net.kernel': 'state.net.kernel'}
    """
    result: dict[str, str] = {}
    taken: dict[str, str] = {}
    for collection, names in _collections(list(wanted)).items():
        start = _start(where, list(found), names, collection, prefix, taken)
        taken[collection] = start
        result |= {f"{collection}.{name}" if collection else name: start + name for name in names}
    for name, full in result.items():
        shape = list(wanted[name][0])
        if full not in found:
            raise CheckpointError(f"{where}: {full!r} is missing; the model expects shape {shape} there")
        if list(found[full]) != shape:
            raise CheckpointError(f"{where}: {full!r} has shape {list(found[full])}; the model expects {shape}")
    return {name: result[name] for name in wanted}


def _collections(wanted: Sequence[str]) -> dict[str, list[str]]:
    """The paths of a Linen model by their collections, "params" first; of an NNX model all under ""."""
    parted = [name.partition(".") for name in wanted]
    if not any(first == "params" and rest for first, _, rest in parted) or not all(rest for *_, rest in parted):
        return {"": list(wanted)}
    firsts = sorted({first for first, *_ in parted}, key=lambda first: (first != "params", first))
    return {collection: [rest for first, _, rest in parted if first == collection] for collection in firsts}


def _start(
    where: str | os.PathLike[str],
    found: Sequence[str],
    names: Collection[str],
    collection: str,
    prefix: str | None,
    taken: Mapping[str, str],
) -> str:
    """What stands before these paths in the checkpoint, with its dot; "" at the root."""
    counts = _counts(found, names)
    if not counts:
        raise CheckpointError(
            f"{where}: none of the model's parameters is in it; it holds {_some(found)}, the model has {_some(names)}"
        )
    if prefix is not None:
        chosen = {start: count for start, count in counts.items() if f".{prefix.strip('.')}." in f".{start}"}
        if not chosen and not taken:
            raise CheckpointError(f"{where}: prefix={prefix!r} is none of {_some(counts)}, where the model's paths are")
        counts = chosen or counts
    best = max(counts.values())
    fitting = sorted(start for start, count in counts.items() if count == best)
    beside = taken.get("params", "").replace("params", collection) if taken else ""
    for better in ([s for s in fitting if s == beside], [s for s in fitting if f".{s}".endswith(f".{collection}.")]):
        if collection and len(fitting) > 1 and len(better) == 1:
            fitting = better
    if len(fitting) > 1:
        raise CheckpointError(
            f"{where}: the model's parameters are in it more than once, under {_some(fitting)}; name one with prefix="
        )
    return fitting[0]


def _counts(found: Iterable[str], names: Collection[str]) -> dict[str, int]:
    """How many of these paths stand behind each prefix."""
    counts: dict[str, int] = {}
    wanted = set(names)
    for name in found:
        parts = name.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in wanted and not set(parts[:place]) & set(MOMENTS):
                start = "".join(f"{part}." for part in parts[:place])
                counts[start] = counts.get(start, 0) + 1
    return counts


def _some(names: Iterable[str]) -> str:
    given = sorted(name.rstrip(".") or "the root" for name in names)
    return ", ".join(map(repr, given[:3])) + (f" and {len(given) - 3} more" if len(given) > 3 else "")
