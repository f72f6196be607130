"""Adopt a user's own model: find its head, measure its memory, freeze its feature space and strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import flax.linen as nn
from flax import nnx

from extend.backbone import extract as features
from extend.backbone.feature_space import Transform, Width
from extend.backbone.flax import Backbone, Taps
from extend.classifier.classifier import Classifier
from extend.classifier.history import Event
from extend.classifier.serialise import build
from extend.core.errors import ArgumentError
from extend.data import HOW_TO_SAY, InputSpec, Progress, input_spec, read_into
from extend.data.features import Features
from extend.heads.base import Head
from extend.heads.links import Activation, Link, link_named
from extend.memory.exemplars import Exemplars
from extend.memory.herding import with_exemplars
from extend.memory.memory import Memory
from extend.memory.rows import MOST
from extend.methods import Auto
from extend.methods.base import settings_of
from extend.methods.budget import name_of
from extend.methods.lda import oas, shared_strength
from extend.methods.ridge import gcv
from extend.operations.feature_search import choose
from extend.report.measuring import held_out_evaluation
from extend.training.importance import measure_fisher


def wrap(
    model: Any,
    classes: Sequence[str],
    data: Any = None,
    *,
    held_out: Any = None,
    inputs: InputSpec | None = None,
    taps: Taps | Literal["auto"] = (),
    transform: Transform | Literal["auto"] | None = None,
    width: int | Width | Literal["auto"] | None = None,
    scatter: Literal["class", "pooled"] = "class",
    recursive: bool = False,
    exemplars: int = 0,
    fisher: bool = False,
    activation: Activation | Link = "softmax",
    head: str | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Make a trained model extensible.

    Args:
        model: an NNX module; a Linen module with `variables` (or the tuple of both); a `Backbone`; or any function
            from a batch of inputs to features ``[n, d]``: then the head is fitted from `data`.
        classes: the names, in the order of the head's columns.
        data: labelled samples of the classes the model knows, in any form that `extend.add_classes` takes; integer
            labels are places in `classes`. The memory is measured from them; without them the classifier has none.
        held_out: ``(inputs, labels)`` that the model was **not** trained on, to measure with. None: some of `data` are
            held out by their content hash, and figures are marked as optimistic. A number: how many a class, or 0.
        inputs: what one input is: `extend.Image`, or ``jax.ShapeDtypeStruct``; read off `data` if they are arrays.
        taps, transform, width: the feature space, see `extend.Tap`, `extend.Width`; taps and "standardise" are scaled
            by `data`. ``"auto"`` chooses by held-out samples (see `extend.operations.feature_search`); the history tells what was tried.
        scatter: ``"class"`` keeps a scatter matrix a class, ``"pooled"`` one for all.
        recursive: keep the inverse of the scatter, so that adding few samples is a rank-n update and not a new solve:
            faster with many classes or features, for 8 d^2 more bytes (twice, if LDA's and ridge's strengths differ).
        exemplars: bytes of real samples to keep, all classes together, for `extend.methods.FineTune` to replay; every
            class has the same number, chosen by herding. 0: no sample is kept.
        fisher: measure the Fisher diagonal, which elastic weight consolidation and weight averaging need.
        activation: ``"sigmoid"`` for a model whose classes do not exclude each other.
        head, call: see `Backbone.from_nnx`.

    Raises:
        ValueError: the head is not found, bad samples, a class without samples, neither `data` nor `inputs`, a
            sigmoid for a backbone without a head, or `exemplars` are less than one sample a class.

    >>> from extend.models import MLP
    >>> model = MLP(2, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    >>> wrap(model, ["a", "b"], inputs=jax.ShapeDtypeStruct((4,), np.float32)).memory is None
    True
    """
    names = tuple(map(str, classes))
    spec = input_spec(inputs) if inputs is not None else _spec_of(model, data)
    space: dict[str, Any] = {"taps": taps, "transform": transform, "width": width}
    automatic = any(isinstance(part, str) and part == "auto" for part in space.values())

    def build_with(**space: Any) -> Backbone:
        return _backbone(model, names, spec, head, call, variables, **{"transform": None, "width": None, **space})

    if automatic and (data is None or isinstance(model, Backbone)):
        raise ArgumentError(f"{space}: 'auto' chooses by the base data, for a model: pass the model itself, and data=")
    backbone = build_with(**space) if not automatic else build_with(taps=())
    if not link_named(activation).exclusive and backbone.own_head is None:
        raise ArgumentError(
            "activation='sigmoid': this backbone has no head of its own (a function has none, a trained one lost it), "
            "and what is fitted here gives every input one class (softmax): use Backbone.from_function(..., head=...)"
        )
    if data is None and (exemplars or fisher):
        raise ArgumentError("exemplars= and fisher= are taken from data=, and there is none")
    if data is None:
        if backbone.own_head is None:
            raise ArgumentError("a function has no head: pass data=(inputs, labels) so that one can be fitted")
        bare = replace(backbone.own_head, link=link_named(activation))
        return Classifier(backbone, bare, names, None, (Event("wrap", names, "own head", 0, {}),))
    samples = read_into(names, data, spec, "data").check_every_class("data")
    given = held_out is not None and not isinstance(held_out, int)
    kept = None
    if given:
        kept = read_into(names, held_out, spec, "held_out")
    tried: tuple[str, ...] = ()
    if automatic:
        chosen = choose(build_with, samples, kept, taps, transform, width, progress)
        backbone = build_with(taps=chosen.taps, transform=chosen.transform, width=chosen.width)
        tried = chosen.tried
    joined = features.join(backbone, samples, progress=progress)
    backbone = backbone.with_space(backbone.space.fit(joined, backbone.parts))
    rows = features.finish(backbone, joined)
    most = held_out if isinstance(held_out, int) else MOST
    memory = Memory.of(
        Features(rows, samples.labels, names, samples.keys),
        scatter=scatter,
        max_held_out=most,
        trained_on=not given,
        offset=backbone.offset,
    )
    if kept is not None:
        measured = features.extract(backbone, kept)
        memory = memory.with_held_out(measured.features, kept.labels, kept.keys)
    memory = replace(memory, shrinkage=oas(memory.statistics), ridge=gcv(memory.statistics), held_out_used=automatic)
    if recursive:
        memory = memory.with_inverses(shared_strength(memory, None)[0], memory.ridge or 0.0)
    settings: dict[str, Any] = {}
    own: Head | None = (
        replace(backbone.own_head, link=link_named(activation)) if backbone.own_head is not None else None
    )
    how = "own head"
    if own is None:
        fresh = Features(rows, samples.labels, names, samples.keys)
        choice = Auto().choose(None, memory, fresh, 0, memory.choosing)
        own, how, settings = choice.head, name_of(choice.method), settings_of(choice.method)
    measured_on = held_out_evaluation(memory, own, names)
    if exemplars:
        memory = replace(memory, exemplars=Exemplars(exemplars))
        memory = with_exemplars(memory, samples, Features(rows, samples.labels, names, samples.keys), spec)
    if fisher:
        memory = replace(
            memory, fisher=measure_fisher(backbone, own, samples.take(~memory.holds(samples.keys, samples.labels)))
        )
    right = measured_on.by_class if measured_on is not None else {}
    event = Event("wrap", names, how, len(samples), right, settings | ({"tried": list(tried)} if tried else {}))
    return Classifier(backbone, own, names, memory, (event,))


def _backbone(
    model: Any,
    names: tuple[str, ...],
    spec: InputSpec,
    head: str | None,
    call: Callable[..., Any] | None,
    variables: Mapping[str, Any] | None,
    **space: Any,
) -> Backbone:
    if isinstance(model, Backbone):
        return model
    linen = isinstance(model, nn.Module) or (isinstance(model, tuple) and isinstance(model[0], nn.Module))
    if linen and variables is None and not isinstance(model, tuple):
        raise ArgumentError("a Linen module holds no parameters: pass variables=, or (module, variables) as the model")
    if linen or isinstance(model, nnx.Module):
        return build(model, len(names), spec, head=head, call=call, variables=variables, **space)
    if not callable(model):
        raise ArgumentError(f"model is a {type(model).__name__}; expected an NNX or Linen module, or a function")
    if taps := space.pop("taps"):
        raise ArgumentError(f"taps {list(taps)}: a function has no layers to tap; return them as part of the features")
    return Backbone.from_function(model, spec, **space)


def _spec_of(model: Any, data: Any) -> InputSpec:
    """Read what one input is off the data."""
    if isinstance(model, Backbone):
        return model.inputs
    first = None
    if isinstance(data, Mapping) and data:
        first = next(iter(data.values()))
    elif isinstance(data, tuple) and data:
        first = data[0]
    if first is None or (not hasattr(first, "__len__") and not hasattr(first, "shape")):
        raise ArgumentError(f"what one input is, is not known: pass inputs={HOW_TO_SAY}")
    return input_spec(first)
