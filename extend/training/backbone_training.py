"""The training of a backbone and a linear head together, beginning with what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from extend.backbone import Backbone
from extend.core.errors import ArgumentError
from extend.data import Progress, Samples
from extend.heads import LinearHead
from extend.training.batches import Batches, Draws, rows_and_targets
from extend.training.loop import Outcome, Update, train
from extend.training.objective import Anchors, Fixed, Objective
from extend.training.optimiser import adam
from extend.training.parameters import adapted, adapters, select
from extend.training.settings import Training
from extend.training.state import Identity, behaviour, identify

Measure = Callable[[dict[str, np.ndarray], LinearHead], Mapping[str, float]]
"""``(changed parameters of the network, head) -> {"score": ..., ...}``."""
Tree = dict[str, PyTree]


@dataclass(frozen=True, eq=False)
class TrainedBackbone:
    """What the training of a backbone came to.

    Parameters
    ----------
    network
        The changed parameters of the network, by name.
    head
        The trained head, of one block.
    outcome
        How the training went.
    """

    network: dict[str, np.ndarray]
    head: LinearHead
    outcome: Outcome

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return self.outcome.steps

    @property
    def stopped(self) -> str:
        """Why the training ended early, in words; empty if it did not."""
        return self.outcome.stopped


def train_backbone(
    backbone: Backbone,
    head: LinearHead,
    samples: Samples,
    training: Training,
    *,
    old: int = 0,
    anchors: Anchors = Anchors(),
    draws: Draws | None = None,
    measure: Measure | None = None,
    per_epoch: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TrainedBackbone:
    """Minimise the cross-entropy of a linear head on the features of a backbone, by moving both.

    Parameters
    ----------
    backbone, head
        What to begin with; the head has one block.
    samples
        The samples to train on, labelled into the classes of the head. Where classes do not exclude each other, samples
        of the same content are one with several labels; that a sample is *not* of one of the first `old` classes is not
        known then.
    training
        How to train.
    old
        The number of classes that `anchors` hold.
    anchors
        What holds the backbone near to what it was.
    draws
        Feature vectors ``[m, d]``, in the columns that the head reads, and labels of classes without samples: they
        train the head alone. With a sigmoid they are of the old classes as the head says before, and of no new one.
    measure
        Judges the network and the head at the end of every epoch.
    per_epoch
        The number of steps in an epoch; None takes as many as pass over the samples once.
    seed, progress
        The seed of every random choice; what wraps the steps of an epoch.

    Raises
    ------
    ArgumentError
        Nothing is selected, the first loss is not finite, or `state` or `patience` do not fit (see
        `extend.training.loop.train`).
    """
    names = check_training(backbone, training)
    parts = _Parts(backbone, training, names, samples, seed)
    steps = per_epoch or max(1, -(-len(samples) // training.batch_size))
    block = head.blocks[0]
    begun = {"kernel": jnp.asarray(block.kernel), "bias": jnp.asarray(block.bias)}
    optimiser = parts.by_name(training.optimiser) if training.optimiser else adam(training, steps, parts.moving)
    state = parts.state(begun)
    objective = Objective(backbone, training, head.link, block.start, anchors, old, draws is not None, seed)

    def ends(state: Tree) -> tuple[dict[str, np.ndarray], LinearHead]:
        kernel, bias = np.asarray(state["head"]["kernel"]), np.asarray(state["head"]["bias"])
        return parts.network(state), LinearHead.of(kernel, bias, block.start, head.link, "trained")

    def measured(state: Tree) -> Mapping[str, float]:
        assert measure is not None
        return measure(*ends(state))

    chosen = rows_and_targets(samples, head.num_classes, old, head.link)
    batches = Batches(backbone, training, samples, *chosen, steps, draws, seed)
    outcome = train(
        _update(objective, optimiser, parts),
        {**state, "optimiser": optimiser.init({"network": state["network"], "head": begun})},
        Fixed(parts.held, backbone.params["space"], begun, _fisher(anchors, names)),
        batches,
        training.epochs,
        steps,
        measure=measured if measure is not None else None,
        patience=training.patience,
        folder=Path(training.state) if training.state else None,
        identity=_identity(parts, samples, training, anchors, head, [old, seed]),
        progress=progress,
    )
    return TrainedBackbone(*ends(outcome.state), outcome)


def check_training(backbone: Backbone, training: Training) -> tuple[str, ...]:
    """Return the names of the parameters that move; refuse, before the long work, what this backbone cannot do.

    Raises
    ------
    ArgumentError
        Nothing is selected, no selected parameter can be adapted, pictures are to be varied and inputs are none, or
        statistics are to move and the model's training mode is not known.
    """
    names = select(backbone, training.select)
    if training.lora and names:
        adapters({name: backbone.params["network"][name] for name in names}, training.lora, 0)
    if (training.padding or training.flip) and backbone.inputs.as_image() is None:
        raise ArgumentError("padding and flip are for pictures, and this classifier's inputs are arrays")
    if not training.frozen_statistics and backbone.learn is None:
        raise ArgumentError(
            "this model's training mode is not known (it is a function, or was given with call=): keep its statistics "
            "frozen, as in extend.Training(frozen_statistics=True) or Joint(frozen_statistics=True)"
        )
    return names


class _Parts:
    """The parts of a network: what is held, what moves, and the statistics that training mode changes.

    All that moves is one vector, and all statistics are another: with a hundred leaves, XLA takes a minute to compile
    what surrounds the gradient.
    """

    def __init__(
        self, backbone: Backbone, training: Training, names: tuple[str, ...], samples: Samples, seed: int
    ) -> None:
        network = backbone.params["network"]
        self.backbone, self.names = backbone, names
        self.adapts = bool(training.lora and names)
        self.held = {name: jnp.asarray(value) for name, value in network.items()}
        self.begun = {name: self.held[name] for name in names}
        self.moving: Tree = adapters(self.begun, training.lora, seed) if self.adapts else self.begun
        self.vector, self.unpack = ravel_pytree(self.moving)
        free = () if training.frozen_statistics else _statistics(backbone, samples)
        self.statistics, self.unpack_statistics = ravel_pytree({name: self.held[name] for name in free})

    def state(self, head: Mapping[str, Array]) -> Tree:
        """Return what a training of this network and a head begins with, but for the optimiser's part."""
        return {"network": self.vector, "head": head, "statistics": self.statistics}

    def network(self, state: Tree) -> dict[str, np.ndarray]:
        """Return the changed parameters of the network."""
        moved = self.unpack(state["network"])
        changed = {**(adapted(self.begun, moved) if self.adapts else moved)}
        changed |= self.unpack_statistics(state["statistics"])
        return {name: np.asarray(value) for name, value in changed.items()}

    def by_name(self, optimiser: optax.GradientTransformation) -> optax.GradientTransformation:
        """Let an optimiser that was given see every parameter by its name, where the training has one vector."""

        def unpacked(tree: Tree) -> Tree:
            return {**tree, "network": self.unpack(tree["network"])}

        def update(slope: Tree, state: PyTree, now: Tree | None = None) -> tuple[Tree, PyTree]:
            change, kept = optimiser.update(unpacked(slope), state, unpacked(now) if now is not None else None)
            return {**change, "network": ravel_pytree(change["network"])[0]}, kept

        return optax.GradientTransformation(lambda tree: optimiser.init(unpacked(tree)), update)


def _update(objective: Objective, optimiser: optax.GradientTransformation, parts: _Parts) -> Update:
    """Make the step: it moves the network's vector and the head."""

    def update(state: Tree, fixed: Fixed, batch: Tree) -> tuple[Tree, Float[Array, ""]]:
        def loss(vector: Array, head: Mapping[str, Array]) -> tuple[Float[Array, ""], Array]:
            statistics = parts.unpack_statistics(state["statistics"])
            value, after = objective(parts.unpack(vector), head, statistics, fixed, batch)
            return value, ravel_pytree(after)[0]

        now = {"network": state["network"], "head": state["head"]}
        (value, after), (by_network, by_head) = jax.value_and_grad(loss, (0, 1), has_aux=True)(*now.values())
        change, kept = optimiser.update({"network": by_network, "head": by_head}, state["optimiser"], now)
        return {**optax.apply_updates(now, change), "statistics": after, "optimiser": kept}, value

    return update


def _fisher(anchors: Anchors, names: Sequence[str]) -> dict[str, Array]:
    """Return the Fisher diagonal of the parameters that move, if the loss needs it."""
    if not anchors.ewc:
        return {}
    assert anchors.fisher is not None
    return {name: jnp.asarray(value) for name, value in anchors.fisher.mean().items() if name in names}


def _statistics(backbone: Backbone, samples: Samples) -> tuple[str, ...]:
    """Return the names of the arrays that training mode changes and no gradient does; their dtypes are floating."""
    batch = samples.batch(0, min(2, len(samples)), backbone.inputs)
    _, changed = jax.eval_shape(
        lambda p, x: backbone.apply_in_training(p, x, jax.random.key(0)), backbone.params, batch
    )
    return tuple(name for name, leaf in changed.items() if jnp.issubdtype(leaf.dtype, jnp.floating))


def _identity(
    parts: _Parts, samples: Samples, training: Training, anchors: Anchors, head: LinearHead, numbers: list[int]
) -> Identity:
    """Identify a training run so that it can be resumed.

    Random draws are left out: rounding can rotate the eigenvectors that they are drawn along.
    """
    if not training.state:
        return Identity()
    block = head.blocks[0]
    told = {**vars(training), **vars(anchors), "select": None, "state": None}
    simple = {name: value for name, value in told.items() if isinstance(value, (int, float, str, type(None)))}
    settings = [simple, [parts.names, head.link.name, block.start, *numbers], parts.backbone.fingerprint]
    begun = {"kernel": jnp.asarray(block.kernel), "bias": jnp.asarray(block.bias)}
    seen = {"network": parts.moving, "head": begun}
    optimiser = behaviour(training.optimiser, seen) if training.optimiser else b""
    fisher = sorted(anchors.fisher.values.items()) if anchors.fisher is not None else []
    computed = [np.asarray(block.kernel), np.asarray(block.bias), *(value for _, value in fisher)]
    return identify(settings, [samples.keys, samples.labels], computed, optimiser)
