"""The loss of a backbone and a linear head on a batch, and what holds a backbone near to what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from extend.backbone import Backbone
from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.heads import Link
from extend.memory import Fisher
from extend.training.parameters import adapted
from extend.training.settings import Training

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Anchors:
    """What holds a backbone near to what it was; each part is off at 0.

    Parameters
    ----------
    distillation
        The weight of the cross-entropy between the old classes' probabilities before and now, at `temperature` (LwF,
        Li & Hoiem 2016, equation 2).
    features
        The weight of the mean squared change of a feature, in units of its variance.
    ewc
        The weight of ``1/2 sum_i F_i (theta_i - theta_i before)^2`` (EWC, Kirkpatrick et al. 2017, equation 3).
    fisher
        F, which `ewc` needs.
    temperature
        The temperature of the distillation.

    Raises
    ------
    ArgumentError
        There is no F for `ewc`.
    """

    distillation: float = 0.0
    features: float = 0.0
    ewc: float = 0.0
    fisher: Fisher | None = None
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.ewc and self.fisher is None:
            raise ArgumentError("ewc needs the Fisher diagonal")


class Fixed(NamedTuple):
    """What no step of a training changes.

    `network` and `space` are the backbone's parameters before the training, `head` is the head that it begins with, and
    `fisher` is the mean Fisher diagonal of the parameters that move; it is empty without EWC.
    """

    network: Arrays
    space: PyTree
    head: Arrays
    fisher: Arrays


@dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch, as a function of what moves.

    Parameters
    ----------
    backbone, training
        What is trained, and how.
    link
        Turns scores into probabilities.
    start
        The first feature that the head reads.
    anchors, old
        What holds the backbone, and the number of classes that it holds.
    drawn
        Whether batches hold draws of feature vectors, which train the head alone.
    seed
        The seed of dropout.
    """

    backbone: Backbone
    training: Training
    link: Link
    start: int = 0
    anchors: Anchors = Anchors()
    old: int = 0
    drawn: bool = False
    seed: int = 0

    def __call__(
        self, moved: PyTree, head: Arrays, statistics: Arrays, fixed: Fixed, batch: Mapping[str, PyTree]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Return the loss, and the statistics of batch norm after the batch.

        Parameters
        ----------
        moved
            The backbone's parameters that move, or the adapters on them.
        head
            The head's ``kernel [d, k]`` and ``bias [k]``.
        statistics
            The statistics that training mode changes and no gradient does.
        fixed, batch
            What does not move, and the batch with ``x``, ``target``, ``number`` and perhaps ``draws`` and ``drawn``.
        """
        if self.training.lora and moved:
            moved = adapted(fixed.network, moved)
        rows, changed = self._features_now(moved, statistics, fixed, batch)
        scores = self._scores(rows, head)
        total = self.link.loss(scores, batch["target"]).mean()
        if self.drawn:
            total += self._loss_of_draws(head, fixed, batch)
        for pull in self._pulls(rows, scores, fixed, batch):
            total += pull
        if self.anchors.ewc:
            total += self._elastic(moved, fixed)
        return total, {name: changed[name].astype(value.dtype) for name, value in statistics.items()}

    def _features(
        self, network: Arrays, fixed: Fixed, x: PyTree, key: PRNGKeyArray | None
    ) -> tuple[Float[Array, "n d"], dict[str, Array]]:
        params = {"network": network, "space": fixed.space}
        if key is None:
            return with_matmul_kernel_gradient(self.backbone.apply)(params, x), {}
        return with_matmul_kernel_gradient(self.backbone.apply_in_training)(params, x, key)

    def _features_now(
        self, moved: Arrays, statistics: Arrays, fixed: Fixed, batch: Mapping[str, PyTree]
    ) -> tuple[Float[Array, "n d"], dict[str, Array]]:
        network, x = {**fixed.network, **statistics, **moved}, batch["x"]
        if self.training.mixed_precision:
            network = {name: _half(v) if name in self.backbone.trainable else v for name, v in network.items()}
            x = jax.tree.map(_half, x)
        still = self.training.frozen_statistics
        key = None if still else jax.random.fold_in(jax.random.key(self.seed), batch["number"])
        rows, changed = self._features(network, fixed, x, key)
        return rows.astype(jnp.float32), changed

    def _scores(self, rows: Float[Array, "n d"], head: Arrays) -> Float[Array, "n k"]:
        return rows[:, self.start : self.start + len(head["kernel"])] @ head["kernel"] + head["bias"]

    def _loss_of_draws(self, head: Arrays, fixed: Fixed, batch: Mapping[str, PyTree]) -> Float[Array, ""]:
        scores = batch["draws"] @ head["kernel"] + head["bias"]
        wanted = batch["drawn"]
        if not self.link.exclusive:  # Of the old classes what the head said before, and none of the new ones.
            before = batch["draws"] @ fixed.head["kernel"] + fixed.head["bias"]
            wanted = self.link.probabilities(before) * (jnp.arange(before.shape[1]) < self.old)
        return self.link.loss(scores, wanted).mean()

    def _pulls(
        self, rows: Float[Array, "n d"], scores: Float[Array, "n k"], fixed: Fixed, batch: Mapping[str, PyTree]
    ) -> Iterator[Float[Array, ""]]:
        """Give the terms that pull features and old scores to what they were before the training."""
        how = self.anchors
        distilled = how.distillation and self.old
        if not (how.features or distilled):
            return
        before = jax.lax.stop_gradient(self._features(fixed.network, fixed, batch["x"], None)[0])
        if how.features:
            variance = before.var(axis=0).mean()
            yield how.features * ((rows - before) ** 2).mean() / jnp.where(variance > 0, variance, 1)
        if distilled:
            teacher, student = (part[:, : self.old] for part in (self._scores(before, fixed.head), scores))
            yield how.distillation * self.link.distil(teacher, student, how.temperature)

    def _elastic(self, moved: Arrays, fixed: Fixed) -> Float[Array, ""]:
        pulls = [
            (fisher * (moved[name] - fixed.network[name]) ** 2).sum()
            for name, fisher in fixed.fisher.items()
            if name in moved
        ]
        return 0.5 * self.anchors.ewc * sum(pulls, jnp.zeros(()))


def _half(leaf: Array) -> Array:
    return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
