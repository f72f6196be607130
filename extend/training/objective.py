"""Train a backbone and a linear head on samples: the losses, the batches and the compiled step."""

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

from extend.backbone.extract import Progress
from extend.backbone.flax import Backbone
from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.data.images import Image
from extend.data.samples import Samples
from extend.memory.fisher import Fisher
from extend.training.batches import _batches, _targets
from extend.training.loop import Outcome, train
from extend.training.optimiser import _adam
from extend.training.parameters import Select, adapted, adapters, select
from extend.training.state import Identity, behaviour, identify


@dataclass(frozen=True)
class Training:
    """How to train. The defaults are for moving a trained network a little.

    Args:
        select: which parameters of the backbone move, see `extend.training.parameters.select`; the head always does.
        lora: rank of adapters that move in place of the selected kernels (LoRA, Hu et al. 2021); 0: the kernels do.
        epochs, batch_size: passes over the samples (as many draws as there are), and samples a step.
        learning_rate, head_learning_rate: of Adam (Kingma & Ba 2015), falling to 0 by a cosine.
        weight_decay: of kernels, decoupled (Loshchilov & Hutter 2019).
        optimiser: an optax transformation in place of Adam, for backbone and head alike.
        balanced: every class is drawn equally often; otherwise every sample. Samples of a large class beside many small
            ones are then drawn less than once an epoch.
        frozen_statistics: batch norm keeps its means and variances, and dropout draws nothing.
        padding, flip: pictures are padded by so many pixels and cropped at random; half of them are mirrored.
        mixed_precision: the network computes in bfloat16; parameters, head and loss stay float32.
        patience: early stopping: end after so many epochs without a better held-out accuracy, and keep the best state.
        state: a folder where the state is kept after every epoch; a training that was interrupted goes on from it.

    >>> Training(epochs=3, select="last_block").epochs
    3
    """

    select: Select = "all"
    lora: int = 0
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 3e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimiser: Any = None
    balanced: bool = True
    frozen_statistics: bool = True
    padding: int = 0
    flip: bool = False
    mixed_precision: bool = False
    patience: int | None = None
    state: str | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.lora < 0 or self.padding < 0:
            raise ArgumentError(f"{self}: expected epochs >= 1, batch_size >= 1, lora >= 0, padding >= 0")
        if not (self.learning_rate > 0 and self.head_learning_rate >= 0 and self.weight_decay >= 0):
            raise ArgumentError(f"{self}: expected learning_rate > 0, head_learning_rate >= 0, weight_decay >= 0")
        if self.patience is not None and self.patience < 1:
            raise ArgumentError(f"patience is {self.patience}; expected at least 1 epoch, or None")


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
    activation: str = "softmax",
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
        samples: to train on, labelled into the k classes. With ``activation="sigmoid"``, samples of the same content
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
    loss = _loss(backbone, how, anchors, start, old, activation, draws is not None, seed)

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

    rows, targets = _targets(samples, kernel.shape[1], old, activation)
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
            backbone, samples, how, anchors, [kernel, bias], [names, activation, start, old, seed], whole
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
    if (how.padding or how.flip) and not isinstance(backbone.input_spec, Image):
        raise ArgumentError("padding and flip are for pictures, and this classifier's inputs are arrays")
    if not how.frozen_statistics and backbone.learn is None:
        raise ArgumentError(
            "this model's training mode is not known (it is a function, or was given with call=): keep its statistics "
            "frozen, as in extend.Training(frozen_statistics=True) or Joint(frozen_statistics=True)"
        )
    return names


def _loss(
    backbone: Backbone, how: Training, anchors: Anchors, start: int, old: int, activation: str, drawn: bool, seed: int
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
        total = _cross_entropy(scores, batch["target"], activation).mean()
        if drawn:
            apart = batch["draws"] @ head["kernel"] + head["bias"]
            wanted = batch["drawn"]
            if activation == "sigmoid":  # Of the old classes what the head said before, and none of the new ones.
                before = batch["draws"] @ fixed["head"]["kernel"] + fixed["head"]["bias"]
                wanted = jax.nn.sigmoid(before) * (jnp.arange(before.shape[1]) < old)
            total += _cross_entropy(apart, wanted, activation).mean()
        if anchored:
            before = jax.lax.stop_gradient(features(fixed["network"], fixed, batch["x"], None)[0])
            if anchors.features:
                scale = before.var(axis=0).mean() + 1e-12
                total += anchors.features * ((rows - before) ** 2).mean() / scale
            if anchors.distillation and old:
                first = fixed["head"]
                teacher = before[:, start : start + len(first["kernel"])] @ first["kernel"] + first["bias"]
                total += anchors.distillation * _distil(teacher[:, :old], scores[:, :old], anchors, activation)
        if anchors.ewc:
            pulls = {
                name: (fisher * (moved[name] - fixed["network"][name]) ** 2).sum()
                for name, fisher in fixed["fisher"].items()
                if name in moved
            }
            total += 0.5 * anchors.ewc * sum(pulls.values())
        return total, {name: changed[name].astype(value.dtype) for name, value in statistics.items()}

    return loss


def _cross_entropy(scores: jax.Array, target: jax.Array, activation: str) -> jax.Array:
    """Of integer targets ``[n]``; or of several labels ``[n, k]`` (0 to 1, or -1 where it is not known)."""
    if activation == "sigmoid":
        known = target >= 0
        return jnp.where(known, optax.sigmoid_binary_cross_entropy(scores, target.astype(scores.dtype)), 0).sum(axis=1)
    return optax.softmax_cross_entropy_with_integer_labels(scores, target)


def _distil(teacher: jax.Array, student: jax.Array, anchors: Anchors, activation: str) -> jax.Array:
    """How far the student's old classes are from the teacher's, at least 0."""
    t = anchors.temperature
    if activation == "sigmoid":
        wanted = jax.nn.sigmoid(teacher)
        same = optax.sigmoid_binary_cross_entropy(teacher, wanted)
        return (optax.sigmoid_binary_cross_entropy(student, wanted) - same).sum(axis=1).mean()
    wanted = jax.nn.softmax(teacher / t)
    difference = jax.nn.log_softmax(teacher / t) - jax.nn.log_softmax(student / t)
    return t**2 * (wanted * difference).sum(axis=1).mean()


def _half(leaf: Any) -> Any:
    return leaf.astype(jnp.bfloat16) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _statistics(backbone: Backbone, samples: Samples) -> tuple[str, ...]:
    """The names of the arrays that training mode changes and no gradient does; their dtypes are floating."""
    batch = samples.batch(0, min(2, len(samples)), backbone.input_spec)
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
