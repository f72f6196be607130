"""Which parameters of a backbone a training moves, by name or by pattern, and low-rank adapters on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from extend.backbone import Backbone
from extend.core.errors import ArgumentError

Select = str | Sequence[str] | Callable[[str], bool]


def select(backbone: Backbone, which: Select) -> tuple[str, ...]:
    """Return the names of the parameters to train.

    Parameters
    ----------
    which
        ``"all"``; ``"none"``; ``"norm"`` for the scales and offsets of normalising layers; ``"last_block"`` for the
        last of the outermost layers that are called and have parameters, before the head; a pattern such as
        ``"stage3.*"``, the path of a layer, or several of these; or a function of a parameter's name.

    Raises
    ------
    ArgumentError
        The backbone cannot be trained, or nothing is selected; the message lists what there is.

    Examples
    --------
    >>> from flax import nnx
    >>> from extend.backbone import FlaxBackbone
    >>> from extend.data import Array
    >>> from extend.models import MLP
    >>> model = MLP(2, inputs=4, hidden=(8, 8), rngs=nnx.Rngs(0))
    >>> backbone = FlaxBackbone.from_nnx(model, 2, Array((4,)))
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
    """Whether a pattern of `select` means the parameter of this name."""
    plain = name.removeprefix("params.")
    if pattern == "all":
        return True
    if pattern == "norm":
        return f"{name.rpartition('.')[0]}.scale" in backbone.trainable
    if pattern == "last_block":
        return bool(backbone.blocks) and plain.startswith(f"{backbone.blocks[-1]}.")
    return any(fnmatchcase(full, pattern) or full.startswith(f"{pattern}.") for full in (name, plain))


def adapters(params: Mapping[str, Array], rank: int, seed: int) -> dict[str, dict[str, Array]]:
    """Make low-rank adapters of dense and convolution kernels (LoRA, Hu et al. 2021, section 4.1).

    A kernel ``[..., out]`` of m x out numbers gets ``down [m, rank]``, which is drawn, and ``up [rank, out]``, which is
    zero: at first the network is unchanged. Other parameters get no adapter.

    Raises
    ------
    ArgumentError
        No kernel is among these parameters.
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


def adapted(params: Mapping[str, Array], changes: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Return the kernels with their adapters added."""
    return {
        name: params[name] + (change["down"] @ change["up"]).reshape(params[name].shape).astype(params[name].dtype)
        for name, change in changes.items()
    }
