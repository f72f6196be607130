"""The training of a backbone and a linear head together, beginning with what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    seed
        The seed of every random choice.
    progress
        Wraps the steps of an epoch.

    Raises
    ------
    ArgumentError
        Nothing is selected, the first loss is not finite, or `state` or `patience` do not fit (see
        `extend.training.loop.train`).
    """
    names = check_training(backbone, training)
    parts = _Parts(backbone, head, training, names, samples, seed)
    steps = per_epoch or max(1, -(-len(samples) // training.batch_size))
    optimiser = parts.by_name(training.optimiser) if training.optimiser else adam(training, steps, parts.moving)
    rows, targets = rows_and_targets(samples, head.num_classes, old, head.link)
    objective = Objective(backbone, training, head.link, parts.start, anchors, old, draws is not None, seed)
    outcome = train(
        _update(objective, optimiser, parts),
        parts.state(optimiser),
        parts.fixed(anchors),
        Batches(backbone, training, samples, rows, targets, steps, draws, seed),
        training.epochs,
        steps,
        measure=parts.measured(measure) if measure is not None else None,
        patience=training.patience,
        folder=Path(training.state) if training.state else None,
        identity=_identity(parts, samples, training, anchors, [old, seed]),
        progress=progress,
    )
    return TrainedBackbone(*parts.ends(outcome.state), outcome)


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
    """The parts of a network and its head: what is held, what moves, and the statistics that training mode changes.

    All that moves in the network is one vector, and all statistics are another: with a hundred leaves, XLA takes a
    minute to compile what surrounds the gradient.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: LinearHead,
        training: Training,
        names: tuple[str, ...],
        samples: Samples,
        seed: int,
    ) -> None:
        block = head.blocks[0]
        self.backbone, self.names, self.link, self.start = backbone, names, head.link, block.start
        self.head = {"kernel": jnp.asarray(block.kernel), "bias": jnp.asarray(block.bias)}
        self.adapts = bool(training.lora and names)
        self.held = {name: jnp.asarray(value) for name, value in backbone.params["network"].items()}
        self.begun = {name: self.held[name] for name in names}
        self.moving: Tree = adapters(self.begun, training.lora, seed) if self.adapts else self.begun
        self.vector, self.unpack = ravel_pytree(self.moving)
        free = () if training.frozen_statistics else _statistics(backbone, samples)
        self.statistics, self.unpack_statistics = ravel_pytree({name: self.held[name] for name in free})

    def state(self, optimiser: optax.GradientTransformation) -> Tree:
        """Return what the training begins with."""
        moving = {"network": self.vector, "head": self.head}
        return {**moving, "statistics": self.statistics, "optimiser": optimiser.init(moving)}

    def fixed(self, anchors: Anchors) -> Fixed:
        """Return what no step changes."""
        fisher = anchors.fisher.mean() if anchors.ewc and anchors.fisher is not None else {}
        known = {name: jnp.asarray(value) for name, value in fisher.items() if name in self.names}
        return Fixed(self.held, self.backbone.params["space"], self.head, known)

    def ends(self, state: Tree) -> tuple[dict[str, np.ndarray], LinearHead]:
        """Return the changed parameters of the network and the head, as they are in a state."""
        moved = self.unpack(state["network"])
        changed = {**(adapted(self.begun, moved) if self.adapts else moved)}
        changed |= self.unpack_statistics(state["statistics"])
        kernel, bias = (np.asarray(state["head"][name]) for name in ("kernel", "bias"))
        network = {name: np.asarray(value) for name, value in changed.items()}
        return network, LinearHead.of(kernel, bias, self.start, self.link, "trained")

    def measured(self, measure: Measure) -> Callable[[Tree], Mapping[str, float]]:
        """Let a measure of network and head judge a state."""
        return lambda state: measure(*self.ends(state))

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


def _statistics(backbone: Backbone, samples: Samples) -> tuple[str, ...]:
    """Return the names of the arrays that training mode changes and no gradient does; their dtypes are floating."""
    batch = samples.batch(0, min(2, len(samples)), backbone.inputs)
    _, changed = jax.eval_shape(
        lambda p, x: backbone.apply_in_training(p, x, jax.random.key(0)), backbone.params, batch
    )
    return tuple(name for name, leaf in changed.items() if jnp.issubdtype(leaf.dtype, jnp.floating))


def _identity(parts: _Parts, samples: Samples, training: Training, anchors: Anchors, numbers: list[int]) -> Identity:
    """Identify a training run so that it can be resumed.

    Random draws are left out: rounding can rotate the eigenvectors that they are drawn along.
    """
    if not training.state:
        return Identity()
    told = {**vars(training), **vars(anchors), "select": None, "state": None}
    simple = {name: value for name, value in told.items() if isinstance(value, (int, float, str, type(None)))}
    settings = [simple, [parts.names, parts.link.name, parts.start, *numbers], parts.backbone.fingerprint]
    seen = {"network": parts.moving, "head": parts.head}
    optimiser = behaviour(training.optimiser, seen) if training.optimiser else b""
    fisher = sorted(anchors.fisher.values.items()) if anchors.fisher is not None else []
    computed = [*parts.head.values(), *(value for _, value in fisher)]
    return identify(settings, [samples.keys, samples.labels], [np.asarray(array) for array in computed], optimiser)
