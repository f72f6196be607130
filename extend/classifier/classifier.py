"""A classifier: backbone, head, class names, memory and history. Immutable; every operation returns a new one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from extend import data
from extend.backbone import extract as features
from extend.backbone.flax import Backbone
from extend.classifier.history import Event
from extend.classifier.recipe import UNKNOWN, Recipe
from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.links import host_probabilities
from extend.heads.scoring import head_scores
from extend.memory.memory import Memory


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A trained classifier that can be extended; made by `extend.wrap` or `extend.load`.

    Args:
        backbone: frozen, from inputs to features.
        head: from features to one score a class.
        classes: the k names, in the order of the head's columns.
        memory: what is kept of the classes; None if never measured.
        history: what was done to it, for people; nothing decides by it.
        recipe: what later operations need to know of earlier ones; read off the history where it is not given.

    Raises:
        ValueError: names are not unique, or the head or the memory is of another number of classes.

    >>> from extend.models import MLP
    >>> backbone = Backbone.from_nnx(MLP(2, inputs=4, rngs=nnx.Rngs(0)), 2, jax.ShapeDtypeStruct((4,), np.float32))
    >>> Classifier(backbone, backbone.own_head, ("a", "b")).predict_proba(np.zeros((3, 4))).shape
    (3, 2)
    """

    backbone: Backbone
    head: Head
    classes: tuple[str, ...]
    memory: Memory | None = None
    history: tuple[Event, ...] = ()
    recipe: Recipe = UNKNOWN

    def __post_init__(self) -> None:
        if self.recipe is UNKNOWN:
            object.__setattr__(self, "recipe", Recipe.of_history(self.history))
        if len(set(self.classes)) != len(self.classes):
            raise ArgumentError(f"class names are not unique: {', '.join(self.classes)}")
        if self.head.num_classes != len(self.classes):
            raise ArgumentError(
                f"the head has {self.head.num_classes} columns, but {len(self.classes)} classes are named"
            )
        if self.memory is not None and self.memory.classes != self.classes:
            raise ArgumentError(
                f"the memory is of {', '.join(self.memory.classes)}; expected {', '.join(self.classes)}"
            )

    def __repr__(self) -> str:
        names = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        network = self.backbone.description.get("class", "network")
        known = "no memory" if self.memory is None else f"memory of {int(self.memory.total.sum())} samples"
        return f"Classifier({len(self.classes)} classes: {names}; {network}, {type(self.head).__name__}, {known})"

    def features(self, x: Any) -> np.ndarray:
        """Features float32 ``[n, d]`` of inputs ``[n, *input shape]``."""
        return features.extract(self.backbone, data.unlabelled(x, self.backbone.inputs)).features

    def logits(self, x: Any) -> np.ndarray:
        """Scores float32 ``[n, k]`` of inputs ``[n, *input shape]``."""
        return head_scores(self.head, self.features(x), self.backbone.batch_size)

    def predict_proba(self, x: Any) -> np.ndarray:
        """Probabilities float32 ``[n, k]``; columns in the order of `classes`."""
        scores = self.logits(x)
        return host_probabilities(self.head.link, scores)

    def predict(self, x: Any) -> np.ndarray:
        """The names of the likeliest classes, ``[n]``.

        Raises:
            ValueError: wrong shape or dtype, NaN or infinity.
        """
        return np.asarray(self.classes)[self.logits(x).argmax(axis=1)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint; what was there is replaced at once or, on an error, left as it is.

        Raises:
            CheckpointError: it could not be written.
        """
        from extend.classifier.serialise import save  # It makes classifiers too.

        save(self, path)
