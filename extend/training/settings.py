"""TODO"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from extend.core.errors import ArgumentError
from extend.training.parameters import Select


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
