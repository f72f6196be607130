"""Make a backbone of whatever a user gives as a model, by its type, and refuse what would be misread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from extend.backbone import Backbone, FlaxBackbone, FunctionBackbone, Taps, Transform, Width, is_flax
from extend.core.errors import ArgumentError
from extend.data import HOW_TO_SAY, InputSpec, class_names, input_spec
from extend.formats import framework_of
from extend.operations.foreign import Pixels, open_backbone

EXPECTED = (
    "an NNX module, a Linen module with its variables, a model of Keras, PyTorch or scikit-learn, or a function from "
    "inputs to features"
)


class Build(Protocol):
    """Makes the backbone with these parts of its feature space."""

    def __call__(
        self, *, taps: Taps = (), transform: Transform | None = None, width: int | Width | None = None
    ) -> Backbone:
        """Return the backbone."""
        ...


@dataclass(frozen=True)
class Adopted:
    """A model that can become a backbone.

    Parameters
    ----------
    build
        Makes the backbone with a feature space.
    classes
        The names of the head's columns, or those that the data will be of.
    has_space
        Whether the backbone has its feature space already, so that `build` takes none.
    """

    build: Build
    classes: tuple[str, ...]
    has_space: bool = False


def adopt(
    model: Any,
    classes: Sequence[str] | None,
    data: Any,
    *,
    inputs: Any = None,
    pixels: Pixels | None = None,
    size: int | None = None,
    head: str | None = None,
    output: str | int | None = None,
    call: Callable[..., Any] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> Adopted:
    """Find out what a model is. The parameters are those of `extend.wrap`.

    Raises
    ------
    ArgumentError
        It is no model, or an argument is missing or does not apply to it.
    FormatError
        It is a model of another framework with a part that is not supported.
    """
    if (framework := framework_of(model)) is not None:
        _refuse(f"a {framework} model", call=call, variables=variables)
        opened = open_backbone(
            model, classes=classes, inputs=inputs, pixels=pixels, size=size, data=data, head=head, output=output
        )
        return Adopted(_as_it_is(opened), opened.columns, True)
    _refuse("no model of another framework", pixels=pixels, size=size, output=output)
    names = class_names(classes)
    if hasattr(type(model), "with_space"):
        _refuse("a backbone already", head=head, call=call, variables=variables)
        if inputs is not None and input_spec(inputs) != model.inputs:
            raise ArgumentError(f"inputs is {inputs}, but the backbone takes {model.inputs}: leave it out")
        return Adopted(_as_it_is(model), names, True)
    linen = model[0] if isinstance(model, tuple) and model else model
    if is_flax(linen):
        if linen is model and hasattr(model, "apply") and variables is None:
            raise ArgumentError(
                "a Linen module holds no parameters: pass variables=, or (module, variables) as the model"
            )
        spec = _inputs(inputs, data)

        def build(**space: Any) -> Backbone:
            return FlaxBackbone.of(model, len(names), spec, head=head, call=call, variables=variables, **space)

        return Adopted(build, names)
    if isinstance(model, type) or not callable(model):
        raise ArgumentError(f"model is {_said(model)}; expected {EXPECTED}")
    _refuse("a function", head=head, call=call, variables=variables)
    return Adopted(_of_function(model, _inputs(inputs, data)), names)


def _of_function(function: Callable[..., Any], spec: InputSpec) -> Build:
    def build(*, taps: Taps = (), **space: Any) -> Backbone:
        if wanted := list(taps):
            raise ArgumentError(f"taps {wanted}: a function has no layers to tap; return them as part of the features")
        return FunctionBackbone.of(function, spec, **space)

    return build


def _as_it_is(backbone: Backbone) -> Build:
    def build(*, taps: Taps = (), transform: Transform | None = None, width: int | Width | None = None) -> Backbone:
        if list(taps) or transform is not None or width is not None:
            why = "this backbone has one" if backbone.own_format is None else "a file holds a head on its own features"
            raise ArgumentError(f"taps=, transform= and width= make a feature space: {why}")
        return backbone

    return build


def _inputs(inputs: Any, data: Any) -> InputSpec:
    """What one input is, as it is said, or read off the data."""
    if inputs is not None:
        return input_spec(inputs)
    first = None
    if isinstance(data, Mapping) and data:
        first = next(iter(data.values()))
    elif isinstance(data, tuple) and data:
        first = data[0]
    if first is None or (not hasattr(first, "__len__") and not hasattr(first, "shape")):
        raise ArgumentError(f"what one input is, is not known: pass inputs={HOW_TO_SAY}")
    return input_spec(first)


def _said(model: Any) -> str:
    """What was given, in words, and what to do about it."""
    if isinstance(model, type):
        return f"the class {model.__name__}, and not one of its instances"
    if isinstance(model, str | os.PathLike):
        return f"the path {str(model)!r}, which extend.load reads"
    return f"a {type(model).__name__}"


def _refuse(what: str, **given: Any) -> None:
    """Refuse the first of these arguments that is not None."""
    if wrong := [name for name, value in given.items() if value is not None]:
        raise ArgumentError(f"the model is {what}: {wrong[0]}= does not apply to it")
