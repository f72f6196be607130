"""What an archive holds, by the names of its members; nothing is unpacked but the start of one member."""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from extend.formats.content._base import FLAX, ORIGINAL, TO_STATE, TREES, Content, listed
from extend.formats.content._pickles import known_objects, pickled_names

MODELS = (
    *(".keras", ".h5", ".hdf5", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".skops", ".pmml", ".mat", ".pkl"),
    *(".joblib", ".tflite", ".pb", ".bin", ".msgpack", ".npz"),
)
"""Suffixes of members that are models, in the order in which one of them is pointed at."""
HEAD, MOST_DIRECTORY = 1 << 16, 16 << 20
"""How much of a member is looked at, and the largest list of members that is read, in bytes."""
SCRIPT = TO_STATE.replace("{load}", "torch.jit.load({path!r})")


def of_zip(path: Path, suffix: str) -> Content:
    """Return what a zip archive is."""
    try:
        if _directory_bytes(path) > MOST_DIRECTORY:
            return Content("a zip archive of very many files", advice="unpack it, and open the model in it")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            pickled = next((name for name in names if name.rpartition("/")[2] == "data.pkl"), None)
            asked = _start(archive, pickled) if pickled else b""
    except Exception:  # zipfile raises errors of many kinds for damaged archives.
        # The reader that the suffix names says what is damaged.
        known = suffix in (".keras", ".skops", ".pt", ".pth", ".bin", ".ckpt", ".npz")
        return Content("a damaged zip archive", "by suffix" if known else "", "download or save the file again")
    return _by_members(names, pickled_names(asked), pickled is not None)


def _by_members(names: Sequence[str], asked: Sequence[str], torch: bool) -> Content:
    """What an archive of these members is; `asked` are the names in its pickle."""
    last = {name.rpartition("/")[2] for name in names}
    if torch and ({"constants.pkl"} & last or any("/code/" in f"/{name}" for name in names)):
        advice = f"where you trust it: {SCRIPT}; then extend.load('weights.pt', model=the nn.Module that was scripted)"
        return Content("a TorchScript program", advice=advice)
    if torch:
        return known_objects(asked) or Content("a file of PyTorch", "torch")
    if {"model.weights.h5", "config.json"} <= set(names):
        return Content("a Keras model", "keras")
    if "schema.json" in names:
        return Content("a skops file", "scikit_learn")
    if names and all(name.endswith(".npy") for name in names):
        return Content("arrays of NumPy (.npz)", "flax", FLAX)
    if any(name.endswith((".mlmodel", "com.apple.CoreML/Manifest.json")) or ".mlpackage/" in name for name in names):
        return Content("a model of CoreML", advice=ORIGINAL)
    if "serialized_exported_program.json" in last or any(name.endswith("models/model.json") for name in names):
        return Content(
            "a program of torch.export", advice="save the module's state_dict, and pass the module as model="
        )
    if "model.ini" in last and any("domains/" in name or "trees/" in name for name in names):
        return Content("a MOJO of H2O", advice=TREES)
    if {"configuration.json", "coefficients.bin"} <= last:
        return Content("a model of deeplearning4j", advice="open the Keras .h5 file that it was imported from")
    if {"model.stablehlo", "classes.json"} <= last:
        return Content("a StableHLO program, which is for serving", advice="open the checkpoint that it was made from")
    if "model.json" in last:
        return Content("a TensorFlow.js model in a zip archive", "tfjs")
    if "saved_model.pb" in last:
        return Content(
            "an archive of a SavedModel of TensorFlow", advice="unpack it, and see what extend says of the folder"
        )
    if "[Content_Types].xml" in last:
        return Content("a document of an office program", advice="it is no model")
    return _holding(names, "a zip archive")


def _holding(names: Sequence[str], what: str) -> Content:
    """An archive that holds models, or none."""
    models = [name for suffix in MODELS for name in names if name.lower().endswith(suffix)]
    if models:
        return Content(f"{what} with a model in it", advice=f"unpack it, and open {models[0][:100]!r}")
    if "model.json" in {name.rpartition("/")[2] for name in names}:
        return Content(f"{what} of a TensorFlow.js model", advice="unpack it, and open its model.json")
    return Content(f"{what} of {listed(names, 3) or 'nothing'}", advice="no known model is in it")


def of_compressed(head: bytes, suffix: str, of_head: Callable[[bytes, str], Content | None]) -> Content | None:
    """Return what a compressed file is (gzip, zlib, bzip2, xz), by the start of what it unpacks to; None if none."""
    found = next((made for start, made in COMPRESSED if head.startswith(start)), None)
    if found is None:
        return None
    name, unpack = found
    try:
        inner = unpack(head)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError):
        return Content(
            f"a damaged file of {name}", "theanets" if suffix in (".gz", ".pkl") else "", "download it again"
        )
    held = of_tar(inner) or of_head(inner, suffix)
    if held is None:
        return Content(
            f"a file compressed with {name}, of what is not known", advice="unpack it, and open what is in it"
        )
    if held.reader == "theanets":
        return held if name == "gzip" else Content(held.what, advice="unpack it, and open what is in it")
    if held.reader:
        return Content(f"{held.what}, compressed with {name}", advice="unpack it, and open what is in it")
    return Content(f"{held.what}, compressed with {name}", advice=held.advice)


def of_tar(head: bytes) -> Content | None:
    """Return what a tar archive is, by its first member; None if these bytes begin none."""
    if head[257:262] != b"ustar":
        return None
    first = head[:100].split(b"\0")[0].decode("utf-8", "replace")
    if first.rpartition("/")[2] in ("sys_info", "pickle", "tensors", "storages"):
        advice = "load and save it again with PyTorch, torch.save(torch.load({path!r}), 'weights.pt')"
        return Content("weights of PyTorch before 0.2", advice=advice)
    return Content(f"a tar archive that begins with {first!r}", advice="unpack it, and open the model in it")


def _directory_bytes(path: Path) -> int:
    """The size of a zip archive's list of members, as its end says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    return int(struct.unpack_from("<I", tail, place + 12)[0]) if 0 <= place <= len(tail) - 22 else 0


def _start(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return member.read(HEAD)


def _bz2(head: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(head, HEAD)


def _xz(head: bytes) -> bytes:
    return lzma.LZMADecompressor(memlimit=256 << 20).decompress(head, HEAD)


COMPRESSED: tuple[tuple[bytes, tuple[str, Callable[[bytes], bytes]]], ...] = (
    (b"\x1f\x8b", ("gzip", lambda head: zlib.decompressobj(31).decompress(head, HEAD))),
    *(
        (start, ("zlib", lambda head: zlib.decompressobj().decompress(head, HEAD)))
        for start in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
    ),
    (b"BZh", ("bzip2", _bz2)),
    (b"\xfd7zXZ", ("xz", _xz)),
)
