"""A plain feed-forward network, scaled inputs and dense layers: what PMML, MATLAB, theanets and MLPs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import expit, log_softmax, softmax

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, digest

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda z: z,
    "tanh": np.tanh,
    "logistic": expit,
    "relu": lambda z: np.maximum(z, 0),
    "softmax": lambda z: softmax(z, axis=1),
    "log_softmax": lambda z: log_softmax(z, axis=1),
}
"""Element-wise functions of a layer (softmax and log_softmax over the row), float64."""


@dataclass(frozen=True)
class DenseLayer:
    """``activation(x @ kernel + bias)``; kernel float64 ``[n, m]``, bias float64 ``[m]``, a name in `ACTIVATIONS`.

    Raises:
        FormatError: shapes that do not fit, NaN or infinity, or an unknown activation.

    >>> DenseLayer(np.eye(2), np.zeros(2), "relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str

    def __post_init__(self) -> None:
        DenseHead(self.kernel, self.bias)
        if self.activation not in ACTIVATIONS:
            raise FormatError(f"activation {self.activation!r} is not supported; there are {', '.join(ACTIVATIONS)}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return ACTIVATIONS[self.activation](x @ self.kernel + self.bias)


@dataclass(frozen=True)
class DenseNetwork:
    """``x * scale + offset`` through the layers; the last layer is the head.

    Args:
        layers: at least one, each as wide as the next one expects.
        scale, offset: float64 ``[n]``, on the n inputs.
        inputs: the n inputs' names, or none.
        classes: the names of the outputs, or none.

    Raises:
        FormatError: layers or names that do not fit each other.

    >>> layer = DenseLayer(np.eye(2), np.zeros(2), "softmax")
    >>> DenseNetwork((layer,), np.ones(2), np.zeros(2)).outputs(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    layers: tuple[DenseLayer, ...]
    scale: np.ndarray
    offset: np.ndarray
    inputs: tuple[str, ...] = field(default=())
    classes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.layers:
            raise FormatError("the network has no layers")
        width = len(self.scale)
        for number, layer in enumerate(self.layers):
            if layer.kernel.shape[0] != width:
                raise FormatError(f"layer {number + 1} expects {layer.kernel.shape[0]} inputs and gets {width}")
            width = layer.kernel.shape[1]
        if self.scale.shape != self.offset.shape or self.scale.ndim != 1:
            raise FormatError(f"scale {self.scale.shape} and offset {self.offset.shape} of the inputs do not fit")
        if not (np.isfinite(self.scale).all() and np.isfinite(self.offset).all()):
            raise FormatError("the inputs' scaling holds NaN or infinity")
        if self.inputs and len(self.inputs) != len(self.scale):
            raise FormatError(f"{len(self.inputs)} inputs are named; the network has {len(self.scale)}")
        if self.classes and len(self.classes) != width:
            raise FormatError(f"{len(self.classes)} classes are named; the last layer has {width} units")

    def features(self, x: np.ndarray) -> np.ndarray:
        """What the last layer reads, float64 ``[n, d]``, of inputs ``[n, inputs]``."""
        x = np.asarray(x, np.float64) * self.scale + self.offset
        for layer in self.layers[:-1]:
            x = layer(x)
        return x

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """The last layer's outputs, float64 ``[n, k]``."""
        return self.layers[-1](self.features(x))

    def with_head(self, head: DenseHead, classes: tuple[str, ...]) -> DenseNetwork:
        """The same network with another last layer of the same activation."""
        last = DenseLayer(head.kernel.astype(np.float64), head.bias.astype(np.float64), self.layers[-1].activation)
        return replace(self, layers=(*self.layers[:-1], last), classes=classes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything before the last layer."""
        parts: list[tuple[str, object]] = [("scale", self.scale), ("offset", self.offset)]
        for layer in self.layers[:-1]:
            parts += [("kernel", layer.kernel), ("bias", layer.bias), ("activation", layer.activation)]
        return digest(parts)
