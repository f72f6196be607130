"""What a PyTorch module returns: which part of it are the scores, and how they come from a layer's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from extend.core.errors import FormatError

Ending = Literal["scores", "softmax", "log_softmax", "sigmoid"]
"""What a module makes of its last layer's output."""


@dataclass(frozen=True)
class Follows:
    """How scores come from a layer's output ``z``: `ending` of ``scale * z``.

    Parameters
    ----------
    ending
        The last function.
    scale
        What the output is multiplied with before it, such as one over a temperature.
    pooled
        Whether the output is averaged over pixels or tokens before that.
    """

    ending: Ending
    scale: float = 1.0
    pooled: bool = False


class Made(NamedTuple):
    """What a dense layer made of its input, and the axes of pixels or tokens in it."""

    path: str
    value: Any
    axes: tuple[int, ...]

    def gives(self, scores: Any) -> Follows | None:
        """Return how scores ``[n, k]`` come from this, if they do."""
        if self.value.numel() == scores.numel():
            return _follows(self.value, scores)
        if not self.axes or self.value.ndim <= 2:
            return None
        found = _follows(self.value.double().mean(self.axes).to(self.value.dtype), scores, exact=False)
        return None if found is None else replace(found, pooled=True)


def outputs(output: Any) -> dict[str, Any]:
    """Return the tensors that a module returned, by key or place; a tensor alone has the name ``""``.

    Tuples, lists, dicts and objects with attributes may hold each other: ``"0.logits"``.
    """
    import torch

    if isinstance(output, torch.Tensor):
        return {"": output}
    if isinstance(output, Mapping):
        parts: Any = output.items()
    elif isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", range(len(output)))
        parts = zip(names, output, strict=True)
    else:
        parts = vars(output).items() if hasattr(output, "__dict__") else ()
    found: dict[str, Any] = {}
    for name, part in parts:
        if part is not output:
            for inner, tensor in outputs(part).items() if not isinstance(part, type) else ():
                found[f"{name}.{inner}" if inner else str(name)] = tensor
    return found


def chosen(given: dict[str, Any], output: str | int | None, name: str, made: Sequence[Made]) -> Any:
    """Return the tensor of scores among what a module returned.

    Parameters
    ----------
    given
        What `outputs` gives.
    output
        The key or the place that the user named, or None.
    name
        The module's type, for messages.
    made
        What the dense layers made.

    Raises
    ------
    FormatError
        If there is no such output, or none or several of them come from a dense layer.
    """
    said = ", ".join(f"{key or 'a tensor'} {list(tensor.shape)}" for key, tensor in list(given.items())[:10])
    if output is not None:
        wanted = str(output)
        places = list(given) if wanted not in given and isinstance(output, int) else []
        if places and -len(places) <= int(wanted) < len(places):  # Named tuples have names and places.
            return given[places[int(wanted)]]
        if wanted not in given:
            raise FormatError(f"output={output!r} is none that {name} returns; there are: {said or 'none'}")
        return given[wanted]
    if list(given) == [""] or "logits" in given:
        return given.get("logits", given.get(""))
    heads = [key for key, tensor in given.items() if any(one.gives(tensor) is not None for one in made)]
    if len(heads) == 1:
        return given[heads[0]]
    what = "several come from dense layers" if heads else "none comes from a dense layer alone"
    raise FormatError(f"{name} returns {said or 'no tensor'}: {what}; name the scores with output=")


def _follows(made: Any, scores: Any, exact: bool = True) -> Follows | None:
    import torch

    if made.numel() != scores.numel() or len(made) != len(scores) or not scores.is_floating_point():
        return None
    near = 4 * torch.finfo(scores.dtype).eps
    made, scores = (tensor.detach().flatten(1).double().nan_to_num() for tensor in (made, scores))
    if torch.equal(made, scores) or (not exact and _close(made, scores, near)):
        return Follows("scores")
    several = made.shape[1] > 1
    endings: dict[Ending, tuple[Any, Any]] = {
        "softmax": (lambda z: torch.softmax(z, 1), torch.log),
        "log_softmax": (lambda z: torch.log_softmax(z, 1), lambda p: p),
        "sigmoid": (torch.sigmoid, torch.logit),
        "scores": (lambda z: z, lambda z: z),
    }
    for ending, (function, inverse) in endings.items():
        if not several and "softmax" in ending:
            continue
        if _close(function(made), scores, near):
            return Follows(ending)
        x, y = made, inverse(scores)
        if "softmax" in ending:
            x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        fits = y.isfinite()
        scale = float((x[fits] * y[fits]).sum() / (x[fits] ** 2).sum().clamp_min(1e-30)) if bool(fits.any()) else 0.0
        if scale > 0 and made.numel() > 2 and _close(function(made * scale), scores, near):
            return Follows(ending, scale)
    return None


def _close(one: Any, two: Any, near: float) -> bool:
    import torch

    return torch.allclose(one, two, max(1e-5, near), max(1e-6, near))
