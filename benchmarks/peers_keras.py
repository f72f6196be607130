"""Keras: its guide to transfer learning. Features are frozen, the last `Dense` is widened, and `fit` goes on."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.peers_protocol import Peer, Problem

EPOCHS, EXEMPLARS = 20, 20


class Widened:
    """A `Dense` layer that gets a column a new class, trained on the new rows and `exemplars` old ones a class."""

    def __init__(self, problem: Problem, exemplars: int) -> None:
        os.environ.setdefault("KERAS_BACKEND", "jax")
        import keras

        keras.utils.set_random_seed(problem.seed)
        self.keras, self.dim, self.exemplars = keras, problem.dim, exemplars
        self.rng = np.random.default_rng(problem.seed)
        self.model: Any = None
        self.x, self.y = np.zeros((0, problem.dim), np.float32), np.zeros(0, np.int64)

    def learn(self, x: np.ndarray, y: np.ndarray, known: int) -> None:
        layers = self.keras.layers
        model = self.keras.Sequential([layers.Input((self.dim,)), layers.Dense(known)])
        if self.model is not None:
            columns = zip(self.model.get_weights(), model.get_weights(), strict=True)
            model.set_weights([np.concatenate([old, new[..., old.shape[-1] :]], axis=-1) for old, new in columns])
        model.compile(
            optimizer=self.keras.optimizers.Adam(),
            loss=self.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        rows, labels = np.concatenate([self.x, x]), np.concatenate([self.y, y])
        model.fit(rows, labels, epochs=EPOCHS, verbose=0)
        self.model = model
        if self.exemplars:
            drawn = [self.rng.permutation(np.flatnonzero(y == label))[: self.exemplars] for label in np.unique(y)]
            kept = np.concatenate(drawn)
            self.x, self.y = np.concatenate([self.x, x[kept]]), np.concatenate([self.y, y[kept]])

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x, batch_size=1024, verbose=0).argmax(axis=1)

    def kept(self) -> int:
        return self.x.nbytes


RECIPE = f"Dense widened, old columns copied; Adam() and batch 32 (defaults), {EPOCHS} epochs as in the guide; JAX"

PEERS = (
    Peer("Keras, new data", "keras", RECIPE, "none", lambda problem: Widened(problem, 0), slow=True),
    Peer(
        f"Keras, {EXEMPLARS} exemplars a class",
        "keras",
        f"{RECIPE}; {EXEMPLARS} random old rows a class are added",
        "exemplars",
        lambda problem: Widened(problem, EXEMPLARS),
        slow=True,
    ),
)
