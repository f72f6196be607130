"""Training a small network from scratch: ``extend train``, the demo and the shipped checkpoints.

The optimiser is stochastic gradient descent with Nesterov momentum, weight decay on kernels and a one-cycle learning
rate (Smith & Topin 2018). Pictures may be trained on random crops that grow from phase to phase: a fully
convolutional network with global pooling learns most of what it needs on small crops, at a fraction of the cost
(Touvron et al. 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree, Shaped

from extend.core.errors import ArgumentError
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.data import Progress
from extend.training import loop
from extend.training.augment import augment
from extend.training.optimiser import one_cycle_sgd
from extend.training.state import Identity, identify

Prepare = Callable[[np.ndarray], np.ndarray]
Leaves = list[Array]


@dataclass(frozen=True)
class Phase:
    """`epochs` epochs on random ``size x size`` crops; None takes the inputs as they are."""

    epochs: int
    size: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How to train a network from scratch.

    Parameters
    ----------
    phases
        The phases, one after the other.
    batch_size
        The number of samples in a step.
    learning_rate
        The highest learning rate.
    weight_decay
        The weight decay of kernels.
    padding
        The number of pixels by which a picture is padded before it is cropped to its own size.
    flip
        Mirror half of the pictures.

    Examples
    --------
    >>> Recipe((Phase(6, 20), Phase(4)), flip=True).sizes
    (20, 20, 20, 20, 20, 20, None, None, None, None)
    """

    phases: tuple[Phase, ...]
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    padding: int = 0
    flip: bool = False

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The size of the crops in each epoch."""
        return tuple(phase.size for phase in self.phases for _ in range(phase.epochs))


def train(
    model: nnx.Module,
    inputs: Shaped[np.ndarray, "n ..."],
    labels: Int[np.ndarray, " n"],
    recipe: Recipe,
    *,
    prepare: Prepare = lambda batch: batch,
    seed: int = 0,
    state: Path | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> nnx.Module:
    """Train a classifier with cross-entropy, and return the trained copy.

    Parameters
    ----------
    model
        Maps a batch to logits ``[n, k]``; it is not changed.
    inputs, labels
        The samples.
    recipe
        How to train.
    prepare
        Brings a batch to what the model takes (normalisation), after cropping and mirroring.
    seed
        The seed of the order of the samples, and of the crops and mirror images.
    state
        A folder where the state is kept after every epoch; the training goes on from what lies there.
    progress
        Wraps the steps of an epoch, such as a progress bar.
    report
        Is told the loss and the accuracy of every epoch.

    Raises
    ------
    ArgumentError
        A loss is not finite, or the folder holds the state of another training.
    KeyboardInterrupt
        Ctrl-C or SIGTERM came. The state was kept if there is a folder for it.

    Examples
    --------
    >>> from extend.models import MLP
    >>> model = MLP(2, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    >>> trained = train(model, np.eye(4, dtype=np.float32), np.array([0, 0, 1, 1]), Recipe((Phase(30),)))
    >>> trained(np.eye(4)).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    size, epochs = min(recipe.batch_size, len(labels)), len(recipe.sizes)
    per_epoch = len(labels) // size
    model = nnx.clone(model)
    model.train()
    network = _Network(model)
    params, rest = network.taken_apart(model)
    optimiser = one_cycle_sgd(recipe.learning_rate, per_epoch * epochs, recipe.weight_decay)
    outcome = loop.train(
        _update(network, optimiser),
        {"params": params, "rest": rest, "optimiser": optimiser.init(params), "right": jnp.zeros((), jnp.int32)},
        None,
        _Batches(inputs, labels, recipe, prepare, size, seed),
        epochs,
        per_epoch,
        summary=lambda now: {"accuracy": int(now["right"]) / (per_epoch * size)},
        folder=state,
        identity=_identity(recipe, seed, inputs, labels, params) if state is not None else Identity(),
        progress=progress,
        report=report,
    )
    if outcome.end == "interrupted":
        raise KeyboardInterrupt(outcome.stopped)
    if outcome.end == "diverged":
        raise ArgumentError(
            f"the loss was not finite at step {outcome.steps + 1}; lower learning_rate ({recipe.learning_rate})"
        )
    trained = network.put_together(outcome.state["params"], outcome.state["rest"])
    trained.eval()
    return trained


class _Network:
    """A network's structure: how to take it apart into plain arrays, and to put it together again.

    The arrays are those of its parameters, and the rest (statistics of batch norm, keys of dropout). As plain lists
    they pass into a compiled step much faster than as the network's own trees.
    """

    def __init__(self, model: nnx.Module) -> None:
        self.definition, *parts = nnx.split(model, nnx.Param, ...)
        self.structures = [jax.tree.structure(part) for part in parts]

    def taken_apart(self, model: nnx.Module) -> tuple[Leaves, Leaves]:
        """Return the parameters of a network of this structure, and the rest."""
        _, *parts = nnx.split(model, nnx.Param, ...)
        params, rest = (jax.tree.leaves(part) for part in parts)
        return params, rest

    def put_together(self, params: Leaves, rest: Leaves) -> nnx.Module:
        """Return a network with these parameters and this rest."""
        parts = [jax.tree.unflatten(how, leaves) for how, leaves in zip(self.structures, (params, rest), strict=True)]
        return nnx.merge(self.definition, *parts, copy=True)


def _update(network: _Network, optimiser: optax.GradientTransformation) -> loop.Update:
    """Make the step: it moves the parameters, the rest of the network, and counts the epoch's right answers."""

    def forward(params: Leaves, rest: Leaves, x: Array) -> tuple[Array, Leaves]:
        model = network.put_together(params, rest)
        return model(x), network.taken_apart(model)[1]

    def loss(params: Leaves, rest: Leaves, batch: Mapping[str, Array]) -> tuple[Float[Array, ""], tuple[Leaves, Array]]:
        logits, after = with_matmul_kernel_gradient(forward)(params, rest, batch["x"])
        error = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
        return error, (after, (logits.argmax(-1) == batch["label"]).sum(dtype=jnp.int32))

    def update(state: PyTree, fixed: None, batch: Mapping[str, Array]) -> tuple[PyTree, Float[Array, ""]]:
        slope = jax.value_and_grad(loss, has_aux=True)
        (error, (rest, right)), gradient = slope(state["params"], state["rest"], batch)
        change, kept = optimiser.update(gradient, state["optimiser"], state["params"])
        params = optax.apply_updates(state["params"], change)
        before = jnp.where(batch["number"] == 0, 0, state["right"])
        return {"params": params, "rest": rest, "optimiser": kept, "right": before + right}, error

    return update


class _Batches:
    """The batch of any epoch and step; an epoch's random draws are made one after the other, whatever is asked for.

    The state of the generator before each batch is remembered, so that a batch can be made again.
    """

    def __init__(
        self, inputs: np.ndarray, labels: np.ndarray, recipe: Recipe, prepare: Prepare, size: int, seed: int
    ) -> None:
        self.inputs, self.labels, self.recipe, self.prepare = inputs, labels, recipe, prepare
        self.size, self.seed = size, seed
        self.epoch = -1

    def __call__(self, epoch: int, number: int) -> dict[str, np.ndarray | np.int32]:
        if epoch != self.epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self.order = rng.permutation(len(self.labels))
            self.epoch, self.states = epoch, [rng.bit_generator.state]
        for earlier in range(len(self.states) - 1, number):
            self._augmented(earlier)
        batch, labels = self._augmented(number)
        return {"x": self.prepare(batch), "label": labels, "number": np.asarray(number, np.int32)}

    def _augmented(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        rng.bit_generator.state = self.states[number]
        rows = self.order[number * self.size : (number + 1) * self.size]
        how = self.recipe
        batch = augment(self.inputs[rows], rng, size=how.sizes[self.epoch], padding=how.padding, flip=how.flip)
        if number + 1 == len(self.states):
            self.states.append(rng.bit_generator.state)
        return batch, self.labels[rows]


def _identity(recipe: Recipe, seed: int, inputs: np.ndarray, labels: np.ndarray, params: Leaves) -> Identity:
    return identify([asdict(recipe), seed], [inputs, labels], [np.asarray(leaf) for leaf in params])
