"""The quadratic head: Gaussians with covariances of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from extend.heads.base import AnyArray, checked_columns
from extend.heads.links import SOFTMAX, Link

QUADRATIC = ("centre", "whiten", "square", "linear", "bias", "factor", "shift", "owner")


@partial(jax.tree_util.register_dataclass, data_fields=QUADRATIC, meta_fields=("start", "link"))
@dataclass(frozen=True, eq=False)
class QuadraticHead:
    """A head of one Gaussian for each class.

    With ``z = (x - centre) whiten``, scores are ``z^2 @ square + z @ linear + bias + (z @ factor - shift)^2 @ owner``.

    Parameters
    ----------
    centre, whiten
        float32 ``[d]`` and ``[d, d]``: where and how the features are whitened.
    square, linear, bias
        float32 ``[d, k]``, ``[d, k]`` and ``[k]``; `square` is minus half the part of a class's precision that is the
        same in all directions.
    factor, shift
        float32 ``[d, r]`` and ``[r]``: the r directions, of all classes together, in which precisions differ.
    owner
        float32 ``[r, k]``: which class a direction belongs to, with its sign and weight.
    start
        The first feature that the head reads.

    Examples
    --------
    >>> head = QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]])
    >>> head.scores(np.array([[0.0], [1.0]])).argmax(axis=1).tolist()
    [0, 1]
    """

    centre: AnyArray
    whiten: AnyArray
    square: AnyArray
    linear: AnyArray
    bias: AnyArray
    factor: AnyArray
    shift: AnyArray
    owner: AnyArray
    start: int = 0
    link: Link = SOFTMAX

    @classmethod
    def of(cls, *arrays: ArrayLike, start: int = 0) -> QuadraticHead:
        """Make a head from arrays of any precision, in the order of the fields."""
        narrow: list = [np.asarray(array, np.float32) for array in arrays]
        return replace(cls(*narrow), start=start)

    @property
    def num_classes(self) -> int:
        return self.bias.shape[0]

    @property
    def rows(self) -> tuple[int, int]:
        return self.start, self.start + self.centre.shape[0]

    def logits(self, features: Float[Array, "n d"]) -> Float[Array, "n k"]:
        """Return the logarithms of the densities, up to a constant."""
        with jax.default_matmul_precision("highest"):
            parts = (getattr(self, name) for name in QUADRATIC)
            return _quadratic(features[:, slice(*self.rows)], *parts)

    def scores(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the same as `logits`, in float64 on the host."""
        wide = (np.asarray(getattr(self, name), np.float64) for name in QUADRATIC)
        return _quadratic(features[:, slice(*self.rows)].astype(np.float64), *wide)

    def drop(self, columns: Sequence[int]) -> QuadraticHead:
        """Return this head without these classes and their directions."""
        gone = checked_columns(columns, self.num_classes)
        stay = np.asarray([i for i in range(self.num_classes) if i not in gone], int)
        mine = np.abs(np.asarray(self.owner)[:, stay]).sum(axis=1) > 0
        return replace(
            self,
            square=np.asarray(self.square)[:, stay],
            linear=np.asarray(self.linear)[:, stay],
            bias=np.asarray(self.bias)[stay],
            factor=np.asarray(self.factor)[:, mine],
            shift=np.asarray(self.shift)[mine],
            owner=np.asarray(self.owner)[mine][:, stay],
        )

    def plus(self, own: float, kernel: Float[np.ndarray, "d k"], bias: Float[np.ndarray, " k"]) -> QuadraticHead:
        """Return the head with scores ``own * these + x @ kernel + bias``, x the features that this head reads."""
        centre, whiten, square, linear, shift, owner = (
            np.asarray(part, np.float64)
            for part in (self.centre, self.whiten, self.square, self.linear, self.bias, self.owner)
        )
        return replace(
            self,
            square=(own * square).astype(np.float32),
            linear=(own * linear + np.linalg.solve(whiten, kernel)).astype(np.float32),  # x = z / whiten + centre.
            bias=(own * shift + bias + centre @ kernel).astype(np.float32),
            owner=(own * owner).astype(np.float32),
        )

    def as_linear(self) -> None:
        """Return None: covariances of their own are no linear head."""

    def plain(self) -> QuadraticHead:
        """Return this head: it has no corrections."""
        return self


Kind = TypeVar("Kind", np.ndarray, jax.Array)


def _quadratic(
    x: Kind,
    centre: Kind,
    whiten: Kind,
    square: Kind,
    linear: Kind,
    bias: Kind,
    factor: Kind,
    shift: Kind,
    owner: Kind,
) -> Kind:
    z = (x - centre) @ whiten
    away = z @ factor - shift
    return (z * z) @ square + z @ linear + bias + (away * away) @ owner
