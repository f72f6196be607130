"""Make a trained model extensible: find its head, measure its memory, freeze its feature space and strengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from extend.backbone import Backbone, Taps, Transform, Width, embed, extract, finish
from extend.classifier import Classifier, Event, Recipe, held_out_evaluation
from extend.core.errors import ArgumentError
from extend.data import Features, Progress, Samples, read_into
from extend.heads import Activation, Head, Link, link_named
from extend.memory import MOST, Exemplars, Keep, Memory, check_bytes, wide_feature, with_exemplars
from extend.methods import Auto, Chosen
from extend.operations.adopt import Adopted, Build, adopt
from extend.operations.feature_search import choose
from extend.operations.foreign import Pixels
from extend.training import measure_fisher

Kept = tuple[Keep, Literal["class", "pooled"]]
"""What the memory keeps, and how it keeps the scatter."""


def wrap(
    model: Any,
    classes: Sequence[str] | None = None,
    data: Any = None,
    *,
    held_out: Any = None,
    inputs: Any = None,
    pixels: Pixels | None = None,
    size: int | None = None,
    taps: Taps | Literal["auto"] = (),
    transform: Transform | Literal["auto"] | None = None,
    width: int | Width | Literal["auto"] | None = None,
    scatter: Literal["class", "pooled"] = "class",
    keep: Keep = Keep(),
    activation: Activation | Link | None = None,
    head: str | None = None,
    output: str | int | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Classifier:
    """Make a trained model extensible.

    Parameters
    ----------
    model
        An NNX module; a Linen module with `variables`, or the tuple of both; a model of Keras, PyTorch or scikit-learn;
        a `Backbone`; or any function from a batch of inputs to features ``[n, d]``, whose head is fitted from `data`.
    classes
        The names in the order of the head's columns; left out where a model of another framework names them itself.
    data
        Labelled samples, in any form that `extend.add_classes` takes; integer labels mean the names or, where names are
        no integers, places in `classes`. The memory is measured from them; without them the classifier has none.
    held_out
        Samples that the model was **not** trained on, to measure with. None: some of `data` are held out by their
        content hash, and figures are marked as optimistic. A number: how many of each class, or 0.
    inputs
        What one input is: `extend.Image`, `extend.Array`, or an example such as ``x[:1]``; None: it is read off `data`.
    pixels, size
        In place of `inputs`, for a model of another framework; see `extend.load`.
    taps, transform, width
        The feature space; see `extend.Tap`, `extend.Width`. ``"auto"`` chooses by held-out samples. Left out, a
        function's features are standardised where one spreads 100 times as wide as the median.
    scatter
        ``"class"`` keeps a scatter matrix for each class, ``"pooled"`` one for all.
    keep
        What the memory keeps of the classes: rows, exemplars, the inverse; see `extend.Keep`.
    activation
        ``"sigmoid"`` for a model whose classes do not exclude each other; None: the head's own, or softmax.
    output
        Which part of what a PyTorch module returns are the scores; see `extend.load`.
    head, call
        The path of the head, and how the model is called; see `extend.FlaxBackbone.from_nnx`.
    progress
        Wraps the batches, such as ``tqdm.tqdm``.

    Raises
    ------
    ArgumentError, DataError
        The model is no such thing, its head is not found, an argument is missing or does not apply to it; bad samples.
    FormatError
        A model of another framework has a part that is not supported.

    Examples
    --------
    >>> import extend
    >>> from flax import nnx
    >>> model = extend.models.MLP(2, inputs=4, hidden=(8,), rngs=nnx.Rngs(0))
    >>> wrap(model, ["a", "b"], inputs=extend.Array((4,))).memory is None
    True
    """
    model_of = adopt(
        model, classes, data, inputs=inputs, pixels=pixels, size=size, head=head, output=output, call=call,
        variables=variables,
    )  # fmt: skip
    space, kept = (taps, transform, width), (_checked(keep), scatter)
    return _wrapped(model_of, data, held_out, space, kept, activation, progress)


def _checked(keep: Any) -> Keep:
    if not isinstance(keep, Keep):
        raise ArgumentError(f"keep is {keep!r}; expected extend.Keep(...), such as extend.Keep(rows=100)")
    return keep


def _wrapped(
    model: Adopted,
    data: Any,
    held_out: Any,
    space: tuple[Any, Any, Any],
    kept: Kept,
    activation: Activation | Link | None,
    progress: Progress | None,
) -> Classifier:
    """The classifier of a model; `space` are taps, transform and width, each as it is given to `wrap`."""
    taps, transform, width = space
    automatic = "auto" in [part for part in space if isinstance(part, str)]
    if automatic and (data is None or model.has_space):
        raise ArgumentError(f"{space}: 'auto' chooses by the base data, for a model: pass the model itself, and data=")
    backbone = model.build() if automatic else model.build(taps=taps, transform=transform, width=width)
    own = _own_head(backbone, activation, has_data=data is not None)
    if data is None:
        if kept[0].exemplar_bytes or kept[0].fisher:
            raise ArgumentError("exemplars and the Fisher diagonal are taken from data=, and there is none")
        return _made(backbone, own, None, model.classes, "own head", {}, 0)
    base = _read(model.classes, data, held_out, backbone)
    tried: tuple[str, ...] = ()
    if automatic:
        chosen = choose(model.build, base.samples, base.held_out, taps, transform, width, progress)
        backbone = model.build(taps=chosen.taps, transform=chosen.transform, width=chosen.width)
        tried = chosen.tried
    as_it_is = own is None and not (automatic or model.has_space) and backbone.space.plain
    return _measured(backbone, own, base, kept, tried, progress, model.build if as_it_is else None)


@dataclass(frozen=True, eq=False)
class Base:
    """Samples of the classes that the model knows, others to measure with, and how many of each class to hold out."""

    samples: Samples
    held_out: Samples | None
    max_held_out: int


def _read(names: tuple[str, ...], data: Any, held_out: Any, backbone: Backbone) -> Base:
    samples = read_into(names, data, backbone.inputs, "data").check_every_class("data")
    if isinstance(held_out, int):
        return Base(samples, None, held_out)
    given = None if held_out is None else read_into(names, held_out, backbone.inputs, "held_out")
    return Base(samples, given, MOST)


def _own_head(backbone: Backbone, activation: Activation | Link | None, *, has_data: bool) -> Head | None:
    """The model's own head with this activation; None where one is to be fitted."""
    own = backbone.own_head
    link = own.link if activation is None and own is not None else link_named(activation or "softmax")
    if own is not None and backbone.own_format is not None and link != own.link:
        raise ArgumentError(
            f"activation is {link.name!r}, but the model's own head has {own.link.name!r}: leave it out"
        )
    if own is None and not link.exclusive:
        raise ArgumentError(
            "activation='sigmoid': this backbone has no head of its own (a function has none, a trained one lost it), "
            "and what is fitted here gives every input one class (softmax): use FunctionBackbone.of(..., head=...)"
        )
    if own is None and not has_data:
        raise ArgumentError("a function has no head: pass data=(inputs, labels) so that one can be fitted")
    return None if own is None else replace(own, link=link)


def _measured(
    backbone: Backbone,
    own: Head | None,
    base: Base,
    kept: Kept,
    tried: tuple[str, ...],
    progress: Progress | None,
    build: Build | None,
) -> Classifier:
    """The classifier with a memory of the base data, and with a head fitted to it where there is none.

    `build` makes the backbone with another feature space, where the user left it open.
    """
    (keep, scatter), samples, names = kept, base.samples, base.samples.classes
    rows_each = 0 if backbone.space.width is not None and keep == Keep() else keep.rows
    width = max(1, backbone.feature_dim)
    check_bytes(keep.most_bytes, 0, samples.counts, width, rows_each, base.max_held_out, keep.dtype)
    joined = embed(backbone, samples, progress=progress)
    scaled = ""
    if build is not None and (wide := wide_feature(joined.std(axis=0, dtype=np.float64))) is not None:
        backbone = build(transform="standardise")
        scaled = f"feature {wide[0]} spreads {wide[1]:,.0f} times as wide as the median"
    backbone = backbone.with_space(backbone.space.fit(joined, backbone.parts))
    rows = Features(finish(backbone, joined), samples.labels, names, samples.keys)
    memory = Memory.of(
        rows,
        scatter=scatter,
        max_held_out=base.max_held_out,
        max_rows=rows_each,
        dtype=keep.dtype,
        trained_on=True,
        offset=backbone.offset,
    )
    if (held := base.held_out) is not None:
        memory = memory.with_held_out(extract(backbone, held).features, held.labels, held.keys)
    memory = replace(memory.with_strengths(), held_out_used=bool(tried), most_bytes=keep.most_bytes)
    if keep.inverse:
        memory = memory.recursive()
    how, settings = "own head", {"tried": [*tried, *([f"transform standardise: {scaled}"] if scaled else [])]}
    settings = settings if settings["tried"] else {}
    choice = None if own is not None and not own.link.exclusive else Auto.for_(backbone).choose(memory)
    if own is None:
        assert choice is not None
        own, how, settings = choice.head, choice.method.name, choice.method.settings() | settings
    if limit := keep.exemplar_bytes:
        memory = with_exemplars(replace(memory, exemplars=Exemplars(limit)), samples, rows, backbone.inputs)
    if keep.fisher:
        free = samples.take(~memory.holds(samples.keys, samples.labels))
        memory = replace(memory, fisher=measure_fisher(backbone, own, free))
    return _made(backbone, own, memory, names, how, settings, len(samples), choice.chosen if choice else None)


def _made(
    backbone: Backbone,
    head: Head | None,
    memory: Memory | None,
    names: tuple[str, ...],
    how: str,
    settings: Mapping[str, Any],
    samples: int,
    chosen: Chosen | None = None,
) -> Classifier:
    assert head is not None  # The model's own, or one that was fitted.
    found = held_out_evaluation(memory, head, names)
    learnt = found.by_class if found is not None else {}
    recipe = Recipe.wrapped(how, settings, names, learnt, chosen.to_dict() if chosen is not None else None)
    return Classifier(backbone, head, names, memory, (Event("wrap", names, how, samples, learnt, settings),), recipe)
