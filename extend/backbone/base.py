"""What every backbone is: a frozen function from inputs to features, which can be asked what can be done with it.

There are three: `extend.backbone.flax.FlaxBackbone`, `extend.backbone.function.FunctionBackbone` and
`extend.backbone.file.FileBackbone`. What they share stands here once, in `BaseBackbone`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from extend.backbone.feature_space import Space
from extend.core.errors import ArgumentError
from extend.data import Batch, InputSpec
from extend.heads import Head, LinearHead, Origin

BATCH_SIZE = 256

Arrays: TypeAlias = Mapping[str, Any]
"""Arrays by their names."""
Params: TypeAlias = Mapping[str, Arrays]
"""A backbone's parameters: ``{"network": {path: array}, "space": {name: array}}``."""
Outputs: TypeAlias = tuple[jax.Array, tuple[jax.Array, ...]]
"""Penultimate features ``[n, p]``, and the outputs of the tapped layers."""
Run: TypeAlias = Callable[[Arrays, Batch], Outputs]
Learn: TypeAlias = Callable[[Arrays, Batch, Any], tuple[jax.Array, tuple[jax.Array, ...], dict[str, Any]]]
Compiled: TypeAlias = Callable[[PyTree, Batch], jax.Array]


class Backbone(Protocol):
    """A frozen function from inputs to features. What it can do is asked of it, and never told by its type."""

    @property
    def params(self) -> Params:
        """Its parameters: of the network, and of the feature space."""
        ...

    @property
    def inputs(self) -> InputSpec:
        """What one input is."""
        ...

    @property
    def parts(self) -> tuple[int, ...]:
        """The width of the penultimate features, and of each tap."""
        ...

    @property
    def space(self) -> Space:
        """How penultimate features and taps become features."""
        ...

    @property
    def description(self) -> Mapping[str, Any]:
        """How to build the network again, as JSON."""
        ...

    @property
    def own_head(self) -> LinearHead | None:
        """The model's own head on the penultimate features; None if it has none."""
        ...

    @property
    def source(self) -> Callable[..., Any] | None:
        """The function that this was made of; None where it was made of a model."""
        ...

    @property
    def batch_size(self) -> int:
        """Inputs are padded to batches of this size, always: the size of a batch may change last bits."""
        ...

    @property
    def can_trace(self) -> bool:
        """Whether JAX can trace it: compile it, differentiate it, and write it as ONNX or StableHLO."""
        ...

    @property
    def can_train(self) -> bool:
        """Whether a gradient may move some of its parameters."""
        ...

    @property
    def trainable(self) -> tuple[str, ...]:
        """The names of the network parameters that a gradient may move, the head's own left out."""
        ...

    @property
    def learn(self) -> Learn | None:
        """``(network parameters, batch, key) -> (penultimate, tap outputs, new statistics)`` in training mode.

        None where that mode is not known.
        """
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers at the top of the model that can be tapped, in the order of their calls."""
        ...

    @property
    def blocks(self) -> tuple[str, ...]:
        """The outermost layers that hold parameters, in the order of their calls, the head left out."""
        ...

    @property
    def own_format(self) -> str | None:
        """The name of the format of another framework that it was read from and goes back to, such as "onnx"."""
        ...

    @property
    def needs_pixels(self) -> bool:
        """Whether its inputs can be pictures, and how their pixels are scaled was not said."""
        ...

    @property
    def penultimate(self) -> int:
        """The width of the penultimate features, p."""
        ...

    @property
    def joined(self) -> int:
        """The width of penultimate features and taps together."""
        ...

    @property
    def feature_dim(self) -> int:
        """The length of a feature vector, d."""
        ...

    @property
    def offset(self) -> int:
        """Where the part of a feature vector begins that the memory describes."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over parameter paths, shapes and bytes, and the static settings."""
        ...

    @property
    def compiled(self) -> tuple[Compiled, Compiled]:
        """`join` and `finish`, compiled once for each backbone."""
        ...

    def holds(self, head: Head) -> bool:
        """Return whether a classifier of this backbone can be saved with this head."""
        ...

    def origin_of(self, kernel: np.ndarray, bias: np.ndarray, start: int) -> Origin:
        """Return where a block of columns came from, of a checkpoint that does not tell."""
        ...

    def join(self, params: Params, x: Batch) -> Float[jax.Array, "n joined"]:
        """Return a batch's joined features, before taps are scaled and anything is transformed."""
        ...

    def finish(self, params: Params, joined: Float[jax.Array, "n joined"]) -> Float[jax.Array, "n d"]:
        """Return the features that joined features become."""
        ...

    def apply(self, params: Params, x: Batch) -> Float[jax.Array, "n d"]:
        """Return a batch's features, float32."""
        ...

    def apply_in_training(self, params: Params, x: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        """Return a batch's features in training mode, and the new statistics.

        Raises
        ------
        ArgumentError
            The model's training mode is not known.
        """
        ...

    def with_network(self, changed: Arrays) -> Self:
        """Return this backbone with some network parameters changed; the model's own head belongs to it no longer."""
        ...

    def with_space(self, params: Arrays) -> Self:
        """Return this backbone with fitted parameters of its feature space."""
        ...

    def with_batch_size(self, batch_size: int) -> Self:
        """Return this backbone with batches of another size."""
        ...

    def without_own_head(self) -> Self:
        """Return this backbone without the model's own head, for other classes."""
        ...

    def beside(self, path: str | os.PathLike[str]) -> Path | None:
        """Return the folder for what a file that `write` writes cannot hold; None where it stands alone."""
        ...

    def write(self, head: Head, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
        """Write this backbone with a head on it as one file, in the format that the path's suffix says.

        Raises
        ------
        ArgumentError
            The backbone cannot be written, or cannot hold this head.
        FormatError
            The suffix is not one that this backbone can be written as.
        """
        ...


@dataclass(frozen=True, eq=False)
class BaseBackbone:
    """What all backbones share.

    Parameters
    ----------
    run
        ``(network parameters, batch) -> (penultimate [n, p], tap outputs)``; pure where JAX can trace it.
    params, inputs, parts, space, description, own_head, batch_size, source
        See `Backbone`.
    """

    run: Run
    params: Params
    inputs: InputSpec
    parts: tuple[int, ...]
    space: Space
    description: Mapping[str, Any]
    own_head: LinearHead | None = None
    batch_size: int = BATCH_SIZE
    source: Callable[..., Any] | None = None

    @property
    def can_trace(self) -> bool:
        return True

    @property
    def can_train(self) -> bool:
        return bool(self.trainable)

    @property
    def trainable(self) -> tuple[str, ...]:
        return ()

    @property
    def learn(self) -> Learn | None:
        return None

    @property
    def layers(self) -> tuple[str, ...]:
        return ()

    @property
    def blocks(self) -> tuple[str, ...]:
        return ()

    @property
    def own_format(self) -> str | None:
        return None

    @property
    def needs_pixels(self) -> bool:
        return False

    @property
    def penultimate(self) -> int:
        return self.parts[0]

    @property
    def joined(self) -> int:
        return sum(self.parts)

    @property
    def feature_dim(self) -> int:
        if self.space.plain:
            return self.joined
        return self.offset + (self.space.width.size if self.space.width else self.joined)

    @property
    def offset(self) -> int:
        return self.space.offset(self.penultimate)

    def holds(self, head: Head) -> bool:
        return True

    def origin_of(self, kernel: np.ndarray, bias: np.ndarray, start: int) -> Origin:
        return "solved"

    def join(self, params: Params, x: Batch) -> Float[jax.Array, "n joined"]:
        penultimate, taps = self.run(params["network"], x)
        return self.space.join(jnp.asarray(penultimate), taps)

    def finish(self, params: Params, joined: jax.Array) -> Float[jax.Array, "n d"]:
        return self.space.map(params["space"], joined, self.penultimate)

    def apply(self, params: Params, x: Batch) -> Float[jax.Array, "n d"]:
        return self.finish(params, self.join(params, x))

    def apply_in_training(self, params: Params, x: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        if self.learn is None:
            raise ArgumentError("this model's training mode is not known: keep its statistics frozen")
        penultimate, taps, statistics = self.learn(params["network"], x, key)
        return self.finish(params, self.space.join(penultimate, taps)), statistics

    def with_network(self, changed: Arrays) -> Self:
        if not changed:
            return self
        network = {**self.params["network"], **changed}
        described = {**self.description, "moved": True}
        moved = replace(self, params={**self.params, "network": network}, description=described, own_head=None)
        return moved._compiled_as(self)

    def with_space(self, params: Arrays) -> Self:
        return replace(self, params={**self.params, "space": dict(params)})._compiled_as(self)

    def with_batch_size(self, batch_size: int) -> Self:
        return replace(self, batch_size=batch_size)

    def _compiled_as(self, other: Self) -> Self:
        """This backbone, with the compiled functions of another one that differs in parameters alone."""
        if "compiled" in other.__dict__:  # They take parameters as arguments: nothing to compile again.
            self.__dict__["compiled"] = other.compiled
        return self

    @cached_property
    def compiled(self) -> tuple[Compiled, Compiled]:
        """`join` and `finish`, compiled once for each backbone; what JAX cannot trace is called as it is."""
        return (jax.jit(self.join) if self.can_trace else self.join), jax.jit(self.finish)

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(
            json.dumps([self.description, self.space.to_dict(), self.parts], sort_keys=True).encode()
        )
        for part in ("network", "space"):
            for name in sorted(self.params[part]):
                array = np.asarray(self.params[part][name])
                digest.update(f"{part}/{name} {array.shape} {array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def without_own_head(self) -> Self:
        """Return this backbone without the model's own head, for other classes."""
        return replace(self, own_head=None)

    def beside(self, path: str | os.PathLike[str]) -> Path | None:
        """Return None: what is written stands alone."""
        return None

    def write(self, head: Head, classes: Sequence[str], path: str | os.PathLike[str]) -> None:
        """Write the backbone with a head on it as ``.onnx`` or ``.stablehlo``; see `Backbone.write`."""
        from extend.backbone.traced import write_traced  # The writers are for those who write.

        if not self.can_trace:
            raise ArgumentError(
                f"{path}: the backbone is a function that JAX cannot trace: write what it calls with its own tools"
            )
        write_traced(self, head, tuple(classes), Path(path))
