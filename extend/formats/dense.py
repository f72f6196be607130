"""A plain feed-forward network, scaled inputs and dense layers: what PMML, MATLAB, theanets and MLPs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
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
"""What a dense layer applies to each number (softmax and log_softmax: to each row), in float64."""


@dataclass(frozen=True)
class DenseLayer:
    """A layer that computes ``activation(x @ kernel + bias)`` in float64.

    Parameters
    ----------
    kernel, bias
        The layer's numbers.
    activation
        One of the names in `ACTIVATIONS`.

    Raises
    ------
    FormatError
        If the shapes do not fit each other, a number is not finite, or the activation is not known.

    Examples
    --------
    >>> DenseLayer(np.eye(2), np.zeros(2), "relu")(np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """

    kernel: Float[np.ndarray, "n m"]
    bias: Float[np.ndarray, " m"]
    activation: str

    def __post_init__(self) -> None:
        DenseHead(self.kernel, self.bias)
        if self.activation not in ACTIVATIONS:
            raise FormatError(f"activation {self.activation!r} is not supported; there are {', '.join(ACTIVATIONS)}")

    def __call__(self, x: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b m"]:
        """Return the layer's outputs."""
        return ACTIVATIONS[self.activation](x @ self.kernel + self.bias)


@dataclass(frozen=True)
class DenseNetwork:
    """A feed-forward network: ``x * scale + offset`` goes through the layers, and the last layer is the head.

    Parameters
    ----------
    layers
        One layer or more, each as wide as the next one expects.
    scale, offset
        What each input is multiplied by, and what is added then.
    inputs, classes
        The names of the inputs and of the last layer's units, or nothing.

    Raises
    ------
    FormatError
        If layers or names do not fit each other, or the scaling is not finite.

    Examples
    --------
    >>> layer = DenseLayer(np.eye(2), np.zeros(2), "softmax")
    >>> DenseNetwork((layer,), np.ones(2), np.zeros(2)).outputs(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """

    layers: tuple[DenseLayer, ...]
    scale: Float[np.ndarray, " n"]
    offset: Float[np.ndarray, " n"]
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

    def features(self, x: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b d"]:
        """Return what the last layer reads, in float64."""
        x = np.asarray(x, np.float64) * self.scale + self.offset
        for layer in self.layers[:-1]:
            x = layer(x)
        return x

    def outputs(self, x: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b k"]:
        """Return the last layer's outputs, in float64."""
        return self.layers[-1](self.features(x))

    def with_head(self, head: DenseHead, classes: tuple[str, ...]) -> DenseNetwork:
        """Return the same network with another last layer of the same activation."""
        last = DenseLayer(head.kernel.astype(np.float64), head.bias.astype(np.float64), self.layers[-1].activation)
        return replace(self, layers=(*self.layers[:-1], last), classes=classes)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything before the last layer."""
        parts: list[tuple[str, object]] = [("scale", self.scale), ("offset", self.offset)]
        for layer in self.layers[:-1]:
            parts += [("kernel", layer.kernel), ("bias", layer.bias), ("activation", layer.activation)]
        return digest(parts)
