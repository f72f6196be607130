"""A classifier: backbone, head, class names, memory and recipe. Immutable; every operation returns a new one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from extend import data
from extend.backbone import Backbone, extract
from extend.classifier.history import Event
from extend.classifier.recipe import UNKNOWN, Recipe
from extend.core.errors import ArgumentError
from extend.heads import Head, head_scores, host_probabilities
from extend.memory import Memory


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A trained classifier that can be extended; made by `extend.wrap` or `extend.load`.

    Parameters
    ----------
    backbone
        The frozen function from inputs to features.
    head
        From features to one score for each class.
    classes
        The names of the k classes, in the order of the head's columns.
    memory
        What is kept of the classes; None if they were never measured.
    history
        What was done to the classifier, for people; nothing decides by it.
    recipe
        How the head was made, and what later operations need to know of earlier ones; read off the history where it is
        not given.

    Raises
    ------
    ArgumentError
        Names are not unique, or the head or the memory is of another number of classes.

    Examples
    --------
    >>> import extend
    >>> x = np.eye(2, dtype=np.float32).repeat(4, axis=0)
    >>> clf = extend.wrap(lambda x: x, ["a", "b"], (x, np.repeat([0, 1], 4)))
    >>> clf.predict(x[3:5]).tolist(), clf.score(x, ["a"] * 4 + ["b"] * 4)
    (['a', 'b'], 1.0)
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle arrays and a description, as a checkpoint holds them; of a function, the function itself as well."""
        from extend.classifier.serialise import packed, unpacked  # It makes classifiers too.

        return unpacked, packed(self)

    def __repr__(self) -> str:
        names = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        network = self.backbone.description.get("class", "network")
        known = "no memory" if self.memory is None else f"memory of {int(self.memory.total.sum())} samples"
        return f"Classifier({len(self.classes)} classes: {names}; {network}, {type(self.head).__name__}, {known})"

    def transform(self, x: Any) -> Float[np.ndarray, "n d"]:
        """Return the features of inputs, float32.

        Parameters
        ----------
        x
            Inputs ``[n, *input shape]``, of which n may be 0; or a single one without the batch axis, for which what is
            returned has length 1. Where inputs are pictures, also Pillow's pictures and paths: of pictures, of folders
            and archives of them (every picture in them, by name), of ``.npy`` files; one of these, or a list.

        Raises
        ------
        DataError
            Wrong shape or dtype, NaN or infinity; a file that cannot be read.
        """
        return extract(self.backbone, data.unlabelled(x, self.backbone.inputs)).features

    def decision_function(self, x: Any) -> Float[np.ndarray, "n k"]:
        """Return the scores of inputs, float32; columns in the order of `classes`. Takes what `transform` takes."""
        return head_scores(self.head, self.transform(x))

    def predict_proba(self, x: Any) -> Float[np.ndarray, "n k"]:
        """Return the probabilities of inputs, float32, as `decision_function` returns scores."""
        return host_probabilities(self.head.link, self.decision_function(x))

    def predict(self, x: Any) -> np.ndarray:
        """Return the name of the likeliest class of each input: an array ``[n]``. Takes what `transform` takes."""
        return np.asarray(self.classes)[self.decision_function(x).argmax(axis=1)]

    def score(self, x: Any, y: Sequence[Any] | np.ndarray) -> float:
        """Return the share of inputs whose likeliest class is the true one.

        Parameters
        ----------
        x
            Inputs ``[n, *input shape]``, or a list of Pillow's pictures and of paths of pictures.
        y
            The true classes ``[n]``: names, or integers: the names or, where names are no integers, places.

        Raises
        ------
        DataError
            Bad inputs, or a label that is none of the classes.
        """
        samples = data.read_into(self.classes, (x, y), self.backbone.inputs, "the data")
        scores = head_scores(self.head, extract(self.backbone, samples).features)
        return float((scores.argmax(axis=1) == samples.labels).mean())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier: as a checkpoint folder, or as a file in the format of the suffix.

        What was there is replaced at once or, on an error, left as it is. `extend.save` tells the formats.

        Raises
        ------
        ArgumentError, FormatError
            It cannot be written in this format.
        CheckpointError
            It could not be written.
        """
        from extend.classifier.serialise import save  # It makes classifiers too.

        if not isinstance(path, str | os.PathLike) or not str(path):
            raise ArgumentError(f"path is {path!r}; expected where to write: a folder, or a file with a suffix")

        save(self, path)
