"""Train a backbone and a linear head on samples: the losses, the batches and the compiled step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from extend.backbone.base import Backbone
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.heads.links import Link
from extend.memory.fisher import Fisher
from extend.training.parameters import adapted
from extend.training.settings import Training


@dataclass(frozen=True)
class Anchors:
    """What holds a backbone near to what it was; each part is off at 0.

    Args:
        distillation: weight of the cross-entropy between the old classes' probabilities before and now, at
            `temperature` (LwF, Li & Hoiem 2016, equation 2).
        features: weight of the mean squared change of a feature, in units of its variance.
        ewc: weight of ``1/2 sum_i F_i (theta_i - theta_i before)^2`` (EWC, Kirkpatrick et al. 2017, equation 3).
        fisher: F, needed for `ewc`.
    """

    distillation: float = 0.0
    features: float = 0.0
    ewc: float = 0.0
    fisher: Fisher | None = None
    temperature: float = 2.0


def _loss(
    backbone: Backbone, how: Training, anchors: Anchors, start: int, old: int, link: Link, drawn: bool, seed: int
) -> Callable[..., tuple[jax.Array, Any]]:
    anchored = bool((anchors.distillation and old) or anchors.features)

    def features(network: Any, fixed: Any, x: Any, key: Any) -> tuple[jax.Array, Any]:
        params = {"network": network, "space": fixed["space"]}
        if key is None:
            return with_matmul_kernel_gradient(backbone.apply)(params, x), {}
        return with_matmul_kernel_gradient(backbone.apply_in_training)(params, x, key)

    def loss(moved: Any, head: Any, statistics: Any, fixed: Any, batch: Any) -> tuple[jax.Array, Any]:
        if how.lora and moved:
            moved = adapted(fixed["network"], moved)
        network, x = {**fixed["network"], **statistics, **moved}, batch["x"]
        if how.mixed_precision:
            network = {name: _half(v) if name in backbone.trainable else v for name, v in network.items()}
            x = jax.tree.map(_half, x)
        key = jax.random.fold_in(jax.random.key(seed), batch["number"]) if not how.frozen_statistics else None
        rows, changed = features(network, fixed, x, key)
        rows = rows.astype(jnp.float32)
        scores = rows[:, start : start + len(head["kernel"])] @ head["kernel"] + head["bias"]
        total = link.loss(scores, batch["target"]).mean()
        if drawn:
            apart = batch["draws"] @ head["kernel"] + head["bias"]
            wanted = batch["drawn"]
            if not link.exclusive:  # Of the old classes what the head said before, and none of the new ones.
                before = batch["draws"] @ fixed["head"]["kernel"] + fixed["head"]["bias"]
                wanted = link.probabilities(before) * (jnp.arange(before.shape[1]) < old)
            total += link.loss(apart, wanted).mean()
        if anchored:
            before = jax.lax.stop_gradient(features(fixed["network"], fixed, batch["x"], None)[0])
            if anchors.features:
                scale = before.var(axis=0).mean() + 1e-12
                total += anchors.features * ((rows - before) ** 2).mean() / scale
            if anchors.distillation and old:
                first = fixed["head"]
                teacher = before[:, start : start + len(first["kernel"])] @ first["kernel"] + first["bias"]
                total += anchors.distillation * link.distil(teacher[:, :old], scores[:, :old], anchors.temperature)
        if anchors.ewc:
            pulls = {
                name: (fisher * (moved[name] - fixed["network"][name]) ** 2).sum()
                for name, fisher in fixed["fisher"].items()
                if name in moved
            }
            total += 0.5 * anchors.ewc * sum(pulls.values())
        return total, {name: changed[name].astype(value.dtype) for name, value in statistics.items()}

    return loss


def _half(leaf: Any) -> Any:
    return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
