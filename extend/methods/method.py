"""What every method is: a frozen dataclass of hyper-parameters with one pure function, `fit`."""

from __future__ import annotations

from typing import ClassVar, Protocol

from extend.features import Features
from extend.head import LinearHead
from extend.memory import Memory


class Method(Protocol):
    """Fit a head for all classes of the memory.

    `needs_memory`: the method cannot work without statistics of the old classes.
    """

    needs_memory: ClassVar[bool]

    def fit(self, head: LinearHead | None, memory: Memory | None, new: Features, key: int) -> LinearHead:
        """A head for ``new.classes``.

        Args:
            head: the classifier's present head, for the first ``head.num_classes`` of the classes.
            memory: statistics of all classes, the new ones included; None where there is none.
            new: features of the new samples, and of old classes' real samples where the user gave some.
            key: seed of every random choice.
        """
        ...


def statistics_of(memory: Memory | None, name: str) -> Memory:
    """The memory, or an error that says how to give one."""
    if memory is None:
        raise ValueError(
            f"{name} needs a memory of the old classes, and this classifier has none: pass old=(x, y) with real "
            "samples of every old class, or wrap the model with data= once; or use method='new_units' without it"
        )
    return memory
