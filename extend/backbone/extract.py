"""Stream samples through a backbone: one compilation, padded batches, sharded over devices, cached on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int, PyTree

from extend.backbone.base import Backbone
from extend.core.errors import ArgumentError
from extend.data import Batch, Features, Progress, Samples, shown


def extract(
    backbone: Backbone, samples: Samples, *, progress: Progress | None = None, cache: Path | None = None
) -> Features:
    """Return the features of samples; each input is seen once.

    Parameters
    ----------
    backbone, samples
        What the features are of.
    progress
        Wraps the batches, such as ``tqdm.tqdm``.
    cache
        A folder where features are kept, keyed by the backbone's fingerprint and the samples' content.

    Raises
    ------
    ArgumentError
        The backbone gives NaN or infinity.

    Examples
    --------
    >>> from extend.backbone import FunctionBackbone
    >>> from extend.data import Array, read
    >>> backbone = FunctionBackbone.of(lambda x: 2 * x, Array((3,)))
    >>> extract(backbone, read({"a": np.ones((2, 3))}, backbone.inputs)).features.tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """
    return _labelled(samples, finish(backbone, embed(backbone, samples, progress=progress, cache=cache)))


def embed(
    backbone: Backbone, samples: Samples, *, progress: Progress | None = None, cache: Path | None = None
) -> Float[np.ndarray, "n joined"]:
    """Return the joined features, before the feature space scales or transforms them. Parameters as `extract`."""
    file = None
    if cache is not None:
        # The space's fitted scales do not matter here: only what the network itself computes is kept.
        key = hashlib.sha256(backbone.with_space({}).fingerprint.encode() + samples.keys.tobytes())
        file = cache / f"{key.hexdigest()}.npy"
        if file.exists():
            return np.load(file, allow_pickle=False)
    run = backbone.compiled[0]
    params, place = replicated(backbone.params)
    parts = [run(params, place(batch)) for batch, _ in batches(backbone, samples, progress)]
    joined = np.concatenate([np.asarray(part) for part in parts])[: len(samples)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, joined)
        os.replace(partial, file)
    return joined


def finish(backbone: Backbone, joined: Float[np.ndarray, "n joined"]) -> Float[np.ndarray, "n d"]:
    """Return the features that joined features become, in the same padded batches."""
    if backbone.space.plain and not backbone.space.taps:
        return np.asarray(joined, np.float32)
    size = backbone.batch_size
    params = jax.device_put({"space": backbone.params["space"]})
    run = backbone.compiled[1]
    parts = [run(params, _pad(joined[start : start + size], size)) for start in range(0, max(1, len(joined)), size)]
    return np.concatenate([np.asarray(part) for part in parts])[: len(joined)]


def batches(
    backbone: Backbone, samples: Samples, progress: Progress | None = None
) -> Iterator[tuple[Batch, Int[np.ndarray, " rows"]]]:
    """Return batches of one size, the last padded with zeros, each with the numbers of its rows."""
    size = backbone.batch_size
    starts = range(0, max(1, len(samples)), size)  # No samples are one batch of zeros, of which no row counts.
    for start in shown(starts, len(starts), progress, "batches through the backbone"):
        stop = min(start + size, len(samples))
        batch = samples.batch(start, stop, backbone.inputs)
        yield jax.tree.map(lambda leaf: _pad(leaf, size), batch), np.arange(start, stop)


def replicated(params: PyTree) -> tuple[PyTree, Callable[[Batch], Batch]]:
    """Return parameters on every device, and a function that shards a batch over the devices."""
    devices = jax.devices()
    if len(devices) == 1:
        return jax.device_put(params), lambda batch: batch
    mesh = Mesh(np.asarray(devices), ("batch",))
    rows, whole = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())

    def place(batch: Batch) -> Batch:
        fits = all(len(leaf) % len(devices) == 0 for leaf in jax.tree.leaves(batch))
        return jax.device_put(batch, rows if fits else whole)

    return jax.device_put(params, whole), place


def _labelled(samples: Samples, features: np.ndarray) -> Features:
    if not np.isfinite(features).all():
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        raise ArgumentError(
            f"the backbone gave NaN or infinity for {len(bad)} samples, the first at row {bad[0]}; "
            "look at its parameters and at how inputs are scaled"
        )
    return Features(features, samples.labels, samples.classes, samples.keys)


def _pad(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])
