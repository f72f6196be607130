"""Any model as a frozen feature function: Flax NNX, Flax Linen, or a plain function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extend.backbone.feature_space import Space, Tap, Transform, Width
from extend.backbone.network import Network, named_leaves, of_linen, of_nnx, outline
from extend.backbone.recorder import Layer, choose_head
from extend.core.errors import ArgumentError
from extend.data.input_spec import InputSpec, input_spec
from extend.heads.linear import LinearHead

BATCH_SIZE = 256
Run = Callable[[Any, Any], tuple[jax.Array, tuple[jax.Array, ...]]]
Learn = Callable[[Any, Any, Any], tuple[jax.Array, tuple[jax.Array, ...], dict[str, Any]]]
Taps = Iterable["str | Tap"]
Wanted = tuple[Taps, Transform | None, "int | Width | None"]


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen function from inputs to features, with the parameters it needs.

    Args:
        run: ``(network parameters, batch) -> (penultimate [n, p], tap outputs)``; pure where `traceable`.
        params: ``{"network": {path: array}, "space": {name: array}}``.
        inputs: what one input is.
        parts: p, and the width of each tap.
        space: taps, transform, width.
        description: JSON: how to build the network again.
        own_head: the model's own head, on the penultimate features; None for a function.
        traceable: JAX can trace `run`; otherwise it is called with NumPy arrays.
        batch_size: inputs are padded to batches of this size, always: the size of a batch may change last bits.
        layers: the layers at the top of the model that could be tapped, in the order in which they are called.
        blocks: the outermost layers that are called and hold parameters, in that order, the head left out.
        learn: ``(network parameters, batch, key) -> (penultimate, tap outputs, new statistics)`` in training mode;
            None where the model has none that is known.
        trainable: the names of the network parameters that a gradient may move, the head's own left out.
        origin: the model of another framework whose features these are (`extend.formats.base.Foreign`), or None.
    """

    run: Run
    params: dict[str, Any]
    inputs: InputSpec
    parts: tuple[int, ...]
    space: Space
    description: Mapping[str, Any]
    own_head: LinearHead | None = None
    traceable: bool = True
    batch_size: int = BATCH_SIZE
    layers: tuple[str, ...] = ()
    learn: Learn | None = None
    trainable: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    origin: Any = None

    @classmethod
    def from_nnx(
        cls,
        model: nnx.Module,
        num_classes: int,
        inputs: InputSpec,
        head: str | None = None,
        call: Callable[[nnx.Module, Any], Any] | None = None,
        taps: Taps = (),
        transform: Transform | None = None,
        width: int | Width | None = None,
    ) -> Backbone:
        """The part of an NNX model before its head; the model is copied, in evaluation mode, and never changed.

        Args:
            head: path of the head, such as ``"head"`` or ``"layers.3"``; found by running the model if None.
            call: ``call(model, batch)``, if not ``model(batch)``.
            taps: earlier layers whose outputs join the features.

        Raises:
            ValueError: the head is not found or ambiguous (candidates listed), or a tap is no layer of the model.

        >>> from extend.models import MLP
        >>> model = MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
        >>> Backbone.from_nnx(model, 3, jax.ShapeDtypeStruct((4,), np.float32)).feature_dim
        8
        """
        return _assemble(cls, of_nnx(model, call), num_classes, inputs, head, (taps, transform, width))

    @classmethod
    def from_linen(
        cls,
        model: nn.Module,
        variables: Mapping[str, Any],
        num_classes: int,
        inputs: InputSpec,
        head: str | None = None,
        call: Callable[[nn.Module, Any, Any], Any] | None = None,
        taps: Taps = (),
        transform: Transform | None = None,
        width: int | Width | None = None,
    ) -> Backbone:
        """The part of a Linen model before its head; `call` is ``call(model, variables, batch)``.

        Without `call`, a ``train`` or ``training`` argument of the model is given as False and ``deterministic`` as
        True. Raises as `from_nnx`.
        """
        network = of_linen(model, variables, call)
        return _assemble(cls, network, num_classes, inputs, head, (taps, transform, width))

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        inputs: InputSpec,
        params: Any = None,
        head: LinearHead | None = None,
        transform: Transform | None = None,
        width: int | Width | None = None,
        batch_size: int = BATCH_SIZE,
        traceable: bool | None = None,
    ) -> Backbone:
        """Any function ``batch -> features [n, p]`` (``(params, batch)`` if parameters are given).

        A function that JAX can trace is compiled; any other (PyTorch, ONNX Runtime) is called with NumPy arrays.

        Args:
            params: a tree of arrays; of dicts, lists and tuples if it is to be the same when a checkpoint is restored.
            head: the classifier's present head on these features, if there is one.
            traceable: whether JAX can trace the function; None: it is tried.

        Raises:
            ValueError: the result is not ``[n, p]``.

        >>> spec = jax.ShapeDtypeStruct((4,), np.float32)
        >>> Backbone.from_function(lambda x: x[:, :2], spec).feature_dim
        2
        """
        inputs = input_spec(inputs)
        names, leaves, structure = named_leaves(params)

        def run(network: Any, x: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            if params is None:
                return function(x), ()
            return function(jax.tree.unflatten(structure, [network[name] for name in names]), x), ()

        network = dict(zip(names, leaves, strict=True))
        shape: tuple[int, ...] = ()
        if traceable is not False:
            try:
                shape = jax.eval_shape(lambda p, x: run(p, x)[0], network, inputs.structs(2)).shape
            except Exception:  # Foreign runtimes raise errors of their own when they meet a tracer.
                if traceable:
                    raise
                traceable = False
            else:
                traceable = True
        if not traceable:
            zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), inputs.structs(2))
            shape = np.shape(run(network, zeros)[0])
        if len(shape) != 2 or shape[0] != 2:
            raise ArgumentError(f"the function returned shape {list(shape)} for 2 inputs; expected features [2, p]")
        space = replace(_space((), transform, width, None), keep=head is not None)
        kind = {"kind": "function", "class": getattr(function, "__name__", type(function).__name__), "head": None}
        if params is not None:
            with suppress(TypeError):  # Then the function is given the flat dictionary when it is restored.
                kind["params"] = outline(params)
        values = {"network": network, "space": space.init(shape[1])}
        floats = tuple(
            name for name, leaf in network.items() if traceable and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        )
        return cls(run, values, inputs, (shape[1],), space, kind, head, traceable, batch_size, trainable=floats)

    @property
    def penultimate(self) -> int:
        """p, the width of the penultimate features."""
        return self.parts[0]

    @property
    def joined(self) -> int:
        """The width of penultimate features and taps together."""
        return sum(self.parts)

    @property
    def feature_dim(self) -> int:
        """d, the length of a feature vector."""
        if self.space.plain:
            return self.joined
        return self.offset + (self.space.width.size if self.space.width else self.joined)

    @property
    def offset(self) -> int:
        """Where the part of a feature vector begins that the memory describes."""
        return self.space.offset(self.penultimate)

    def join(self, params: Any, x: Any) -> jax.Array:
        """A batch -> joined features ``[n, joined]``, before taps are scaled and anything is transformed."""
        penultimate, taps = self.run(params["network"], x)
        return self.space.join(jnp.asarray(penultimate), taps)

    def finish(self, params: Any, joined: jax.Array) -> jax.Array:
        """Joined features -> features ``[n, feature_dim]``."""
        return self.space.map(params["space"], joined, self.penultimate)

    def apply(self, params: Any, x: Any) -> jax.Array:
        """A batch -> features float32 ``[n, feature_dim]``."""
        return self.finish(params, self.join(params, x))

    def apply_in_training(self, params: Any, x: Any, key: Any) -> tuple[jax.Array, dict[str, Any]]:
        """`apply` in training mode (dropout draws by `key`, batch norm measures the batch), and the new statistics.

        Raises:
            ValueError: the model's training mode is not known.
        """
        if self.learn is None:
            raise ArgumentError("this model's training mode is not known: keep its statistics frozen")
        penultimate, taps, statistics = self.learn(params["network"], x, key)
        return self.finish(params, self.space.join(penultimate, taps)), statistics

    def with_network(self, changed: Mapping[str, Any]) -> Backbone:
        """This backbone with some of its network's parameters changed; the model's own head no longer belongs to it."""
        if not changed:
            return self
        network = {**self.params["network"], **changed}
        described = {**self.description, "moved": True}
        moved = replace(self, params={**self.params, "network": network}, description=described, own_head=None)
        if "compiled" in self.__dict__:  # It takes parameters as arguments: nothing to compile again.
            moved.__dict__["compiled"] = self.compiled
        return moved

    @cached_property
    def compiled(self) -> tuple[Callable[..., jax.Array], Callable[..., jax.Array]]:
        """`join` and `finish`, jit-compiled once a backbone (a host function's `join` is called as it is)."""
        return (jax.jit(self.join) if self.traceable else self.join), jax.jit(self.finish)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over parameter paths, shapes and bytes, and the static settings."""
        digest = hashlib.sha256(
            json.dumps([self.description, self.space.to_dict(), self.parts], sort_keys=True).encode()
        )
        for part in ("network", "space"):
            for name in sorted(self.params[part]):
                array = np.asarray(self.params[part][name])
                digest.update(f"{part}/{name} {array.shape} {array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def with_space(self, params: Mapping[str, Any]) -> Backbone:
        """This backbone with fitted parameters of its feature space."""
        fitted = replace(self, params={**self.params, "space": dict(params)})
        if "compiled" in self.__dict__:  # It takes parameters as arguments: nothing to compile again.
            fitted.__dict__["compiled"] = self.compiled
        return fitted


def _assemble(
    cls: type[Backbone], network: Network, num_classes: int, inputs: InputSpec, head: str | None, wanted: Wanted
) -> Backbone:
    """Trace once to find the head and the feature sizes; `wanted` are taps, transform and width."""
    inputs = input_spec(inputs)
    space = _space(*wanted, network.layers)
    candidates, tops = network.candidates, network.tops
    tap_paths = [tap.path for tap in space.taps]
    found: list[Layer] = []
    layers: list[str] = []
    called: dict[str, int] = {}

    def trace(params: Any, x: Any) -> tuple[Any, Any]:
        heads = [layer.path for layer in candidates]
        output, calls = network.record(params, x, heads + tap_paths + tops + network.layers)
        split, end = len(candidates), len(candidates) + len(tap_paths)
        chosen = choose_head(candidates, output, calls[:split], num_classes, head)
        found.append(chosen)
        features = _single(calls[[layer.path for layer in candidates].index(chosen.path)], chosen.path)[0]
        layers.extend(_tappable(dict(zip(tops, calls[end : end + len(tops)], strict=True)), features, output))
        made = zip(network.layers, calls[end + len(tops) :], strict=True)
        called.update({path: some[-1][2] for path, some in made if some})
        return features, tuple(_single(c, p)[1] for c, p in zip(calls[split:end], tap_paths, strict=True))

    penultimate, taps = jax.eval_shape(trace, network.params, inputs.structs(2))
    chosen = found[0]

    def run(params: Any, x: Any) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        _, calls = network.record(params, x, [chosen.path, *tap_paths])
        return calls[0][0][0], tuple(made[0][1] for made in calls[1:])

    def learn(params: Any, x: Any, key: Any) -> tuple[jax.Array, tuple[jax.Array, ...], dict[str, Any]]:
        assert network.learn is not None
        calls, statistics = network.learn(params, x, key, [chosen.path, *tap_paths])
        return calls[0][0][0], tuple(made[0][1] for made in calls[1:]), statistics

    own = f"{'params.' if network.kind == 'linen' else ''}{chosen.path}."
    trainable = tuple(name for name in network.trainable if not name.startswith(own))
    parts = [penultimate.shape[1]]
    for number in range(len(taps)):
        one = replace(space, taps=space.taps[number : number + 1])
        parts.append(jax.eval_shape(one.join, penultimate, taps[number : number + 1]).shape[1] - parts[0])
    return cls(
        run,
        {"network": network.params, "space": space.init(sum(parts))},
        inputs,
        tuple(parts),
        space,
        {"kind": network.kind, "head": chosen.path, "num_classes": num_classes, **network.builder},
        LinearHead.of(np.asarray(chosen.kernel, np.float32), np.asarray(chosen.bias, np.float32)),
        layers=tuple(layers),
        learn=learn if network.learn is not None else None,
        trainable=trainable,
        blocks=_blocks(called, [name.removeprefix("params.") for name in trainable]),
    )


def _tappable(tops: Mapping[str, list[Any]], *ends: Any) -> list[str]:
    """Of these layers and their calls, those that were called once and gave a batch, in the order of the calls."""
    once = [(calls[0][2], path, calls[0][1]) for path, calls in tops.items() if len(calls) == 1]
    return [
        path
        for _, path, output in sorted(once, key=lambda call: call[0])
        if getattr(output, "ndim", 0) in (2, 3, 4) and len(output) == 2 and not any(output is end for end in ends)
    ]


def _blocks(called: Mapping[str, int], names: list[str]) -> tuple[str, ...]:
    """Of the layers that were called, the outermost ones above these parameters, in the order of their (last) calls."""
    found = set()
    for name in names:
        parts = name.split(".")
        above = [".".join(parts[:length]) for length in range(1, len(parts))]
        found.update([next((path for path in above if path in called), above[0])] if above else [])
    return tuple(sorted(found, key=lambda path: called.get(path, -1)))


def _single(calls: list[Any], path: str) -> Any:
    if len(calls) != 1:
        raise ArgumentError(f"layer {path!r} is called {len(calls)} times in one pass; it must be called once")
    return calls[0]


def _space(taps: Taps, transform: Transform | None, width: int | Width | None, layers: list[str] | None) -> Space:
    wanted = tuple(Tap(tap) if isinstance(tap, str) else tap for tap in taps)
    for tap in wanted:
        if layers is not None and tap.path not in layers:
            raise ArgumentError(f"tap {tap.path!r} is not a layer of this model; there are: {', '.join(layers)}")
    return Space(wanted, transform, Width(width) if isinstance(width, int) else width)
