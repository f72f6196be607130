"""The feature space of a classifier: penultimate features, joined with taps, transformed, widened.

These belong to the backbone: a classifier has one feature space, its memory lives there, and what is chosen here can
not be computed from statistics afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from extend.core.errors import ArgumentError

Transform: TypeAlias = Literal["sqrt", "l2", "standardise"]
Taps: TypeAlias = Iterable["str | Tap"]


@dataclass(frozen=True)
class Tap:
    """An earlier layer whose output is joined to the penultimate features.

    Parameters
    ----------
    path
        The layer, such as ``"stage2"`` or ``"stage2.layers.0"``.
    grid
        Outputs ``[n, h, w, c]`` are averaged over at most ``grid x grid`` cells.

    Examples
    --------
    >>> Tap("stage2", grid=2)
    Tap(path='stage2', grid=2)
    """

    path: str
    grid: int = 4


@dataclass(frozen=True)
class Width:
    """A frozen layer of random features on top.

    ``"relu"``: ``max(0, x W)`` (RanPAC, McDonnell et al. 2023, section 3.2). ``"fourier"``: ``cos(x W + b)``, whose
    inner products approximate a Gaussian kernel (Rahimi & Recht 2007; KLDA, Momeni et al. 2025).

    Examples
    --------
    >>> Width(4000).kind
    'relu'
    """

    size: int
    kind: Literal["relu", "fourier"] = "relu"
    seed: int = 0


@dataclass(frozen=True)
class Space:
    """How ``(penultimate [n, p], tap outputs)`` become features ``[n, d]``.

    With `keep`, a transform or width is appended after the untouched penultimate features, on which the model's own
    head acts; `offset` is where the appended part begins.
    """

    taps: tuple[Tap, ...] = ()
    transform: Transform | None = None
    width: Width | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        if self.transform not in (None, "sqrt", "l2", "standardise"):
            raise ArgumentError(f"transform is {self.transform!r}; expected 'sqrt', 'l2', 'standardise' or None")
        if self.width is not None and (self.width.size < 1 or self.width.kind not in ("relu", "fourier")):
            raise ArgumentError(f"width is {self.width}; expected Width(size >= 1, kind='relu' or 'fourier')")

    @property
    def plain(self) -> bool:
        """Whether features are the joined ones, with neither transform nor width."""
        return self.transform is None and self.width is None

    def offset(self, penultimate: int) -> int:
        return penultimate if self.keep and not self.plain else 0

    def join(self, penultimate: jax.Array, taps: tuple[jax.Array, ...]) -> jax.Array:
        """``[n, p]`` and tap outputs -> joined float32 ``[n, j]``, before any scaling."""
        parts = [_pool(output, tap.grid) for output, tap in zip(taps, self.taps, strict=True)]
        return jnp.concatenate([penultimate.reshape(penultimate.shape[0], -1), *parts], axis=1).astype(jnp.float32)

    def init(self, joined: int) -> dict[str, Any]:
        """Parameters before any data: unit scale, and the random layer."""
        names = ("mean", "scale", "tap_scale")
        params: dict[str, Any] = {name: np.full(joined, name != "mean", np.float32) for name in names}
        if self.width is not None:
            rng = np.random.default_rng(self.width.seed)
            params["weights"] = (rng.standard_normal((joined, self.width.size)) / np.sqrt(joined)).astype(np.float32)
            params["phase"] = rng.uniform(0, 2 * np.pi, self.width.size).astype(np.float32)
        return params

    def fit(self, joined: np.ndarray, parts: tuple[int, ...]) -> dict[str, Any]:
        """Parameters from the base data's joined features ``[n, j]``: means, and scales to unit variance.

        `parts` are the widths of the penultimate features and of each tap. A tap has one scale, so that it has unit
        variance on average: a scale a column would enlarge the noise of units that hardly ever fire.
        """
        params = self.init(joined.shape[1])
        rows = np.asarray(joined, np.float64)
        spread = rows.std(axis=0)
        moving = spread[spread > 1e-12 * np.abs(rows.mean(axis=0))]
        floor = 1e-3 * float(np.median(spread)) or (float(np.median(moving)) if len(moving) else 1.0)
        params["mean"] = rows.mean(axis=0).astype(np.float32)
        params["scale"] = (1 / np.maximum(spread, floor)).astype(np.float32)
        edges = np.cumsum(parts)
        for start, stop in pairwise(edges):
            params["tap_scale"][start:stop] = 1 / (float(np.sqrt((spread[start:stop] ** 2).mean())) or 1.0)
        return params

    def map(self, params: Any, joined: jax.Array, penultimate: int) -> jax.Array:
        """Joined features ``[n, j]`` -> features ``[n, d]``."""
        own = joined[:, :penultimate]
        scaled = joined[:, penultimate:] * params["tap_scale"][penultimate:]
        features = jnp.concatenate([own, scaled], axis=1) if self.taps else joined
        if self.plain:
            return features
        if self.transform == "sqrt":
            features = jnp.sign(features) * _root(jnp.abs(features))
        elif self.transform == "l2":
            peak = jnp.abs(features).max(axis=1, keepdims=True)  # Squares of tiny or huge numbers are no float32.
            features = features / jnp.where(peak > 0, peak, 1)
            length = _root((features**2).sum(axis=1, keepdims=True))
            features = features / jnp.where(length > 0, length, 1)
        elif self.transform == "standardise":
            features = (joined - params["mean"]) * params["scale"]
        if self.width is not None:
            if self.transform is None:
                features = joined * params["scale"]
            product = jnp.matmul(features, params["weights"], precision="highest")
            features = jnp.maximum(product, 0) if self.width.kind == "relu" else jnp.cos(product + params["phase"])
        return jnp.concatenate([own, features], axis=1) if self.keep else features

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Space:
        width = Width(**saved["width"]) if saved["width"] else None
        return cls(tuple(Tap(**tap) for tap in saved["taps"]), saved["transform"], width, saved["keep"])


def space_of(
    taps: Taps, transform: Transform | None, width: int | Width | None, layers: Sequence[str] | None = None
) -> Space:
    """Make a feature space from the forms in which users say it.

    Parameters
    ----------
    layers
        The layers of the model, in which taps must be.

    Raises
    ------
    ArgumentError
        A tap is not one of `layers`, or a setting is not known.
    """
    wanted = tuple(Tap(tap) if isinstance(tap, str) else tap for tap in taps)
    for tap in wanted:
        if layers is not None and tap.path not in layers:
            raise ArgumentError(f"tap {tap.path!r} is not a layer of this model; there are: {', '.join(layers)}")
    return Space(wanted, transform, Width(width) if isinstance(width, int) else width)


def _root(x: jax.Array) -> jax.Array:
    """The square root, with gradient 0 at 0 in place of infinity."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _pool(output: jax.Array, grid: int) -> jax.Array:
    """``[n, h, w, c]`` averaged over cells to ``[n, min(h, grid) * min(w, grid) * c]``; ``[n, ...]`` flattened."""
    if output.ndim != 4:
        return output.reshape(output.shape[0], -1)
    for axis in (1, 2):
        cells = min(output.shape[axis], grid)
        edges = [round(i * output.shape[axis] / cells) for i in range(cells + 1)]
        means = [
            jax.lax.slice_in_dim(output, a, b, axis=axis).mean(axis=axis, keepdims=True) for a, b in pairwise(edges)
        ]
        output = jnp.concatenate(means, axis=axis)
    return output.reshape(output.shape[0], -1)
