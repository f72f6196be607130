"""What a binary file is, by the bytes that it begins with."""

from __future__ import annotations

import struct

from extend.formats.content._base import FLAX, ORIGINAL, TREES, Content

DATA = "it is data, not a model; pass it as data"
UNPACK = "unpack it, and open the model in it"
GGUF = "it is for llama.cpp, and mostly quantised: open the Hugging Face folder that it was converted from"
TFLITE = (
    "open the Keras model that it was converted from, or convert it: "
    "python -m tf2onnx.convert --tflite {path!r} --output model.onnx"
)
VECTORS = "pass a function from texts to its vectors to extend.wrap"
JAVA = "only Java reads its serialised objects: in Weka 3.7 or later save a Logistic model as PMML, else train anew"

STARTS: tuple[tuple[int, bytes, Content], ...] = (
    (0, b"\x89HDF\r\n\x1a\n", Content("an HDF5 file", "keras")),
    (0, b"MATLAB 5.0 MAT-file", Content("a MAT file", "matlab")),
    (0, b"MATLAB 7.3 MAT-file", Content("a MAT file", "matlab")),
    (126, b"IM", Content("a MAT file", "matlab")),
    (126, b"MI", Content("a MAT file", "matlab")),
    (4, b"TFL3", Content("a model of TensorFlow Lite", advice=TFLITE)),
    (4, b"ET12", Content("a program of ExecuTorch", advice=ORIGINAL)),
    (0, b"GGUF", Content("a model in GGUF", advice=GGUF)),
    *((0, magic, Content("a model in GGML", advice=GGUF)) for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
    (0, b"\xac\xed\x00\x05", Content("a serialised Java object, such as a .model of Weka", advice=JAVA)),
    (0, b"CBM1", Content("a model of CatBoost", advice=TREES)),
    (0, b"binf", Content("a model of XGBoost", advice=TREES)),
    (0, b"\xba\x16\x4f\x2f", Content("a model of fastText", advice=VECTORS)),
    (0, b"ftrt", Content("an engine of TensorRT", advice=ORIGINAL)),
    (0, b"\x93NUMPY", Content("an array of NumPy", advice=DATA)),
    (0, b"PAR1", Content("a table (Parquet)", advice=DATA)),
    (0, b"ARROW1", Content("a table (Arrow)", advice=DATA)),
    (0, b"SQLite format 3\0", Content("a database (SQLite)", advice=DATA)),
    (0, b"\x89PNG\r\n", Content("a picture (PNG)", advice=DATA)),
    (0, b"\xff\xd8\xff", Content("a picture (JPEG)", advice=DATA)),
    (0, b"GIF8", Content("a picture (GIF)", advice=DATA)),
    (0, b"II*\0", Content("a picture (TIFF)", advice=DATA)),
    (0, b"MM\0*", Content("a picture (TIFF)", advice=DATA)),
    (8, b"WEBP", Content("a picture (WebP)", advice=DATA)),
    (8, b"WAVE", Content("a sound (WAV)", advice=DATA)),
    (4, b"ftyp", Content("a film or a picture (MP4, HEIC)", advice=DATA)),
    (0, b"ID3", Content("a sound (MP3)", advice=DATA)),
    (0, b"OggS", Content("a sound (Ogg)", advice=DATA)),
    (0, b"fLaC", Content("a sound (FLAC)", advice=DATA)),
    (0, b"%PDF", Content("a document (PDF)", advice="it is no model")),
    (0, b"\x7fELF", Content("a program", advice="it is no model")),
    (0, b"7z\xbc\xaf\x27\x1c", Content("a 7z archive", advice=UNPACK)),
    (0, b"Rar!", Content("a RAR archive", advice=UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Content("a file compressed with zstd", advice=UNPACK)),
    (0, b"\x04\x22\x4d\x18", Content("a file compressed with lz4", advice=UNPACK)),
    (0, b"RDX", Content("data of R (.RData)", advice="in R, export the model with the r2pmml package")),
    (0, b"\x12\x01\0\0\0\0\0\0", Content("weights of MXNet", advice="export the model from MXNet to ONNX")),
)  # fmt: skip
ONNX_FIELDS = {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
"""The fields of ONNX's ModelProto."""
COREML = Content("a model of CoreML", advice=ORIGINAL)
FROZEN = "convert it: python -m tf2onnx.convert --graphdef {path!r} --output model.onnx --inputs ... --outputs ..."


def of_binary(head: bytes, suffix: str) -> Content | None:
    """Return what a file is by its first bytes, or None if they are not known."""
    for place, magic, found in STARTS:
        if head[place : place + len(magic)] == magic and (place != 126 or head.startswith(b"MATLAB")):
            return found
    if head.startswith(b"BM") and len(head) > 30 and head[14:18] in (b"\x28\0\0\0", b"\x7c\0\0\0", b"\x6c\0\0\0"):
        return Content("a picture (BMP)", advice=DATA)
    if _is_safetensors(head):
        return Content("weights as safetensors", "torch")
    if head.startswith(b"{L") and b"learner" in head[:64]:
        return Content("a model of XGBoost (UBJSON)", advice=TREES)
    if _is_msgpack_map(head):
        return Content("weights of a Flax model (msgpack)", "flax", FLAX)
    return _of_protobuf(head, suffix)


def _is_safetensors(head: bytes) -> bool:
    """A length of 8 bytes, and JSON that begins with an object."""
    return len(head) > 9 and 2 <= struct.unpack_from("<Q", head)[0] <= 100_000_000 and head[8:9] == b"{" and (
        head[9:10] in (b'"', b"}", b" ")
    )  # fmt: skip


def _is_msgpack_map(head: bytes) -> bool:
    """A map of 1 to 15, or of more, whose first key is a text."""
    if len(head) < 3:
        return False
    if 0x81 <= head[0] <= 0x8F:
        key = head[1:]
    elif head[0] == 0xDE:
        key = head[3:]
    else:
        return False
    if not key:
        return False
    size, start = (
        (key[0] & 31, 1) if 0xA1 <= key[0] <= 0xBF else (key[1], 2) if key[0] == 0xD9 and len(key) > 1 else (0, 0)
    )
    text = key[start : start + size]
    return size > 0 and len(text) == size and all(32 <= byte < 127 for byte in text)


def _of_protobuf(head: bytes, suffix: str) -> Content | None:
    """ONNX, CoreML and TensorFlow's graphs are protocol buffers, told apart by their fields."""
    if suffix == ".pb" and head[:1] in (b"\x08", b"\x0a"):
        return Content("a graph of TensorFlow", advice=FROZEN)
    if suffix == ".caffemodel":
        return Content("weights of Caffe", advice="convert them with their .prototxt to ONNX")
    if suffix == ".mlmodel":
        return COREML
    if head[:1] != b"\x08" or len(head) < 8:
        return None
    place = 0
    fields: list[int] = []
    while place < len(head) and len(fields) < 12:
        tag, place = _varint(head, place)
        field, wire = tag >> 3, tag & 7
        value, place = _varint(head, place)
        if wire == 2:
            if field == 2 and head[place : place + 1] == b"\x0a":
                return COREML if b"saved_model" not in head and b"serve" not in head else None
            place += value
        elif wire:
            return None
        fields.append(field)
    fits = set(fields) <= ONNX_FIELDS and fields[0] == 1 and 1 <= head[1] <= 30
    return Content("an ONNX model", "onnx") if fits and {7, 8} & set(fields) else None


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of protocol buffers, and where it ends; past the end of the data it is 0."""
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, place
