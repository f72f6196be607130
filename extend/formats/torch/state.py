"""Weights files of PyTorch: the state_dicts in what ``torch.save`` or safetensors wrote, and all else as it is."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import replace_file
from extend.formats.pickles import Made
from extend.formats.torch._archive import brief, load, pickled, to_bytes

PICKLED = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", "")
SAFE = (".safetensors",)
CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Keys whose state_dict is taken before those under other keys."""
NAMES = ("classes", "class_names")
NAMED = "class_to_idx"
DEEPEST, MOST_TIMES = 5, 8
"""Where state_dicts are looked for: how many dicts within dicts, and under how many keys one may stand."""
State = Mapping[str, Any]
Place = tuple[str, ...]
"""The keys that lead to a state_dict in a file."""


@dataclass(frozen=True, eq=False)
class Weights:
    """What a weights file of PyTorch holds.

    Parameters
    ----------
    state
        The tensors by name: what `content` holds under `key`, or `content` itself where `key` is empty.
    content, key
        The whole file, and the keys that lead to the state_dict in it.
    metadata
        What a safetensors file says beside its tensors; None for a pickled file.
    """

    state: State
    content: Any = None
    key: Place = ()
    metadata: Mapping[str, str] | None = None

    @cached_property
    def states(self) -> dict[Place, State]:
        """Every dict of the file that holds tensors by name, under the keys that lead to it."""
        if not self.key and self.content is None:
            return {(): self.state}
        return _states(self.content)

    def lists(self) -> dict[Place, list[Any]]:
        """Return every list of the file that holds nothing but tensors, under the keys that lead to it."""
        torch = _torch()
        return {
            key: value
            for key, value in _containers(self.content)
            if isinstance(value, list) and value and all(isinstance(part, torch.Tensor) for part in value)
        }

    def at(self, key: Place) -> Weights:
        """Return the same file with another of its state_dicts."""
        return self if key == self.key else replace(self, state=self.states[key], key=key)

    def classes(self, count: int) -> tuple[str, ...] | None:
        """Return the class names beside the weights, if there are `count` of them."""
        if not self.key:
            return None
        beside = self._beside()
        named = beside.get(NAMED)
        plain = isinstance(named, dict) and all(
            type(n) is int and isinstance(name, str | int) for name, n in named.items()
        )
        if plain and sorted(named.values()) == list(range(count)):
            return tuple(str(name) for name in sorted(named, key=lambda name: named[name]))
        for key in NAMES:
            names = beside.get(key)
            if isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(n, str) for n in names):
                return tuple(map(str, names))
        return None

    def _beside(self) -> Any:
        found = self.content
        for key in self.key[:-1]:
            found = found[key]
        return found

    def write(
        self,
        path: Path,
        changed: State,
        classes: tuple[str, ...],
        others: Mapping[Place, Mapping[Any, Any]] | None = None,
    ) -> None:
        """Write the file with these tensors in place of its own, and these class names where it has such.

        Parameters
        ----------
        path
            Where to write.
        changed
            Tensors of the state_dict, by name.
        classes
            The names of the classes.
        others
            What changes elsewhere in the file: by the keys that lead to a dict or list, and the keys in it.

        Raises
        ------
        FormatError
            If the path's suffix is not that of such a file.
        """
        torch = _torch()
        suffixes = PICKLED if self.metadata is None else SAFE
        if path.suffix.lower() not in suffixes:
            raise FormatError(f"{path}: expected a file name that ends in {' or '.join(filter(None, suffixes))}")
        if self.metadata is not None:
            from safetensors.torch import save

            state = {**self.state, **changed}
            if unfit := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
                raise FormatError(f"{path}: safetensors cannot hold {unfit[0]!r}, which is no tensor; write a .pt file")
            tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
            replace_file(path, save(tensors, dict(self.metadata)))
            return
        content = self.state if self.content is None else self.content
        for key, values in {**(others or {}), self.key: changed}.items():
            content = _changed(content, key, values)
        if self.key:
            beside = self._beside()
            named: dict[str, Any] = {key: list(classes) for key in NAMES if isinstance(beside.get(key), (list, tuple))}
            if isinstance(beside.get(NAMED), dict):
                named[NAMED] = {name: number for number, name in enumerate(classes)}
            content = _changed(content, self.key[:-1], named)
        replace_file(path, to_bytes(content))


def read(path: str | Path) -> Weights:
    """Read a file of ``torch.save`` or safetensors, whatever its suffix is; the tensors are on the CPU.

    State_dicts may lie anywhere in nested dicts. That under ``"state_dict"``, ``"model_state_dict"`` or ``"model"`` is
    taken, else the first; `Weights.at` takes another.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        If the file is missing, damaged or a whole pickled model, holds no tensors by name, or tensors that are larger
        than the file.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = Path(tempfile.mkdtemp(), "net.pt")
    >>> torch.save({"net": torch.nn.Linear(2, 3).state_dict(), "epoch": 7}, file)
    >>> weights = read(file)
    >>> weights.key, {name: list(tensor.shape) for name, tensor in weights.state.items()}
    (('net',), {'weight': [3, 2], 'bias': [3]})
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    _torch()
    if file.suffix.lower() in SAFE or _is_safe(file):
        weights = _read_safe(file)
    elif file.suffix.lower() in PICKLED or pickled(file):
        weights = _unwrap(file, load(file))
    else:
        raise FormatError(f"{file}: expected weights of PyTorch, {', '.join(filter(None, PICKLED + SAFE))}")
    return weights


def recognises(file: Path) -> bool:
    """Return whether a file begins as ``torch.save`` or safetensors begin one, whatever its suffix is."""
    return pickled(file) or _is_safe(file)


def _is_safe(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= file.stat().st_size - 8


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("PyTorch", "torch", error) from error
    return torch


def _read_safe(file: Path) -> Weights:
    _torch()
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise MissingExtraError("safetensors", "torch", error) from error
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
            weights = Weights(state, metadata=dict(opened.metadata() or {}))
    except (
        Exception
    ) as error:  # SafetensorError, OSError, and PyTorch's own for a shape or dtype that it does not take.
        raise FormatError(f"{file}: not a readable safetensors file ({brief(error)})") from error
    _check_tensors(file, state)
    return weights


def _unwrap(file: Path, content: Any) -> Weights:
    try:
        found = _states(content)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    if not found:
        raise FormatError(f"{file}: {_holds(file, content)}")
    for state in found.values():
        _check_tensors(file, state)
    usual = [key for name in CONTAINERS for key in found if key == (name,)]
    key = usual[0] if usual else max(found, key=lambda key: len(found[key]))
    return Weights(found[key], content, key)


def _states(content: Any) -> dict[Place, State]:
    torch = _torch()
    return {
        key: value
        for key, value in _containers(content)
        if isinstance(value, dict)
        and any(isinstance(name, str) and isinstance(part, torch.Tensor) for name, part in value.items())
    }


def _containers(content: Any) -> Iterator[tuple[Place, Any]]:
    """The dicts and lists of a file, from the outermost inwards, under the keys that lead to them."""
    level: list[tuple[Place, Any]] = [((), content)]
    visits: Counter[int] = Counter()
    for _ in range(DEEPEST):
        below: list[tuple[Place, Any]] = []
        for key, value in level:
            visits[id(value)] += 1
            if visits[id(value)] > MOST_TIMES:  # Dicts that hold each other would have endlessly many keys.
                raise FormatError(f"one dict stands under more than {MOST_TIMES} keys; save the state_dict alone")
            yield key, value
            if isinstance(value, dict):
                below += [
                    ((*key, name), part)
                    for name, part in value.items()
                    if isinstance(name, str) and isinstance(part, dict | list)
                ]
        level = below


def _changed(content: Any, key: Place, values: Mapping[Any, Any]) -> Any:
    """A copy of nested containers with other values in the one that the keys lead to; the given one stays as it was."""
    if not values:
        return content
    made = copy.copy(content)
    if key:
        made[key[0]] = _changed(content[key[0]], key[1:], values)
    else:
        for name, value in values.items():
            made[name] = value
    return made


def _holds(file: Path, content: Any) -> str:
    """What a file without weights is, and what to do."""
    models = [made for made in (content, *(content.values() if isinstance(content, dict) else ())) if _is_model(made)]
    if any(made.name.startswith(("ultralytics.", "models.yolo")) for made in models):
        return (
            "a YOLO checkpoint, a whole pickled detector or classifier: loading it runs code. Where you trust it: "
            f"from ultralytics import YOLO; net = YOLO({str(file)!r}).model; torch.save(net.state_dict(), "
            "'weights.pt'); then give weights.pt, and net with model="
        )
    if models:
        where = "" if models[0] is content else f"[{next(k for k, v in content.items() if v is models[0])!r}]"
        return (
            f"a whole pickled model ({models[0].name[:100]}): loading it runs code. Where you trust it: "
            f"net = torch.load({str(file)!r}, weights_only=False){where}; torch.save(net.state_dict(), 'weights.pt'); "
            "then give weights.pt, and net with model="
        )
    if isinstance(content, dict):
        keys = ", ".join(repr(key) if isinstance(key, str | int) else type(key).__name__ for key in list(content)[:5])
    holds = f"keys {keys}" if isinstance(content, dict) else type(content).__name__
    return f"no state_dict in it ({holds}); expected names of tensors, or dicts that hold such under any key"


def _is_model(value: Any) -> bool:
    """Whether a record is of an ``nn.Module``, which keeps its parts under these names, or of a learner around one."""
    state = value.state if isinstance(value, Made) else None
    return isinstance(state, dict) and ("_modules" in state or "model" in state)


def _check_tensors(file: Path, state: State) -> None:
    torch, sizes = _torch(), {}
    for name, tensor in state.items():
        if isinstance(tensor, Made) and isinstance(name, str) and tensor.name.startswith("torch._utils._rebuild"):
            raise FormatError(f"{file}: {name!r} is not a plain tensor ({tensor.name})")
        if isinstance(tensor, torch.Tensor):
            sizes[tensor.data_ptr(), tensor.shape] = tensor.numel() * tensor.element_size()
    total = sum(sizes.values())
    if total > 2 * file.stat().st_size:  # A tensor may be a part of another one.
        raise FormatError(f"{file}: its tensors claim {total} bytes, the file has {file.stat().st_size}")
