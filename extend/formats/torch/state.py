"""Weights files of PyTorch: a ``state_dict`` as ``torch.save`` or safetensors writes it, and nothing else.

A pickled file is read by ``torch.load(weights_only=True)`` after its records and the names that it asks for were
checked: no code of the file ever runs. The format is that of ``torch/serialization.py``: a zip archive of stored (not
compressed) records with one pickle ``data.pkl``, or, before PyTorch 1.6, five pickles in a row and the storages.
"""

from __future__ import annotations

import copy
import io
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import replace_file

PICKLED = (".pt", ".pth", ".th", ".bin")
SAFE = (".safetensors",)
CONTAINERS = ("state_dict", "model_state_dict", "model")
NAMES = ("classes", "class_names")
NAMED = "class_to_idx"
ALLOWED = {
    "_codecs encode",
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch device",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch.nn.parameter Parameter",
    *(f"{module} {name}" for module in ("builtins", "__builtin__") for name in ("set", "complex")),
}
"""What a pickled file may name, beside PyTorch's storages and dtypes: less than `weights_only` lets through."""
MOST_OPERATIONS = 2_000_000


@dataclass(frozen=True, eq=False)
class Weights:
    """What a weights file of PyTorch holds.

    Parameters
    ----------
    state
        The tensors by name: what `content` holds under `key`, or `content` itself where `key` is None.
    content, key
        The whole file, and the name of the state_dict in it.
    metadata
        What a safetensors file says beside its tensors; None for a pickled file.
    """

    state: Mapping[str, Any]
    content: Any = None
    key: str | None = None
    metadata: Mapping[str, str] | None = None

    def classes(self, count: int) -> tuple[str, ...] | None:
        """Return the class names beside the weights, if there are `count` of them."""
        if self.key is None:
            return None
        named = self.content.get(NAMED)
        if isinstance(named, Mapping) and sorted(map(str, named.values())) == sorted(map(str, range(count))):
            return tuple(str(name) for name in sorted(named, key=lambda name: int(named[name])))
        for key in NAMES:
            names = self.content.get(key)
            if isinstance(names, (list, tuple)) and len(names) == count and all(isinstance(n, str) for n in names):
                return tuple(names)
        return None

    def write(self, path: Path, changed: Mapping[str, Any], classes: tuple[str, ...]) -> None:
        """Write the file with these tensors in place of its own, and these class names where it has such.

        Raises
        ------
        FormatError
            If the path's suffix is not that of such a file.
        """
        torch = _torch()
        suffixes = PICKLED if self.metadata is None else SAFE
        if path.suffix.lower() not in suffixes:
            raise FormatError(f"{path}: expected a file name that ends in {' or '.join(suffixes)}")
        state = copy.copy(self.state)
        state.update(changed)  # type: ignore[attr-defined]  # Mapping to mypy; a dict.
        if self.metadata is not None:
            from safetensors.torch import save

            if others := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
                raise FormatError(
                    f"{path}: safetensors cannot hold {others[0]!r}, which is no tensor; write a .pt file"
                )
            tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
            replace_file(path, save(tensors, dict(self.metadata)))
            return
        content: Any = state
        if self.key is not None:
            content = copy.copy(self.content)
            content[self.key] = state
            content |= {key: list(classes) for key in NAMES if isinstance(content.get(key), (list, tuple))}
            if isinstance(content.get(NAMED), Mapping):
                content[NAMED] = {name: number for number, name in enumerate(classes)}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace_file(path, buffer.getvalue())


def read(path: str | Path) -> Weights:
    """Read ``.pt``, ``.pth``, ``.th``, ``.bin`` or ``.safetensors``; the tensors are on the CPU.

    A state_dict may lie in a dict under ``"state_dict"``, ``"model_state_dict"`` or ``"model"``.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        If the file is missing, damaged, a whole pickled model, or has something else than tensors in its state_dict, or
        tensors that are larger than the file.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = Path(tempfile.mkdtemp(), "net.pt")
    >>> torch.save({"state_dict": torch.nn.Linear(2, 3).state_dict(), "epoch": 7}, file)
    >>> weights = read(file)
    >>> weights.key, {name: list(tensor.shape) for name, tensor in weights.state.items()}
    ('state_dict', {'weight': [3, 2], 'bias': [3]})
    """
    file = Path(path)
    if not file.is_file():
        raise FormatError(f"{file}: no such file")
    with file.open("rb") as stream:
        start = stream.read(9)
    safe = start[8:] == b"{" and int.from_bytes(start[:8], "little") < file.stat().st_size
    if safe or (file.suffix.lower() in SAFE and start[:1] not in (b"\x80", b"P")):  # The suffix may be another one.
        weights = _read_safe(file)
    else:
        weights = _unwrap(file, _read_pickled(file))
    _check_tensors(file, weights.state)
    return weights


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
            return Weights(state, metadata=dict(opened.metadata() or {}))
    except (
        Exception
    ) as error:  # SafetensorError, OSError, and PyTorch's own for a shape or dtype that it does not take.
        raise FormatError(f"{file}: not a readable safetensors file ({_brief(error)})") from error


def _read_pickled(file: Path) -> Any:
    torch = _torch()
    with file.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
        stream.seek(0)
        try:
            if is_zip:
                _check_archive(file, stream)
            else:
                for _ in range(5):
                    _check_pickle(file, stream)
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=True)
        except FormatError:
            raise
        except Exception as error:  # PyTorch raises whatever a damaged pickle leads to.
            raise FormatError(
                f"{file}: not readable as weights of PyTorch ({_brief(error)}); expected what "
                "torch.save(model.state_dict(), path) writes"
            ) from error


def _check_archive(file: Path, stream: BinaryIO) -> None:
    """Stored records alone, together no larger than the file."""
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        names = [entry.filename.rpartition("/")[2] for entry in entries]
        if names.count("data.pkl") != 1 or "constants.pkl" in names:
            raise FormatError(f"{file}: no file of weights but a TorchScript or another archive; save a state_dict")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise FormatError(f"{file}: holds compressed records; torch.save writes none")
        if sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise FormatError(f"{file}: its records claim more bytes than the file has")
        _check_pickle(file, io.BytesIO(archive.read(entries[names.index("data.pkl")])))


def _check_pickle(file: Path, stream: BinaryIO) -> None:
    """Only allowed names, and not endlessly many operations; the stream is left behind the pickle."""
    for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
        if number > MOST_OPERATIONS:
            raise FormatError(f"{file}: more than {MOST_OPERATIONS} pickle operations; save the state_dict alone")
        if operation.name != "GLOBAL":
            continue
        module, _, name = str(argument).partition(" ")
        if argument in ALLOWED or (module in ("torch", "torch.storage") and name.endswith("Storage")):
            continue
        if module == "torch" and type(getattr(_torch(), name, None)) is _torch().dtype:
            continue
        raise FormatError(
            f"{file}: holds an object {module}.{name}, as a whole pickled model does; loading it would run code. Save "
            "its weights, torch.save(model.state_dict(), path), and pass the module with model="
        )


def _unwrap(file: Path, loaded: Any) -> Weights:
    content = _plain(loaded)
    if _is_state(content):
        return Weights(content, content)
    if isinstance(content, dict):
        for key in CONTAINERS:
            if _is_state(state := _plain(content.get(key))):
                return Weights(state, content, key)
    holds = f"keys {', '.join(map(repr, list(content)[:5]))}" if isinstance(content, dict) else type(content).__name__
    raise FormatError(
        f"{file}: no state_dict in it ({holds}); expected names of tensors, or such a dict under "
        f"{', '.join(map(repr, CONTAINERS))}"
    )


def _plain(loaded: Any) -> Any:
    """A dict of a file without the attributes that the file gave it, which may hide its methods."""
    if not isinstance(loaded, OrderedDict):
        return loaded
    plain: Any = OrderedDict(dict.items(loaded))
    if "_metadata" in vars(loaded):  # The versions of the layers, which PyTorch keeps there.
        plain._metadata = vars(loaded)["_metadata"]
    return plain


def _is_state(content: Any) -> bool:
    """Names of tensors; a module's extra state may be among them."""
    if not isinstance(content, dict) or not content:
        return False
    torch = _torch()
    fits = [isinstance(value, torch.Tensor) for value in content.values()]
    return any(fits) and all(
        isinstance(name, str) and (fit or name.endswith("_extra_state"))
        for name, fit in zip(content, fits, strict=True)
    )


def _check_tensors(file: Path, state: Mapping[str, Any]) -> None:
    torch, total = _torch(), 0
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            continue
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise FormatError(f"{file}: {name!r} is not a plain tensor ({tensor.layout}, {tensor.dtype})")
        total += tensor.numel() * tensor.element_size()
    if total > 2 * file.stat().st_size:  # A tensor may stand there under two names.
        raise FormatError(f"{file}: its tensors claim {total} bytes, the file has {file.stat().st_size}")


def _brief(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
