"""An ONNX file, read whole and checked before ONNX Runtime sees it: its size, its operators, its external data."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import read_bytes
from extend.formats.onnx._nodes import called, graphs_of

MOST_BYTES = (1 << 31) - (1 << 16)
"""A protobuf message cannot be larger than 2 GiB; such a model is not opened, and none is written."""
MOST_ELEMENTS = 1 << 27
"""Of one tensor between two nodes, for the number of samples that the file declares (one, if it leaves that open)."""
MOST_NODES = 1 << 20
"""Of a function with all that it calls."""
_LARGE = 1 << 16
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "ai.onnx.preview.training"}


def read(file: Path) -> Any:
    """Return the ModelProto in a file, with its external data; `extend.formats.onnx.open` says what is refused."""
    try:
        import onnx
        import onnxruntime  # noqa: F401  # only to see that it is there
    except ImportError as error:
        raise MissingExtraError("ONNX", "onnx", error) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(read_bytes(file, MOST_BYTES))
    except FormatError:
        raise
    except Exception as error:  # protobuf's DecodeError, whose place differs between its versions.
        raise FormatError(f"{file}: no ONNX model, or a damaged one ({short(error)})") from error
    _load_external(file, model)
    _check_nodes(file, model)
    check(file, model)
    return model


def short(error: Exception) -> str:
    """Return the first words of an error of another library."""
    text = " ".join(str(error).split())
    return text if len(text) < 300 else text[:300] + " ..."


def check(file: Path, model: Any) -> None:
    """Let ONNX check a model."""
    from onnx import checker

    try:
        checker.check_model(model)
    except Exception as error:  # ValidationError, and what protobuf and its C++ code raise.
        raise FormatError(f"{file}: no valid ONNX model ({short(error)})") from error


def serialise(file: Path, model: Any) -> bytes:
    """Return the bytes of a model."""
    try:
        content = model.SerializeToString(deterministic=True)
    except Exception as error:  # protobuf's EncodeError, ValueError in other versions.
        raise FormatError(f"{file}: the model cannot be written ({short(error)})") from error
    if len(content) > MOST_BYTES:
        raise FormatError(f"{file}: {len(content)} bytes; models of more than 2 GiB are not supported")
    return content


def make_session(file: Path, content: bytes) -> Any:
    """Return a session of ONNX Runtime on the CPU; it computes constants when it loads, so `_sizes` comes first."""
    import onnxruntime

    _sizes(file, content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = min(2, os.cpu_count() or 1), 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises exceptions of its own, without a common base.
        raise FormatError(f"{file}: ONNX Runtime cannot run this model ({short(error)})") from error


def _sizes(file: Path, content: bytes) -> None:
    """Refuse a graph that makes gigabytes of one sample, as far as its declared shapes and constants tell."""
    from onnx import ModelProto, TensorProto, shape_inference

    light = ModelProto.FromString(content)
    for tensor in list(_tensors(light)):
        if tensor.ByteSize() > _LARGE:  # Shapes are all that counts of weights.
            kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            tensor.CopyFrom(kept)
    try:
        light = shape_inference.infer_shapes(light, data_prop=True)
    except Exception:  # It cannot tell; then ONNX Runtime finds out.
        return
    for graph in (light.graph, *(inner for node in _all_nodes(light.graph) for inner in graphs_of(node))):
        for value in graph.value_info:
            size = prod(max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim)
            if size > MOST_ELEMENTS:
                raise FormatError(f"{file}: tensor {value.name!r} has {size} elements; at most {MOST_ELEMENTS} may be")


def _all_nodes(graph: Any, deep: int = 0) -> Iterator[Any]:
    if deep > 20:
        raise FormatError("subgraphs more than 20 deep")
    for node in graph.node:
        yield node
        for inner in graphs_of(node):
            yield from _all_nodes(inner, deep + 1)


def _check_nodes(file: Path, model: Any) -> None:
    """Refuse operators that ONNX Runtime lacks, and what would never end: functions within functions, long loops."""
    functions = {(function.domain, function.name): function for function in model.functions}
    calls = {key: Counter((node.domain, node.op_type) for node in _all_nodes(f)) for key, f in functions.items()}
    sizes: dict[tuple[str, str], int] = {}
    endless = FormatError(f"{file}: functions that call themselves, or come to more than {MOST_NODES} nodes")
    try:
        inner = {key: [one for one in made if one in functions] for key, made in calls.items()}
        order = list(TopologicalSorter(inner).static_order())
    except CycleError:
        raise endless from None
    for key in order:  # From the innermost outwards.
        sizes[key] = sum(times * sizes.get(one, 1) for one, times in calls[key].items())
        if sizes[key] > MOST_NODES:
            raise endless
    known = _DOMAINS | {function.domain for function in model.functions}
    for node in _all_nodes(model.graph):
        if node.domain not in known:
            raise FormatError(
                f"{file}: {called(node)} is of the domain {node.domain!r}, which ONNX Runtime does not know"
            )


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message, wherever it lies: sparse ones, those of attributes, functions and training too."""
    from onnx import TensorProto

    for described, value in message.ListFields():
        if described.message_type is None:
            continue
        for part in (value,) if hasattr(value, "ListFields") else value:
            if isinstance(part, TensorProto):
                yield part
            else:
                yield from _tensors(part)


def _load_external(file: Path, model: Any) -> None:
    """Read weights that lie in other files of the same folder into the model."""
    from onnx import TensorProto

    total = file.stat().st_size
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        given = {item.key: item.value for item in tensor.external_data}
        where = f"{file}: tensor {tensor.name!r}"
        location, folder = Path(given.get("location", "")), file.parent.resolve()
        data = folder / location
        try:
            inside = not location.is_absolute() and data.resolve() == data and data.is_relative_to(folder)
            if not inside or ".." in location.parts or not data.is_file():
                raise FormatError(f"{where} lies in {str(location)!r}; expected a file in the model's folder, no link")
            size = data.stat().st_size
            offset = int(given.get("offset", "0"))
            length = int(given["length"]) if "length" in given else size - offset
            if offset < 0 or length < 0 or offset + length > size:
                raise FormatError(f"{where}: bytes {offset} to {offset + length} of {data.name}, which has {size}")
            total += length
            if total > MOST_BYTES:
                raise FormatError(f"{file}: with its external data more than 2 GiB, which is not supported")
            with data.open("rb") as stream:
                stream.seek(offset)
                tensor.raw_data = stream.read(length)
        except (OSError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{where}: its external data cannot be read ({error})") from error
        del tensor.external_data[:]
        tensor.ClearField("data_location")
