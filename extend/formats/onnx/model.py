"""Models in ONNX, whoever wrote them: run by ONNX Runtime up to the head, and written back with a wider one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.errors import FormatError
from extend.formats.base import DenseHead, Input, check_replacement, digest, replace_file
from extend.formats.onnx._file import (
    MOST_ELEMENTS,
    check,
    make_session,
    read,
    serialise,
    short,
)
from extend.formats.onnx._graph import Place, find
from extend.formats.onnx._labels import names_of
from extend.formats.onnx._loops import check_loops, run
from extend.formats.onnx._nodes import called, captured
from extend.formats.onnx._widen import widen

_FEATURES = "extend_features"


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A classifier in an ONNX file, opened.

    `extend.formats.base.Foreign` says what its attributes and methods mean.

    Examples
    --------
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> from tempfile import TemporaryDirectory
    >>> weights = [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")]
    >>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", d]) for name, d in (("x", 3), ("y", 2)))
    >>> graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", [x], [y], weights)
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.onnx").write_bytes(helper.make_model(graph, ir_version=10).SerializeToString())
    ...     model = open(Path(folder, "model.onnx"))
    >>> model.head.kernel.shape, model.features(np.zeros((5, 3), np.float32)).shape
    ((3, 2), (5, 3))
    """

    path: Path
    input: Input | Mapping[str, Input]
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    model: Any = field(repr=False)
    place: Place = field(repr=False)
    session: Any = field(repr=False)
    has_loops: bool = False
    format: str = "onnx"

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads of a batch of inputs, in float32 (float64 where the file computes so).

        A model whose inputs have a fixed number of samples is given that many at a time.

        Raises
        ------
        FormatError
            If the batch is not what the model takes, or ONNX Runtime cannot run it.
        """
        specs = {value.name: value for value in self.session.get_inputs()}
        arrays = batch if isinstance(self.input, Mapping) else {next(iter(specs)): batch}
        if not isinstance(arrays, Mapping) or set(arrays) != set(specs):
            raise FormatError(f"{self.path}: the model takes a dict of {sorted(specs)}")
        inputs = self.input if isinstance(self.input, Mapping) else dict.fromkeys(specs, self.input)
        arrays = {name: np.ascontiguousarray(array, inputs[name].dtype) for name, array in arrays.items()}
        sizes = {array.shape[:1] for array in arrays.values()}
        if len(sizes) != 1 or sizes == {()}:
            raise FormatError(f"{self.path}: the inputs have different numbers of samples, or no axis of samples")
        n, d = next(iter(sizes))[0], self.place.blocks[0].raw.shape[0]
        fixed = [value.shape[0] for value in specs.values() if isinstance(value.shape[0], int)]
        step = fixed[0] if fixed and fixed[0] > 0 else max(n, 1)
        parts = [
            self._run({name: array[i : i + step] for name, array in arrays.items()}, step, d) for i in range(0, n, step)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, d), np.float32)

    def _run(self, arrays: dict[str, np.ndarray], step: int, d: int) -> np.ndarray:
        n = len(next(iter(arrays.values())))
        if n < step:  # The last of a fixed number of samples is repeated, and its copies are dropped.
            arrays = {name: np.concatenate([a, np.repeat(a[-1:], step - n, axis=0)]) for name, a in arrays.items()}
        try:
            found = run(self.session, arrays, self.has_loops)[0]
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}") from error
        except Exception as error:  # ONNX Runtime raises exceptions of its own, without a common base.
            raise FormatError(f"{self.path}: ONNX Runtime cannot compute the features ({short(error)})") from error
        if not isinstance(found, np.ndarray) or found.shape[:2] != (step, d) or found.size != step * d:
            shape = list(found.shape) if isinstance(found, np.ndarray) else type(found).__name__
            raise FormatError(
                f"{self.path}: the head reads {shape} for {step} samples; expected [{step}, {d}], one vector a sample"
            )
        found = found.reshape(step, d)[:n]
        return found if found.dtype in (np.float32, np.float64) else found.astype(np.float32)

    def save(self, path: Path, head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write the model with this head as one file, weights included; what was opened is not changed.

        Old columns that are unchanged give bit-identical scores (see `extend.formats.onnx._widen`). A single sigmoid
        unit becomes a softmax over all columns, its own among them; a file that named its classes nowhere gets them as
        metadata.

        Raises
        ------
        FormatError
            If the suffix is not .onnx, the head is of another width or activation, the file's label lists cannot hold
            the names, numbers are too large for the file's dtype, or the file would have more than 2 GiB.
        """
        path = Path(path)
        if path.suffix.lower() != ".onnx":
            raise FormatError(f"{path}: expected a path that ends in .onnx")
        check_replacement(head, self.head, classes, where=path)
        if head.activation != self.head.activation:
            raise FormatError(f"{path}: the model ends in a {self.head.activation}; it cannot hold a {head.activation}")
        model = type(self.model).FromString(self.model.SerializeToString())
        try:
            widen(model, self.place, head, classes, self.classes)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        content = serialise(path, model)
        check(path, model)
        make_session(path, content)
        replace_file(path, content)

    def describe(self) -> dict[str, str]:
        """Describe the operators before the head, the head, and what follows it."""
        nodes = self.model.graph.node
        before = Counter(node.op_type for node in _cut(self.model, self.place).graph.node)
        first = nodes[self.place.blocks[0].node]
        tail = " > ".join(self.place.tail.nodes) or "nothing"
        several = f" and {len(self.place.blocks) - 1} more, joined" if self.place.concat is not None else ""
        single = ", one unit for two classes" if self.place.single else ""
        d, k = self.head.kernel.shape
        size = f"{d} features, {k} classes{single}, {self.head.kernel.dtype}"
        return {
            "backbone": ", ".join(f"{count} {op}" for op, count in before.most_common()) or "none",
            "head": f"{called(first)}{several}: {size}; then {tail}",
            "opset": ", ".join(f"{item.domain or 'ai.onnx'} {item.version}" for item in self.model.opset_import),
            "limits": "the backbone cannot be trained or tapped",
        }


def open(path: str | os.PathLike[str], *, head: str | None = None) -> OnnxModel:
    """Open an ONNX classifier: find its head, and make the part before it run.

    Parameters
    ----------
    path
        The file.
    head
        The name of the head's node or of its output, if the model has several heads.

    Returns
    -------
    OnnxModel
        The opened model.

    Raises
    ------
    FormatError
        If the file is no valid ONNX model or none that ONNX Runtime can run, has external data outside of its folder,
        has more than 2 GiB or operators of an unknown domain, or has no head that can be widened; the message names the
        node.
    MissingExtraError
        If onnx or onnxruntime is not installed.
    """
    file = Path(path)
    model = read(file)
    has_loops = check_loops(file, model)
    try:
        place = find(model, head)
        if place.single and model.producer_name == "skl2onnx" and not (place.tail.sigmoids or place.tail.logistic):
            raise FormatError("one linear output, as scikit-learn's regressions have it: it is a number, not a class")
        dense, classes = place.head, names_of(model, place)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    cut = _cut(model, place)
    session = make_session(file, serialise(file, cut))
    weights = {tensor.name for tensor in cut.graph.initializer}
    turned = {name for node in cut.graph.node if node.op_type == "Transpose" for name in node.input}
    inputs = {value.name: _input(file, value, turned) for value in cut.graph.input if value.name not in weights}
    if not inputs:
        raise FormatError(f"{file}: the head reads nothing that depends on an input")
    single = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    return OnnxModel(file, single, dense, classes, _fingerprint(cut), model, place, session, has_loops)


def _cut(model: Any, place: Place) -> Any:
    """The model up to what the head reads, as its one output."""
    from onnx import ModelProto, ValueInfoProto, helper

    graph, wanted, kept = model.graph, {place.source}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= {*node.input, *captured(node)}
    kept.reverse()
    pool = place.tail.pool
    nodes = [*kept, helper.make_node("GlobalAveragePool" if pool else "Identity", [place.source], [_FEATURES])]
    cut = ModelProto(ir_version=model.ir_version)
    cut.opset_import.extend(model.opset_import)
    cut.functions.extend(model.functions)
    cut.graph.name = "features"
    cut.graph.node.extend(nodes)
    cut.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in wanted)
    cut.graph.sparse_initializer.extend(tensor for tensor in graph.sparse_initializer if tensor.values.name in wanted)
    cut.graph.input.extend(value for value in graph.input if value.name in wanted)
    cut.graph.output.append(ValueInfoProto(name=_FEATURES))
    return cut


def _input(file: Path, value: Any, transposed: set[str]) -> Input:
    from onnx import helper

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape") or not tensor.shape.dim:
        raise FormatError(f"{file}: input {value.name!r} is no tensor with an axis of samples")
    shape = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)[1:]
    if prod(size or 1 for size in shape) > MOST_ELEMENTS:
        raise FormatError(f"{file}: input {value.name!r} is {list(shape)}; at most {MOST_ELEMENTS} numbers may be")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    first = (
        len(shape) == 3
        and value.name not in transposed
        and (shape[0] in (1, 3) or (shape[0] is None and shape[2] not in (1, 3)))
    )
    return Input(shape, dtype, first)


def _fingerprint(cut: Any) -> str:
    parts = [("opset", f"{item.domain} {item.version}") for item in cut.opset_import]
    for items in (cut.graph.input, cut.graph.node, cut.graph.initializer, cut.functions):
        parts += [(type(item).__name__, _sum(item)) for item in items]
    return digest(parts)


def _sum(message: Any) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
