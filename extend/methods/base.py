"""What every method is: a frozen dataclass of hyper-parameters with one pure function, `fit`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import numpy as np

from extend.core.errors import ArgumentError
from extend.data.features import Features
from extend.heads.base import Head
from extend.memory.memory import Memory


class Method(Protocol):
    """Fit a head for all classes of the memory.

    `needs_memory`: the method cannot work without statistics of the old classes.
    """

    needs_memory: ClassVar[bool]

    def fit(self, head: Head | None, memory: Memory | None, new: Features, key: int) -> Head:
        """A head for ``new.classes``.

        Args:
            head: the classifier's present head, for the first ``head.num_classes`` of the classes.
            memory: statistics of all classes, the new ones included; None where there is none.
            new: features of the new samples, and of old classes' real samples where the user gave some.
            key: seed of every random choice.
        """
        ...


class ClosedForm(Method, Protocol):
    """A method whose head is a function of the memory, and which can tell what it would be without one sample."""

    def leave_one_out(self, memory: Memory, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores ``[m, k]`` of rows ``[m, d]`` that are in the memory, each as if it alone were not.

        The classes of these rows have at least two samples.
        """
        ...


def statistics_of(memory: Memory | None, name: str) -> Memory:
    """The memory, or an error that says how to give one."""
    if memory is None:
        raise ArgumentError(
            f"{name} needs a memory of the old classes, and this classifier has none: pass old=(x, y) with real "
            "samples of every old class, or wrap the model with data= once; or use method='imprint', which needs none"
        )
    return memory


def settings_of(method: Any) -> dict[str, Any]:
    """A method's hyper-parameters, for the history."""
    plainly = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(method).items()}
    return {key: value for key, value in plainly.items() if _storable(value)}


def _storable(value: Any) -> bool:
    if isinstance(value, list):
        return all(_storable(part) for part in value)
    return isinstance(value, (str, int, float, type(None)))
