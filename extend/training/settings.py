"""The settings of a backbone's training."""

from __future__ import annotations

from dataclasses import dataclass

import optax

from extend.core.errors import ArgumentError
from extend.training.parameters import Select


@dataclass(frozen=True)
class Training:
    """How to train a backbone and its head. The defaults are for moving a trained network a little.

    Parameters
    ----------
    select
        Which parameters of the backbone move (see `extend.training.parameters.select`); the head always does.
    lora
        The rank of adapters that move in place of the selected kernels (LoRA, Hu et al. 2021); 0 moves the kernels.
    epochs
        The number of passes over the samples. An epoch has as many draws as there are samples.
    batch_size
        The number of samples in a step.
    learning_rate, head_learning_rate
        The rates of Adam (Kingma & Ba 2015), which fall to 0 by a cosine.
    weight_decay
        The weight decay of kernels, decoupled (Loshchilov & Hutter 2019).
    optimiser
        An optax transformation that takes the place of Adam, for backbone and head alike.
    balanced
        Draw every class equally often; otherwise every sample. Samples of a large class beside many small ones are then
        drawn less than once an epoch.
    frozen_statistics
        Keep the means and variances of batch norm, and draw nothing in dropout.
    padding
        The number of pixels by which pictures are padded before they are cropped at random to their own size.
    flip
        Mirror half of the pictures.
    mixed_precision
        Compute the network in bfloat16; parameters, head and loss stay float32.
    patience
        Stop early after this number of epochs without a better held-out accuracy, and keep the best state.
    state
        A folder where the state is kept after every epoch; a training that was interrupted goes on from it.

    Raises
    ------
    ArgumentError
        A number is out of its range.

    Examples
    --------
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
    optimiser: optax.GradientTransformation | None = None
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
