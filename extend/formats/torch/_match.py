"""Where in a file a module's weights lie: found by the names and shapes of its tensors, under whatever keys.

A file may hold several copies (of a moving average beside the weights themselves), under prefixes such as ``module.``
(DataParallel), ``model.`` (Lightning) or ``_orig_mod.`` (compiled), and more than the module has.
"""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extend.core.errors import FormatError
from extend.formats.torch.head import resize
from extend.formats.torch.module import Cut
from extend.formats.torch.state import CONTAINERS, Place, State, Weights

WRAPPERS = ("_orig_mod", "module")
"""Parts of names that `torch.compile` and DataParallel put between others."""
AVERAGED = re.compile(r"(^|[_.])(ema|swa|avg|averaged?|teacher|momentum|shadow|polyak|target)([_.\d]|$)", re.IGNORECASE)
DEEP = 16


@dataclass(frozen=True)
class Found:
    """One copy of a module's weights in a file.

    Parameters
    ----------
    key, prefix
        The keys that lead to the dict, and what stands before the names in it.
    names
        The names in the dict by those in the module.
    """

    key: Place
    prefix: str
    names: dict[str, str]

    def is_beside(self, best: Found) -> bool:
        """Whether this is another copy than the best one, and of most of the module."""
        tensors = {(found.key, name) for found in (self, best) for name in found.names.values()}
        return len(tensors) == len(self.names) + len(best.names) and 2 * len(self.names) >= len(best.names)

    @property
    def label(self) -> str:
        """The keys and the prefix, with dots."""
        return ".".join([*self.key, *filter(None, [self.prefix.rstrip(".")])])


def find(
    weights: Weights, wanted: State, head: Sequence[str], own: str, key: str | None = None
) -> tuple[Found, tuple[Found, ...]]:
    """Find a module's weights in a file.

    Parameters
    ----------
    weights
        The file.
    wanted
        The module's own state_dict.
    head
        The names of the head's weight in it.
    own
        The name of the module's type, for messages.
    key
        The keys and the prefix of the copy that is meant (see `Found.label`), or the first of them.

    Returns
    -------
    tuple of Found and tuple
        The copy to run, and the others in the file that hold a head of the same shape.

    Raises
    ------
    FormatError
        If no copy has all that the module needs, or `key` names none.
    """
    copies = [
        found
        for place, state in weights.states.items()
        for found in _in_dict(place, state, wanted)
        if any(name in found.names for name in head)
    ]
    if not copies:
        names = [name for state in weights.states.values() for name in state if isinstance(name, str)]
        raise FormatError(f"the weights ({some(names)}) are of another network: {own} has {some(list(wanted))}")
    meant = [copy for copy in copies if key is None or f"{copy.label}.".startswith(f"{key}.")]
    if not meant:
        labels = list(dict.fromkeys(copy.label for copy in copies))
        raise FormatError(f"key={key!r} names no weights of {own} in the file; there are {some(labels, 10)}")
    best = max(meant, key=_rank)
    rivals = [copy for copy in meant if copy.is_beside(best) and _rank(copy) == _rank(best)]
    if rivals and not all(_same(weights, best, copy) for copy in rivals):
        labels = [copy.label for copy in (best, *rivals)]
        raise FormatError(
            f"the weights are there more than once: {some(labels, 10)}; name those that are meant with key="
        )
    shapes = {name: weights.states[best.key][best.names[name]].shape for name in head if name in best.names}
    others = tuple(copy for copy in copies if copy.is_beside(best) and _holds(weights.states[copy.key], copy, shapes))
    return best, others


def _holds(state: State, copy: Found, shapes: Mapping[str, Any]) -> bool:
    """Whether a copy has a head of these shapes."""
    return all(name in copy.names and state[copy.names[name]].shape == shape for name, shape in shapes.items())


def load_weights(cut: Cut, weights: Weights, found: Found, others: Sequence[Found]) -> None:
    """Load a copy of the weights into the module, whose heads get as many units as it has.

    Raises
    ------
    FormatError
        If the copy lacks a tensor, has more of a part that the module has too, or a shape does not fit.
    """
    state, own = weights.state, type(cut.module).__name__
    wanted = cut.module.state_dict()
    # Files from before PyTorch 1.0 have no counter of batches.
    missing = [name for name in wanted if name not in found.names and not name.endswith("num_batches_tracked")]
    if not missing:
        for path in (cut.path, *cut.siblings):
            _fit(cut, path, weights, found, others)
    extra = [name for name in unknown(found, others, weights) if _belongs(name, found, cut.module)]
    if missing or extra:
        parts = [f"missing: {some(missing)}"] * bool(missing) + [f"unknown to it: {some(extra)}"] * bool(extra)
        raise FormatError(f"the weights are not those of {own}; {'; '.join(parts)}")
    given = OrderedDict((name, state[original]) for name, original in found.names.items())
    for name, expected in cut.module.state_dict().items():
        shapes = [list(getattr(value, "shape", ())) for value in (given.get(name, expected), expected)]
        if shapes[0] != shapes[1]:
            raise FormatError(f"{found.names[name]!r} has shape {shapes[0]}; {own} expects {shapes[1]}")
    _keep_versions(given, state, found)
    try:
        cut.module.load_state_dict(given, strict=False)
    except Exception as error:  # PyTorch's, or a module's own for its extra state.
        raise FormatError(f"the weights do not fit {own}: {error}") from error


def _belongs(name: str, found: Found, module: Any) -> bool:
    """Whether a name in the file is of a part that the module has, or a layer by its number: it is another network."""
    if not name.startswith(found.prefix):
        return False
    parent, _, _ = name[len(found.prefix) :].rpartition(".")
    first = parent.split(".")[0]
    return bool(parent) and (first.isdecimal() or first in dict(module.named_children()))


def _fit(cut: Cut, path: str, weights: Weights, found: Found, others: Sequence[Found]) -> None:
    """Give a head the units of the file, and a bias that only the file has."""
    state = weights.state
    layer = cut.module.get_submodule(path)
    names = cut.names_of(path)
    sizes = {len(state[found.names[name]]) for tied in names.values() for name in tied if state[found.names[name]].ndim}
    bias = f"{names['weight'][0].removesuffix('weight')}bias"
    original = f"{found.names[names['weight'][0]].removesuffix('weight')}bias"
    added = layer.bias is None and original in state
    if len(sizes) == 1 and (sizes != {len(layer.weight)} or added):
        resize(cut, path, sizes.pop(), bias=added)
    for copied in (found, *others) if added else ():
        weight = copied.names.get(names["weight"][0], "")
        if f"{weight.removesuffix('weight')}bias" in weights.states[copied.key]:
            copied.names[bias] = f"{weight.removesuffix('weight')}bias"


def _keep_versions(given: Any, state: State, found: Found) -> None:
    """Hand on the versions of the layers, which PyTorch keeps beside a state_dict and some modules ask for."""
    versions = getattr(state, "_metadata", None)
    if not isinstance(versions, dict):
        return
    layers = {"": found.prefix.removesuffix(".")}
    for name, original in found.names.items():
        parts, others = name.split("."), original.split(".")
        for length in range(1, min(len(parts), len(others))):
            layers[".".join(parts[:-length])] = ".".join(others[:-length])
    given._metadata = OrderedDict(
        (layer, dict(versions[original]))
        for layer, original in layers.items()
        if isinstance(original, str) and isinstance(versions.get(original), dict)
    )


def unknown(found: Found, others: Sequence[Found], weights: Weights) -> list[str]:
    """Return the names beside a copy, in its dict, that are of no copy."""
    taken = {name for one in (found, *others) if one.key == found.key for name in one.names.values()}
    return [name for name in weights.states[found.key] if name not in taken]


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, for a message."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _rank(copy: Found) -> tuple[int, bool, int, bool]:
    """The largest copy comes first; among such one that is no average, then the usual keys, then no prefix."""
    usual = CONTAINERS.index(copy.key[0]) if len(copy.key) == 1 and copy.key[0] in CONTAINERS else len(CONTAINERS)
    return len(copy.names), not AVERAGED.search(copy.label), -usual, not copy.prefix


def _same(weights: Weights, one: Found, two: Found) -> bool:
    """Whether two copies hold the same numbers."""
    import torch

    first, second = (weights.states[found.key] for found in (one, two))
    return all(name in two.names and torch.equal(first[one.names[name]], second[two.names[name]]) for name in one.names)


def _in_dict(place: Place, state: State, wanted: State) -> list[Found]:
    """The copies in one dict, by their prefixes."""
    given = _plain([name for name, value in state.items() if isinstance(name, str) and hasattr(value, "shape")])
    result: list[Found] = []
    for cut in _common(list(wanted)):
        own = _plain([name[len(cut) :] for name in wanted])
        groups: dict[str, dict[str, str]] = defaultdict(dict)
        for name, original in given.items():
            parts = name.split(".")
            for start in range(min(len(parts), DEEP)):
                if (rest := ".".join(parts[start:])) in own:
                    groups[original[: len(original) - len(_tail(original, rest))]][cut + own[rest]] = original
        known = {tuple(sorted(found.names.items())) for found in result}
        result += [
            Found(place, prefix, names) for prefix, names in groups.items() if tuple(sorted(names.items())) not in known
        ]
    return result


def _tail(original: str, rest: str) -> str:
    """What of a name stands for its last parts, wrappers among them left with the rest."""
    wanted, parts = rest.split("."), original.split(".")
    at = len(parts)
    for part in reversed(wanted):
        at -= 1
        while parts[at] != part:
            at -= 1
    return ".".join(parts[at:])


def _plain(names: Sequence[str]) -> dict[str, str]:
    """The names without wrappers' parts, and what each was; as they are, if two would be the same."""
    plain = {".".join([part for part in name.split(".") if part not in WRAPPERS]): name for name in names}
    return plain if len(plain) == len(set(names)) and "" not in plain else {name: name for name in names}


def _common(names: Sequence[str]) -> list[str]:
    """The beginnings of names, up to dots, that all of them share: a wrapper's around the module that was saved."""
    found = [""]
    parts = names[0].split(".") if names else []
    for length in range(1, min(len(parts), DEEP)):
        start = ".".join(parts[:length]) + "."
        if not all(name.startswith(start) for name in names):
            break
        found.append(start)
    return found
