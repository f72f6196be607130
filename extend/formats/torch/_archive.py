"""A file of ``torch.save`` as inert data with real tensors: nothing that it names is imported or called.

The format is that of ``torch/serialization.py``: a zip archive of stored (not compressed) records with one pickle
``data.pkl``, or, before PyTorch 1.6, five pickles in a row and the storages. `extend.formats.pickles` follows the
pickle; calls that make tensors are done here, all others stay records, which `to_bytes` writes back as they were.
"""

from __future__ import annotations

import io
import mmap
import struct
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from extend.core.errors import FormatError
from extend.formats.pickles import Global, Made, Pickler, damaged, read

MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file from before PyTorch 1.6."""
LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
ZIP = b"PK\x03\x04"
KINDS = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32",
    "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexDouble": "complex128",
    "ComplexFloat": "complex64", "Untyped": "uint8",
}  # fmt: skip
"""The dtypes of PyTorch's kinds of storage."""
TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
SUBCLASSED = "torch._tensor._rebuild_from_type_v2"


def load(file: Path) -> Any:
    """Return what a file of ``torch.save`` holds: containers, numbers, texts, tensors on the CPU, and records.

    Raises
    ------
    FormatError
        If the file is no such file, damaged, or claims more than its own size.
    """
    try:
        with file.open("rb") as stream:
            if stream.read(4) == ZIP:
                return _of_archive(file, stream)
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _of_pickles(content)
    except FormatError as error:
        text = str(error)
        raise FormatError(text if text.startswith(str(file)) else _unreadable(file, text)) from error
    except Exception as error:  # zipfile, mmap and PyTorch raise whatever a damaged file leads to.
        raise FormatError(_unreadable(file, brief(error))) from error


def to_bytes(content: Any) -> bytes:
    """Return the file that ``torch.save`` makes of what `load` gave.

    Raises
    ------
    FormatError
        If it is nested too deeply, or PyTorch cannot write it.
    """
    import torch

    buffer = io.BytesIO()
    try:
        torch.save(content, buffer, pickle_module=types.SimpleNamespace(Pickler=Pickler, __name__="pickle"))
    except RecursionError as error:
        raise FormatError("the file's content is nested too deeply to be written") from error
    except Exception as error:  # Such as two dtypes on one storage.
        raise FormatError(f"PyTorch cannot write the file's content ({brief(error)})") from error
    return buffer.getvalue()


def pickled(file: Path) -> bool:
    """Return whether a file begins as ``torch.save`` begins one, whatever its suffix is."""
    with file.open("rb") as stream:
        start = stream.read(64)
        if LEGACY in start:
            return True
        if start[:4] != ZIP:
            return False
        try:
            with zipfile.ZipFile(stream) as archive:
                return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return False


def brief(error: Exception) -> str:
    """Return the first line of another library's error."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _unreadable(file: Path, why: str) -> str:
    return (
        f"{file}: not readable as weights of PyTorch ({why}); expected what torch.save(model.state_dict(), path) writes"
    )


def _of_archive(file: Path, stream: BinaryIO) -> Any:
    """Stored records alone, together no larger than the file."""
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        names = [entry.filename.rpartition("/")[2] for entry in entries]
        if names.count("data.pkl") != 1 or "constants.pkl" in names:
            raise FormatError(_other_archive(file, entries))
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise FormatError(f"{file}: holds compressed records; torch.save writes none")
        if sum(entry.file_size for entry in entries) > file.stat().st_size:
            raise FormatError(f"{file}: its records claim more bytes than the file has")
        main = entries[names.index("data.pkl")].filename
        folder = main.removesuffix("data.pkl")
        by_name = {entry.filename: entry for entry in entries}
        order = by_name.get(f"{folder}byteorder")
        if order is not None and archive.read(order) != b"little":
            raise FormatError(f"{file}: written on a big-endian machine; load and save it there again")
        storages: dict[str, Any] = {}

        def storage(key: str, count: int, dtype: Any) -> Any:
            if key not in storages:
                storages[key] = _storage(bytearray(archive.read(by_name[f"{folder}data/{key}"])))
            return storages[key]

        return read(io.BytesIO(archive.read(main)), call=_call, load=_loader(storage))[0]


def _other_archive(file: Path, entries: list[zipfile.ZipInfo]) -> str:
    if any("/code/" in entry.filename or entry.filename.endswith("constants.pkl") for entry in entries):
        return (
            f"{file}: a TorchScript program, which holds code. To take its weights: "
            f"net = torch.jit.load({str(file)!r}); torch.save(net.state_dict(), 'weights.pt'); then give weights.pt, "
            "and the nn.Module that it was made from with model="
        )
    return f"{file}: a zip archive that torch.save did not write; expected weights of PyTorch"


def _of_pickles(content: Any) -> Any:
    """The format from before PyTorch 1.6: storages follow the pickles, so tensors are made empty and filled."""
    storages: dict[str, tuple[Any, int]] = {}
    left = len(content)

    def storage(key: str, count: int, dtype: Any) -> Any:
        nonlocal left
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                raise FormatError("its tensors claim more bytes than the file has")
            storages[key] = _storage(bytearray(count * dtype.itemsize)), dtype.itemsize
        return storages[key][0]

    magic, version, _ = (read(content)[0] for _ in range(3))
    if magic != MAGIC or version != 1001:
        raise FormatError("no file of torch.save")
    result = read(content, call=_call, load=_loader(storage))[0]
    keys = read(content)[0]
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise damaged("its list of storages names others than it holds")
    if len(set(keys)) != len(storages):
        raise damaged("a storage has no data")
    import torch

    for key in keys:
        target, size = storages[key]
        (count,) = struct.unpack("<q", content.read(8))
        data = content.read(target.nbytes())
        if count * size != target.nbytes() or len(data) != target.nbytes():
            raise damaged(f"storage {key[:20]!r} is cut off")
        if data:
            torch.empty(0, dtype=torch.uint8).set_(target).copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    return result


def _storage(data: bytearray) -> Any:
    import torch

    return torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)


def _loader(storage: Callable[[str, int, Any], Any]) -> Callable[[Any], Any]:
    """What stands for a persistent id: the storage, and the dtype that it is read as."""
    import torch

    def load(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            return identity[1]  # A class with its source code, in old files.
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
            raise damaged("a persistent id is no storage")
        kind, key, _, count = identity[1:5]
        if not isinstance(kind, Global) or not isinstance(key, str) or type(count) is not int or count < 0:
            raise damaged("a storage is not described as torch.save does it")
        known = KINDS.get(kind.name.removesuffix("Storage")) if kind.module in ("torch", "torch.storage") else None
        if known is None:
            raise damaged(f"a storage of the kind {kind.full[:100]}")
        dtype = getattr(torch, known)
        whole = storage(key, count, dtype)
        if len(identity) == 6 and identity[5] is not None:
            _, start, length = identity[5]
            if not all(type(n) is int and n >= 0 for n in (start, length)):
                raise damaged("a part of a storage is not described as torch.save does it")
            whole = whole[start * dtype.itemsize : (start + length) * dtype.itemsize]
        return torch.storage.TypedStorage(wrap_storage=whole, dtype=dtype, _internal=True)

    return load


def _call(made: Made) -> Any:
    """What stands for a call: a tensor, an ordered dict, or the record of it."""
    name, args = made.name, made.args
    if name == SUBCLASSED and len(args) == 4 and isinstance(args[0], Global) and isinstance(args[2], tuple):
        name, args = args[0].full, args[2]  # A tensor with attributes of its own, which are left out.
    if name in TENSORS:
        return _tensor(args)
    if name in PARAMETERS and len(args) >= 2:
        import torch

        if not isinstance(args[0], torch.Tensor):
            raise damaged("a parameter is no tensor")
        return torch.nn.Parameter(args[0], requires_grad=bool(args[1]) and args[0].is_floating_point())
    if name == "collections.OrderedDict" and args in ((), ([],)):
        return OrderedDict()
    return made


def _tensor(args: tuple[Any, ...]) -> Any:
    import torch

    if len(args) < 4 or not isinstance(args[0], torch.storage.TypedStorage):
        raise damaged("a tensor without its storage")
    typed, offset, size, stride = args[:4]
    dtype = typed.dtype
    if len(args) > 6 and isinstance(args[6], Global):  # Version 3 names it, as kinds of storage are no longer added.
        dtype = getattr(torch, args[6].name, None) if args[6].module == "torch" else None
        if not isinstance(dtype, torch.dtype):
            raise damaged(f"a tensor of the dtype {args[6].full[:100]}")
    size, stride = (_sizes(part) for part in (size, stride))
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise damaged("a tensor's place in its storage is no number")
    storage = typed._untyped_storage
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1 if 0 not in size else 0
    if last * dtype.itemsize > storage.nbytes():
        raise damaged(f"a tensor {list(size)[:8]} lies past the end of its storage")
    return torch.empty(0, dtype=dtype).set_(storage, offset, size, stride)


def _sizes(value: Any) -> tuple[int, ...]:
    if isinstance(value, Made) and value.name == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if not isinstance(value, tuple) or not all(type(n) is int and n >= 0 for n in value) or len(value) > 64:
        raise damaged("a tensor's shape is no tuple of whole numbers")
    return value
