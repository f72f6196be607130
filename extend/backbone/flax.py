"""The backbone that is a Flax model, NNX or Linen, up to its head: trainable, and with layers that can be tapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extend.backbone.base import Arrays, BaseBackbone, Learn, Outputs
from extend.backbone.feature_space import Taps, Transform, Width, space_of
from extend.backbone.network import Network, evaluation_flags, of_linen, of_nnx
from extend.backbone.recorder import Layer, choose_head
from extend.core.errors import ArgumentError
from extend.data import Batch, input_spec
from extend.heads import LinearHead

Wanted: TypeAlias = tuple[Taps, Transform | None, "int | Width | None"]


@dataclass(frozen=True, eq=False)
class FlaxBackbone(BaseBackbone):
    """The part of a Flax model before its head; made by `from_nnx`, `from_linen` or `of`.

    Parameters
    ----------
    layers, blocks, learn, trainable
        See `extend.backbone.base.Backbone`.
    """

    layers: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    learn: Learn | None = None
    trainable: tuple[str, ...] = ()

    @classmethod
    def from_nnx(
        cls,
        model: nnx.Module,
        num_classes: int,
        inputs: Any,
        head: str | None = None,
        call: Callable[[nnx.Module, Any], Any] | None = None,
        taps: Taps = (),
        transform: Transform | None = None,
        width: int | Width | None = None,
    ) -> FlaxBackbone:
        """Make a backbone of an NNX model; the model is copied, in evaluation mode, and never changed.

        Parameters
        ----------
        model
            The model, whose head has `num_classes` columns.
        inputs
            What one input is, in any form that `extend.wrap` takes.
        head
            The path of the head, such as ``"head"`` or ``"layers.3"``; found by running the model if None.
        call
            ``call(model, batch)``, where it is not ``model(batch)``.
        taps, transform, width
            The feature space; see `extend.Tap` and `extend.Width`.

        Raises
        ------
        ArgumentError
            The head is not found or ambiguous (the candidates are listed), or a tap is no layer of the model.

        Examples
        --------
        >>> from extend.models import MLP
        >>> model = MLP(3, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
        >>> FlaxBackbone.from_nnx(model, 3, np.zeros((1, 4))).feature_dim
        8
        """
        return _assemble(cls, of_nnx(model, call), num_classes, inputs, head, (taps, transform, width))

    @classmethod
    def from_linen(
        cls,
        model: nn.Module,
        variables: Mapping[str, Any],
        num_classes: int,
        inputs: Any,
        head: str | None = None,
        call: Callable[[nn.Module, Any, Any], Any] | None = None,
        taps: Taps = (),
        transform: Transform | None = None,
        width: int | Width | None = None,
    ) -> FlaxBackbone:
        """Make a backbone of a Linen model; `call` is ``call(model, variables, batch)``.

        Without `call`, a ``train`` or ``training`` argument of the model is given as False and ``deterministic`` as
        True. The other parameters and the errors are those of `from_nnx`.
        """
        network = of_linen(model, variables, call)
        return _assemble(cls, network, num_classes, inputs, head, (taps, transform, width))

    @classmethod
    def of(
        cls,
        model: Any,
        num_classes: int,
        inputs: Any,
        *,
        head: str | None = None,
        call: Callable[..., Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        **space: Any,
    ) -> FlaxBackbone:
        """Make a backbone of an NNX or Linen module, of ``(module, variables)``, or of a function that returns one.

        A Linen module without variables is initialised.

        Raises
        ------
        ArgumentError
            It is none of these; or as `from_nnx`.
        """
        if isinstance(model, tuple) and len(model) == 2 and is_flax(model[0]):
            model, variables = model
        if not is_flax(model):
            made = model() if callable(model) else model
            if not is_flax(made):
                raise ArgumentError(
                    f"model is {type(model).__name__}; expected a Flax module, or a function that returns one"
                )
            model = made
        if isinstance(model, nnx.Module):
            return cls.from_nnx(model, num_classes, inputs, head, call, **space)
        if variables is None:
            example = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), input_spec(inputs).structs(1))
            variables = model.init(jax.random.key(0), example, **evaluation_flags(model))
        return cls.from_linen(model, variables, num_classes, inputs, head, call, **space)

    def with_arrays(self, arrays: Arrays) -> FlaxBackbone:
        """Return this backbone with all of its network's arrays, and its own head, taken from a checkpoint.

        Raises
        ------
        ArgumentError
            Names or shapes are not those of the model.
        """
        old = self.params["network"]
        for name, leaf in old.items():
            if name not in arrays:
                raise ArgumentError(f"parameter {name!r} {list(np.shape(leaf))} of the model is not in it")
            if np.shape(arrays[name]) != np.shape(leaf):
                raise ArgumentError(
                    f"parameter {name!r} has shape {list(np.shape(arrays[name]))}; "
                    f"the model expects {list(np.shape(leaf))}"
                )
        if extra := sorted(set(arrays) - set(old)):
            raise ArgumentError(f"parameter {extra[0]!r} {list(arrays[extra[0]].shape)} is not in the model")
        path = f"{self.description['head']}.".lstrip(".")  # The head may be the whole model.
        prefix = "" if f"{path}kernel" in arrays else "params."
        kernel = np.asarray(arrays[f"{prefix}{path}kernel"], np.float32)
        bias = np.asarray(arrays.get(f"{prefix}{path}bias", np.zeros(kernel.shape[1])), np.float32)
        return replace(self, params={**self.params, "network": dict(arrays)}, own_head=LinearHead.of(kernel, bias))


def is_flax(model: Any) -> bool:
    """Whether this is an NNX or a Linen module."""
    return isinstance(model, nnx.Module | nn.Module)


def _assemble(
    cls: type[FlaxBackbone], network: Network, num_classes: int, inputs: Any, head: str | None, wanted: Wanted
) -> FlaxBackbone:
    """Trace once to find the head and the feature sizes; `wanted` are taps, transform and width."""
    spec = input_spec(inputs)
    space = space_of(*wanted, network.layers)
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

    penultimate, taps = jax.eval_shape(trace, network.params, spec.structs(2))
    chosen = found[0]

    def run(params: Arrays, x: Batch) -> Outputs:
        _, calls = network.record(params, x, [chosen.path, *tap_paths])
        return calls[0][0][0], tuple(made[0][1] for made in calls[1:])

    def learn(params: Arrays, x: Batch, key: Any) -> tuple[jax.Array, tuple[jax.Array, ...], dict[str, Any]]:
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
        spec,
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
