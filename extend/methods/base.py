"""What every method is, and the questions that others ask of one: no caller looks at a method's type.

A method is a frozen dataclass of hyper-parameters with one action, `extend`: a classifier and new samples go in, an
`Extended` comes out. Methods that keep the backbone derive from `OnFeatures`, and two families of them have a base of
their own: `ClosedForm` (the head is a function of the memory) and `Appending` (new columns beside the old ones).
Methods that train the backbone derive from `extend.training.settings.Training` and `Method`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from extend.classifier import Classifier
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples
from extend.heads import Calibrated, Head
from extend.memory import Memory
from extend.methods.choice import Choice
from extend.methods.extended import Extended
from extend.methods.increment import Increment

Need = Literal["memory", "rows", "old samples"]
FOLDS = 5
"""In so many parts the rows of a class are left out where there is no formula for one at a time."""


class Method(Protocol):
    """A way of giving a classifier new classes.

    Attributes
    ----------
    name
        The name under which `extend.add_classes` knows the method.
    linear
        Whether the head that it gives is linear.
    closed_form
        Whether its head is a function of the memory alone, so that it can be fitted again at any time.
    keeps_old_columns
        Whether old classes keep the very scores they had.
    trains_backbone
        Whether it changes the backbone.
    exclusive_only
        Whether it gives every input exactly one class; a classifier with a sigmoid refuses such a method.
    chooses
        Whether it takes one of several methods by what they do on held-out rows.
    """

    name: ClassVar[str]
    linear: ClassVar[bool] = True
    closed_form: ClassVar[bool] = False
    keeps_old_columns: ClassVar[bool] = False
    trains_backbone: ClassVar[bool] = False
    exclusive_only: ClassVar[bool] = True
    chooses: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[Need]:
        """What the method cannot work without, besides the new samples."""
        return frozenset({"memory"})

    @property
    def needs_class_scatter(self) -> bool:
        """Whether the memory must keep a scatter matrix for each class, and not only the pooled one."""
        return False

    @property
    def title(self) -> str:
        """The name, with what sets this method apart from another of the same name."""
        return self.name

    def on_features(self) -> OnFeatures:
        """Return the method as one that works on features.

        Raises
        ------
        ArgumentError
            It trains the backbone, so that features do not stay.
        """
        raise ArgumentError(
            f"max_forgetting bounds what is measured on real held-out features, and {self.name} moves them: "
            "leave it out, or use a method that keeps the backbone"
        )

    def settings(self) -> dict[str, Any]:
        """Return the hyper-parameters that can be stored as JSON."""
        return settings_of(self)

    @abstractmethod
    def extend(
        self,
        classifier: Classifier,
        samples: Samples,
        *,
        old: Samples | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Extended:
        """Return a backbone, a head and a memory for the old classes and those of the samples.

        Parameters
        ----------
        classifier
            What is known so far; it is not changed.
        samples
            The new samples, of new classes or of present ones.
        old
            Real samples of old classes, where there are some.
        seed
            The seed of every random choice.
        progress
            Wraps the iteration over batches and steps.

        Raises
        ------
        ArgumentError
            The method cannot work with what there is; the message says what to do.
        """
        ...


class OnFeatures(Method, Protocol):
    """A method that keeps the backbone: it works on features, which are computed once."""

    def extend(
        self,
        classifier: Classifier,
        samples: Samples,
        *,
        old: Samples | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Extended:
        increment = Increment.of(classifier, samples, old=old, progress=progress)
        method, why = self.suited(increment)
        choice = method.solve(increment, seed).keeping_offsets(classifier.head, increment.memory)
        return increment.extended(choice, why)

    @abstractmethod
    def solve(self, increment: Increment, seed: int, use: Bool[np.ndarray, " m"] | None = None) -> Choice:
        """Return the head for all classes of an increment, and the method that gave it.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for all of them.
        """
        ...

    def suited(self, increment: Increment) -> tuple[OnFeatures, str]:
        """Return the method to take for an increment, and why in words if it is another than this one.

        Raises
        ------
        ArgumentError
            This method gives every input one class, and the classifier gives several.
        """
        if not increment.exclusive and not increment.added:
            raise ArgumentError(
                "the classes do not exclude each other (sigmoid) and none of these is new: only fine_tune, and joint "
                "with old=, can learn more of a class that is there"
            )
        if not increment.exclusive and self.exclusive_only:
            raise ArgumentError(
                f"{self.name} gives every input one class (softmax), and this classifier's classes do not exclude each "
                "other (sigmoid): use auto, new_units or imprint for new classes, or fine_tune or joint"
            )
        return self, ""

    def on_features(self) -> OnFeatures:
        return self

    def fixed(self) -> OnFeatures:
        """Return the method to take where held-out rows must not choose one."""
        return self

    def limited(self, forgetting_limit: float) -> OnFeatures | None:
        """Return the method that keeps a forgetting limit without held-out rows; None where it cannot."""
        return None

    def memory_of(self, increment: Increment) -> Memory:
        """Return the memory of an increment, or raise an error that says how to give one."""
        return statistics_of(increment.memory, self.name)


class ClosedForm(OnFeatures, Protocol):
    """A method whose head is a function of the memory alone."""

    closed_form: ClassVar[bool] = True

    @abstractmethod
    def fit(self, memory: Memory) -> Head:
        """Return the head for the classes of a memory."""
        ...

    def choose(self, memory: Memory, use: Bool[np.ndarray, " m"] | None = None, tried: Sequence[Choice] = ()) -> Choice:
        """Return the head as a choice: this method, with what it chose for itself, and without a reason.

        Parameters
        ----------
        use
            Which held-out rows may choose; None for the half that may.
        tried
            What other methods gave on the same memory, for methods that build on them.
        """
        return Choice(self, self.fit(memory))

    def solve(self, increment: Increment, seed: int, use: Bool[np.ndarray, " m"] | None = None) -> Choice:
        return self.choose(self.memory_of(increment), use)

    def comparable(self, memory: Memory) -> bool:
        """Whether there is a point in comparing this method with others on a memory."""
        return not self.needs_class_scatter or memory.scatter_mode == "class"

    def leave_one_out(
        self, memory: Memory, rows: Float[np.ndarray, "m d"], labels: Int[np.ndarray, " m"]
    ) -> Float[np.ndarray, "m k"]:
        """Return the scores of rows that are in the memory, as if they were not.

        The classes of these rows have at least two different samples. A method that has no formula for leaving one row
        out is fitted five times, each time without a fifth of them (cross-fitting).
        """
        fold = (np.arange(len(labels)) - np.searchsorted(labels, labels)) % FOLDS
        found = np.zeros((len(rows), len(memory.classes)))
        for number in np.unique(fold):
            some = fold == number
            head = self.fit(memory.without_rows(rows[some], labels[some]))
            whole = np.zeros((int(some.sum()), memory.offset + memory.dim))
            whole[:, memory.offset :] = rows[some]
            found[some] = head.scores(whole)
        return found


class Appending(OnFeatures, Protocol):
    """A method that puts new columns beside the old ones, which keep their bits."""

    keeps_old_columns: ClassVar[bool] = True
    exclusive_only: ClassVar[bool] = False

    @abstractmethod
    def fit(self, head: Head, memory: Memory | None, rows: Features, seed: int) -> Head:
        """Return the old head with columns for the new classes.

        Parameters
        ----------
        head
            The old head, for the first ``head.num_classes`` classes of the rows.
        memory
            The memory of all classes; None where there is none.
        rows
            Features of the new classes, and of old ones where there are real samples of them.
        """
        ...

    def solve(self, increment: Increment, seed: int, use: Bool[np.ndarray, " m"] | None = None) -> Choice:
        return Choice(self, self.fit(increment.head, increment.memory, increment.rows, seed))

    def old_columns(self, head: Head, rows: Features) -> Calibrated:
        """Return the old head, after a check that some classes of the rows are new."""
        if head.num_classes >= len(rows.classes):
            raise ArgumentError(
                f"{self.name} appends columns for new classes, and none of these is new; use lda or ridge"
            )
        return Calibrated.of(head)


def statistics_of(memory: Memory | None, name: str) -> Memory:
    """Return the memory, or raise an error that says how to give one."""
    if memory is None:
        raise ArgumentError(
            f"{name} needs a memory of the old classes, and this classifier has none: pass old=(x, y) with real "
            "samples of every old class, or wrap the model with data= once; or use method='imprint', which needs none"
        )
    return memory


def settings_of(method: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that JSON can hold; tuples become lists."""
    plainly = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(method).items()}
    return {key: value for key, value in plainly.items() if _storable(value)}


def _storable(value: Any) -> bool:
    if isinstance(value, list):
        return all(_storable(part) for part in value)
    return isinstance(value, (str, int, float, type(None)))
