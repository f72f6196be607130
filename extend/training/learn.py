"""TODO"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from extend.backbone.base import Backbone
from extend.core.errors import ArgumentError
from extend.data import Progress
from extend.data.samples import Samples
from extend.heads.links import SOFTMAX, Link
from extend.training.batches import _batches, _targets
from extend.training.loop import Outcome, train
from extend.training.objective import Anchors, _loss
from extend.training.optimiser import _adam
from extend.training.parameters import adapted, adapters, select
from extend.training.settings import Training
from extend.training.state import Identity, behaviour, identify


@dataclass(frozen=True, eq=False)
class Learnt:
    """The network's changed parameters, the trained head (kernel ``[d, k]``, bias ``[k]``), and how it went."""

    network: dict[str, np.ndarray]
    kernel: np.ndarray
    bias: np.ndarray
    outcome: Outcome


def learn(
    backbone: Backbone,
    kernel: np.ndarray,
    bias: np.ndarray,
    samples: Samples,
    how: Training,
    *,
    start: int = 0,
    old: int = 0,
    link: Link = SOFTMAX,
    anchors: Anchors = Anchors(),
    draws: tuple[np.ndarray, np.ndarray] | None = None,
    measure: Callable[[Mapping[str, Any], np.ndarray, np.ndarray], Mapping[str, float]] | None = None,
    per_epoch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Learnt:
    """Minimise the cross-entropy of a linear head on a backbone's features, by moving both.

    Args:
        kernel, bias: the head to begin with, ``[d, k]`` and ``[k]``, on the features from column `start` on.
        samples: to train on, labelled into the k classes. Where classes do not exclude each other, samples of the same content
            are one with several labels; that a sample is *not* of one of the first `old` classes is not known then.
        old: the classes that `anchors` hold.
        draws: feature vectors ``[m, d]``, the columns that the head reads, and labels of classes without samples: they
            train the head alone. With a sigmoid they are of the old classes as the head says before, and of no new one.
        measure: ``(network parameters, kernel, bias) -> {"score": ...}`` at the end of every epoch.
        per_epoch: steps; by default as many as pass over the samples once.

    Raises:
        ValueError: nothing is selected, the first loss is not finite, or `state` or `patience` do not fit (see
            `extend.training.loop.train`).
    """
    names = check_training(backbone, how)
    network = backbone.params["network"]
    begun = {name: jnp.asarray(network[name]) for name in names}
    moving: Any = adapters(begun, how.lora, seed) if how.lora and names else begun
    held = {name: jnp.asarray(value) for name, value in network.items()}
    free = () if how.frozen_statistics else _statistics(backbone, samples)
    steps = per_epoch or max(1, -(-len(samples) // how.batch_size))
    # One vector of all that moves: with a hundred leaves, XLA takes a minute to compile what surrounds the gradient.
    vector, unpack = ravel_pytree(moving)
    statistics, unpack_statistics = ravel_pytree({name: held[name] for name in free})
    head = {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(bias, jnp.float32)}
    whole = {"network": moving, "head": head}
    optimiser = how.optimiser or _adam(how, steps, moving)
    state = {
        "network": vector,
        "head": head,
        "statistics": statistics,
        "optimiser": optimiser.init(whole if how.optimiser else {**whole, "network": vector}),
    }
    fixed: dict[str, Any] = {"network": held, "space": backbone.params["space"], "head": head}
    if anchors.ewc:
        assert anchors.fisher is not None
        fixed["fisher"] = {name: jnp.asarray(value) for name, value in anchors.fisher.mean().items() if name in begun}
    loss = _loss(backbone, how, anchors, start, old, link, draws is not None, seed)

    def update(state: Any, fixed: Any, batch: Any) -> tuple[Any, jax.Array]:
        def flat(vector: Any, head: Any) -> tuple[jax.Array, Any]:
            value, after = loss(unpack(vector), head, unpack_statistics(state["statistics"]), fixed, batch)
            return value, ravel_pytree(after)[0]

        (value, after), gradient = jax.value_and_grad(flat, (0, 1), has_aux=True)(state["network"], state["head"])
        now, slope = (
            {"network": state["network"], "head": state["head"]},
            dict(zip(("network", "head"), gradient, strict=True)),
        )
        if how.optimiser:  # The user's own sees every parameter by its name.
            now, slope = ({**tree, "network": unpack(tree["network"])} for tree in (now, slope))
        change, kept = optimiser.update(slope, state["optimiser"], now)
        now = optax.apply_updates(now, change)
        if how.optimiser:
            now = {**now, "network": ravel_pytree(now["network"])[0]}
        return {**now, "statistics": after, "optimiser": kept}, value

    def network_of(state: Any) -> dict[str, Any]:
        moved = unpack(state["network"])
        moved = adapted(begun, moved) if how.lora and names else moved
        return {**moved, **unpack_statistics(state["statistics"])}

    def measured(state: Any) -> Mapping[str, float]:
        assert measure is not None
        head = state["head"]
        return measure(network_of(state), np.asarray(head["kernel"]), np.asarray(head["bias"]))

    rows, targets = _targets(samples, kernel.shape[1], old, link)
    outcome = train(
        update,
        state,
        fixed,
        _batches(backbone, samples, rows, targets, how, steps, draws, seed),
        how.epochs,
        steps,
        measure=measured if measure is not None else None,
        patience=how.patience,
        folder=Path(how.state) if how.state else None,
        identity=_identity(
            backbone, samples, how, anchors, [kernel, bias], [names, link.name, start, old, seed], whole
        ),
        progress=progress,
    )
    last = outcome.state["head"]
    final = {name: np.asarray(value) for name, value in network_of(outcome.state).items()}
    return Learnt(final, np.asarray(last["kernel"]), np.asarray(last["bias"]), outcome)


def check_training(backbone: Backbone, how: Training) -> tuple[str, ...]:
    """The names of the parameters that move; refuses, before the long work, what this backbone cannot do.

    Raises:
        ValueError: nothing is selected, no selected parameter can be adapted, pictures are to be varied and there are
            none, or statistics are to move and the model's training mode is not known.
    """
    names = select(backbone, how.select)
    if how.lora and names:
        adapters({name: backbone.params["network"][name] for name in names}, how.lora, 0)
    if (how.padding or how.flip) and backbone.inputs.as_image() is None:
        raise ArgumentError("padding and flip are for pictures, and this classifier's inputs are arrays")
    if not how.frozen_statistics and backbone.learn is None:
        raise ArgumentError(
            "this model's training mode is not known (it is a function, or was given with call=): keep its statistics "
            "frozen, as in extend.Training(frozen_statistics=True) or Joint(frozen_statistics=True)"
        )
    return names


def _statistics(backbone: Backbone, samples: Samples) -> tuple[str, ...]:
    """The names of the arrays that training mode changes and no gradient does; their dtypes are floating."""
    batch = samples.batch(0, min(2, len(samples)), backbone.inputs)
    _, changed = jax.eval_shape(
        lambda p, x: backbone.apply_in_training(p, x, jax.random.key(0)), backbone.params, batch
    )
    return tuple(name for name, leaf in changed.items() if jnp.issubdtype(leaf.dtype, jnp.floating))


def _identity(
    backbone: Backbone, samples: Samples, how: Training, anchors: Anchors, head: list[Any], more: list[Any], moving: Any
) -> Identity:
    """Of this training; draws are not looked at, as a rounding turns the axes that they are drawn along."""
    told = {**vars(how), **vars(anchors), "select": None, "state": None}
    simple = {name: value for name, value in told.items() if isinstance(value, (int, float, str, type(None)))}
    settings = [simple, more, backbone.fingerprint]
    optimiser = behaviour(how.optimiser, moving) if how.optimiser and how.state else b""
    fisher = sorted(anchors.fisher.values.items()) if anchors.fisher is not None else []
    return identify(settings, [samples.keys, samples.labels], [*head, *(value for _, value in fisher)], optimiser)
