"""Which of a backbone's parameters a training moves: by name, or by pattern; and low-rank adapters on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from extend.backbone.base import Backbone
from extend.backbone.extract import batches
from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.data.samples import Samples
from extend.heads.base import Head
from extend.memory.fisher import Fisher, measure_fisher
from extend.memory.herding import in_turns

Select = str | Sequence[str] | Callable[[str], bool]


def select(backbone: Backbone, which: Select) -> tuple[str, ...]:
    """The names of the parameters to train.

    Args:
        which: ``"all"``; ``"none"``; ``"norm"``: scales and offsets of normalising layers; ``"last_block"``: the last
            of the outermost layers that are called and have parameters, before the head; a pattern such as
            ``"stage3.*"``, a layer's path, or several of these; or a function of a parameter's name.

    Raises:
        ValueError: the backbone cannot be trained, or nothing is selected; the message lists what there is.

    >>> from flax import nnx
    >>> from extend.models import MLP
    >>> import jax
    >>> model = MLP(2, inputs=4, hidden=(8, 8), rngs=nnx.Rngs(0))
    >>> backbone = FlaxBackbone.from_nnx(model, 2, jax.ShapeDtypeStruct((4,), np.float32))
    >>> len(select(backbone, "all")), len(select(backbone, "*.kernel"))
    (4, 2)
    """
    names = backbone.trainable
    if not names:
        raise ArgumentError(
            f"the backbone {backbone.description['class']!r} has no parameters that can be trained here: a function "
            "must be written in JAX and be given with params="
        )
    if callable(which):
        chosen = [name for name in names if which(name)]
    elif which == "none":
        return ()
    else:
        wanted = [which] if isinstance(which, str) else list(which)
        chosen = [name for name in names if any(_matches(backbone, name, pattern) for pattern in wanted)]
    if not chosen:
        raise ArgumentError(f"select={which!r} selects no parameter; there are {', '.join(names)}")
    return tuple(chosen)


def _matches(backbone: Backbone, name: str, pattern: str) -> bool:
    plain = name.removeprefix("params.")
    if pattern == "all":
        return True
    if pattern == "norm":
        return f"{name.rpartition('.')[0]}.scale" in backbone.trainable
    if pattern == "last_block":
        return bool(backbone.blocks) and plain.startswith(f"{backbone.blocks[-1]}.")
    return any(fnmatchcase(full, pattern) or full.startswith(f"{pattern}.") for full in (name, plain))


def adapters(params: Mapping[str, Any], rank: int, seed: int) -> dict[str, dict[str, Any]]:
    """Low-rank adapters of dense and convolution kernels (LoRA, Hu et al. 2021, section 4.1); others have none.

    A kernel ``[..., out]`` of m x out numbers gets ``down [m, rank]``, drawn, and ``up [rank, out]``, zero: at first
    the network is unchanged.

    Raises:
        ValueError: no kernel is among these parameters.
    """
    rng = np.random.default_rng(seed)
    made = {}
    for name, value in params.items():
        if np.ndim(value) >= 2:
            rows, columns = int(np.prod(np.shape(value)[:-1])), np.shape(value)[-1]
            down = rng.standard_normal((rows, rank)) / np.sqrt(rows)
            made[name] = {
                "down": jnp.asarray(down, jnp.float32),
                "up": jnp.zeros((rank, columns), jnp.float32),
            }
    if not made:
        raise ArgumentError(f"lora={rank} adapts kernels, and none is selected; there are {', '.join(params)}")
    return made


def adapted(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The kernels with their adapters added."""
    return {
        name: params[name] + (change["down"] @ change["up"]).reshape(params[name].shape).astype(params[name].dtype)
        for name, change in changes.items()
    }


FISHER_SAMPLES, FISHER_BATCH = 500, 50


def fisher_of(backbone: Backbone, head: Head, samples: Samples, seed: int = 0) -> Fisher:
    """The Fisher diagonal of a classifier's backbone, on at most 500 of these samples, every class alike.

    Raises:
        ValueError: the backbone has no parameters that a gradient could move.
    """
    if not backbone.trainable:
        raise ArgumentError(
            f"fisher= is of a backbone's parameters, and {backbone.description['class']!r} has none that JAX can trace"
        )
    taken = samples.take(in_turns(samples.labels, np.random.default_rng(seed))[:FISHER_SAMPLES])
    network, space = backbone.params["network"], backbone.params["space"]

    def scores(params: Any, batch: Any) -> jax.Array:
        return head.logits(
            with_matmul_kernel_gradient(backbone.apply)({"network": {**network, **params}, "space": space}, batch)
        )

    def padded() -> Iterator[tuple[Any, np.ndarray]]:
        small = backbone.with_batch_size(min(FISHER_BATCH, len(taken)))
        for batch, rows in batches(small, taken):
            yield batch, np.arange(small.batch_size) < len(rows)

    params = {name: network[name] for name in backbone.trainable}
    return measure_fisher(scores, params, padded(), head.link, seed)
