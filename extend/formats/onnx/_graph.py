"""Where an ONNX graph's classifier ends: the nodes that multiply features by columns.

A head is one Gemm, MatMul (+ Add), 1x1 Conv or LinearClassifier, or a Concat of several that read the same tensor. What
comes after must be known node by node (see `_tail`); a layer that anything else follows is no head, and so hidden
layers exclude themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.onnx._nodes import View, attributes, called, labels_of
from extend.formats.onnx._tail import Kind, Tail, UnfitError

QUANTISED = {
    "QLinearMatMul", "MatMulInteger", "QGemm", "QLinearConv", "ConvInteger", "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat", "MatMulNBits", "DequantizeLinear",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Some columns of the head: ``scores = alpha * source @ raw + beta * raw_bias``.

    Parameters
    ----------
    node, add
        The place of the node that multiplies, and that of the Add that holds its bias, or None.
    source, output
        The tensor that the node reads, and the one that holds its scores (for LinearClassifier its second output).
    raw, raw_bias
        The columns and their bias as they are in the file, in the file's dtype.
    constant
        Whether ONNX Runtime can pack the weights when it loads them, because nothing may override them.
    """

    node: int
    add: int | None
    source: str
    output: str
    raw: np.ndarray
    raw_bias: np.ndarray
    alpha: float = 1.0
    beta: float = 1.0
    constant: bool = True


@dataclass(frozen=True)
class Place:
    """Where the head is: `blocks` in the order of their columns, joined by the node `concat` if there are several.

    Parameters
    ----------
    blocks, concat
        The columns, and the place of the node that joins them, or None.
    scores, rank
        The tensor ``[n, k]`` that the tail reads, and its number of axes, which is more than 2 for a convolution.
    single
        Whether one unit, or two that mirror each other, stands for two classes.
    tail
        What follows the scores.
    """

    blocks: tuple[Block, ...]
    concat: int | None
    scores: str
    rank: int
    single: bool
    tail: Tail

    @property
    def source(self) -> str:
        """The tensor that the head reads."""
        return self.blocks[0].source

    @property
    def head(self) -> DenseHead:
        """The head in the file's dtype."""
        kernel = np.concatenate([_scaled(block.raw, block.alpha) for block in self.blocks], axis=1)
        bias = np.concatenate([_scaled(block.raw_bias, block.beta) for block in self.blocks])
        if self.single:
            return DenseHead.from_single_unit(kernel[:, -1:], bias[-1:])
        several = self.tail.sigmoids or self.tail.logistic
        return DenseHead(kernel, bias, "sigmoid" if several else "softmax")


def find(model: Any, wanted: str | None = None) -> Place:
    """Find the head of a ModelProto.

    Parameters
    ----------
    model
        The model.
    wanted
        The name of the node that multiplies, or of its output, if there are several heads.

    Raises
    ------
    FormatError
        If there is no head, or there are several; the message names the nodes.
    """
    view = View.of(model)
    blocks, unfit = _blocks(view)
    found: list[Place] = []
    for group, concat in _groups(view, blocks):
        names = {label for block in group for label in (view.graph.node[block.node].name, block.output)}
        if concat is not None:
            names |= {view.graph.node[concat].name, view.graph.node[concat].output[0]}
        if wanted is not None and wanted not in names:
            continue
        try:
            found.append(_place(view, group, concat))
        except UnfitError as reason:
            unfit[group[-1].node] = str(reason)
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(called(view.graph.node[place.blocks[0].node]) for place in found)
        raise FormatError(f"several heads: {several}; say which one with head=")
    if wanted is not None and not unfit:
        raise FormatError(f"no head called {wanted!r}; expected the name of a Gemm, MatMul, Conv or LinearClassifier")
    quantised = [place for place, node in enumerate(view.graph.node) if node.op_type in QUANTISED]
    if quantised and quantised[-1] > max(unfit, default=-1):
        node = view.graph.node[quantised[-1]]
        raise FormatError(f"no head in floating point: {called(node)} is quantised; export the model before that")
    if unfit:
        raise FormatError(f"no head: {unfit[max(unfit)]}")
    raise FormatError("no head: the graph holds no Gemm, MatMul, 1x1 Conv or LinearClassifier with constant weights")


def _blocks(view: View) -> tuple[list[Block], dict[int, str]]:
    blocks, unfit = [], {}
    for place, node in enumerate(view.graph.node):
        try:
            if node.op_type in _READ and node.domain in ("", "ai.onnx", "ai.onnx.ml"):
                blocks.append(_READ[node.op_type](view, place, node))
        except UnfitError as reason:
            unfit[place] = str(reason)
    return blocks, unfit


def _weights(view: View, node: Any, rank: int | None = None) -> np.ndarray:
    if len(node.input) < 2:
        raise UnfitError(f"{called(node)} has no weights")
    maker = view.producer.get(node.input[1])
    if maker is not None and view.graph.node[maker].op_type in QUANTISED:
        made = view.graph.node[maker]
        raise UnfitError(f"{called(node)} reads weights of {called(made)}, is quantised; export the model before that")
    value = view.constant(node.input[1])
    if value is None:
        raise UnfitError(f"the weights of {called(node)} are computed by the graph; expected a constant")
    if value.dtype not in (np.float16, np.float32, np.float64):
        raise UnfitError(f"{called(node)} has weights of {value.dtype}; expected float16, float32 or float64")
    if rank is not None and value.ndim != rank:
        raise UnfitError(f"{called(node)} has weights of shape {list(value.shape)}; expected {rank} axes")
    return value


def _zeros(raw: np.ndarray) -> np.ndarray:
    """No bias, which needs no memory of its own: a file may have one kernel in many nodes."""
    return np.broadcast_to(np.zeros((), raw.dtype), raw.shape[1:])


def _gemm(view: View, place: int, node: Any) -> Block:
    given = attributes(node)
    weights = _weights(view, node, 2)
    alpha, beta = float(given.get("alpha", 1.0)), float(given.get("beta", 1.0))
    if given.get("transA", 0) or not (np.isfinite([alpha, beta]).all() and alpha):
        raise UnfitError(f"{called(node)} has transA or alpha {alpha}; expected features as rows")
    raw = weights.T if given.get("transB", 0) else weights
    block = Block(place, None, node.input[0], node.output[0], raw, _zeros(raw), alpha, beta)
    block = replace(block, constant=not view.overridable(node.input[1]))
    if len(node.input) < 3 or not node.input[2]:
        return _with_add(view, replace(block, beta=1.0), 0)
    bias = view.constant(node.input[2])
    if bias is None or bias.size not in (1, raw.shape[1]) or bias.ndim > 2 or bias.shape[:-1] not in ((), (1,)):
        raise UnfitError(f"{called(node)} has a bias that is no constant of {raw.shape[1]} numbers")
    return replace(block, raw_bias=np.broadcast_to(bias.ravel(), raw.shape[1:]).astype(raw.dtype))


def _matmul(view: View, place: int, node: Any) -> Block:
    raw = _weights(view, node, 2)
    block = Block(place, None, node.input[0], node.output[0], raw, _zeros(raw))
    return _with_add(view, replace(block, constant=not view.overridable(node.input[1])), 0)


def _conv(view: View, place: int, node: Any) -> Block:
    given = attributes(node)
    weights = _weights(view, node)
    space = weights.ndim - 2
    if space < 1 or set(weights.shape[2:]) != {1} or given.get("group", 1) != 1:
        raise UnfitError(f"{called(node)} is no 1x1 convolution")
    if set(given.get("strides", [1])) != {1} or set(given.get("pads", [0])) != {0}:
        raise UnfitError(f"{called(node)} has strides or pads; expected a plain 1x1 convolution")
    raw = weights.reshape(len(weights), -1).T
    block = Block(place, None, node.input[0], node.output[0], raw, _zeros(raw))
    block = replace(block, constant=not view.overridable(node.input[1]))
    if len(node.input) < 3 or not node.input[2]:
        return _with_add(view, block, space)
    bias = view.constant(node.input[2])
    if bias is None or bias.shape != raw.shape[1:]:
        raise UnfitError(f"{called(node)} has a bias that is no constant of {raw.shape[1]} numbers")
    return replace(block, raw_bias=bias)


def _with_add(view: View, block: Block, space: int) -> Block:
    """The block with the Add of a constant that follows it, if one does, perhaps behind a Cast to the same type."""
    output, k = block.output, block.raw.shape[1]
    while len(view.consumers[output]) == 1:
        place = view.consumers[output][0]
        node = view.graph.node[place]
        if node.op_type == "Identity" or (node.op_type == "Cast" and _casts_to(node, block.raw.dtype)):
            if output in view.outputs:
                break
            output = node.output[0]
            continue
        if node.op_type != "Add" or len(node.input) != 2 or output in view.outputs:
            break
        bias = view.constant(node.input[0 if node.input[1] == output else 1])
        shapes = {(1,) * lead + (k,) + (1,) * space for lead in range(2)} | {(), (1,)}
        if bias is None or bias.shape not in shapes or bias.dtype != block.raw.dtype:
            break
        bias = np.broadcast_to(bias.ravel(), (k,)).copy()
        return replace(block, add=place, output=node.output[0], raw_bias=bias)
    return block


def _casts_to(node: Any, dtype: np.dtype[Any]) -> bool:
    from onnx import helper

    return attributes(node).get("to") == helper.np_dtype_to_tensor_dtype(dtype)


def _linear_classifier(view: View, place: int, node: Any) -> Block:
    given = attributes(node)
    kernel = np.asarray(given.get("coefficients", []), np.float32)
    bias = np.asarray(given.get("intercepts", []), np.float32)
    labels = labels_of(node, "classlabels_strings", "classlabels_ints")
    rows = len(bias) or len(labels)
    if len(node.output) < 2 or not labels or not rows or not kernel.size or kernel.size % rows:
        raise UnfitError(
            f"{called(node)}: {kernel.size} coefficients, {rows} intercepts and {len(labels)} labels do not fit"
        )
    post = given.get("post_transform", b"NONE")
    if post not in (b"NONE", b"SOFTMAX", b"LOGISTIC"):
        raise UnfitError(f"{called(node)} has post_transform {post!r}; expected NONE, SOFTMAX or LOGISTIC")
    if rows != len(labels) and not (rows == 1 and len(labels) == 2 and post == b"LOGISTIC"):
        raise UnfitError(f"{called(node)} has {rows} rows and {len(labels)} labels")
    bias = bias if len(bias) else np.zeros(rows, np.float32)
    return Block(place, None, node.input[0], node.output[1], kernel.reshape(rows, -1).T, bias)


_READ = {"Gemm": _gemm, "MatMul": _matmul, "Conv": _conv, "LinearClassifier": _linear_classifier}


def _groups(view: View, blocks: list[Block]) -> Iterator[tuple[tuple[Block, ...], int | None]]:
    """Blocks that one Concat joins, and the others alone."""
    by_output = {block.output: block for block in blocks}
    joined: set[str] = set()
    for place, node in enumerate(view.graph.node):
        if node.op_type != "Concat" or len(node.input) < 2 or not all(name in by_output for name in node.input):
            continue
        group = tuple(by_output[name] for name in node.input)
        alone = all(view.consumers[name] == [place] for name in node.input) and len(set(node.input)) == len(group)
        alike = len({(_uncast(view, block.source), block.raw.shape[0], block.raw.dtype) for block in group}) == 1
        axis = attributes(node).get("axis")
        rank = _rank(view, group[0])
        if alone and alike and axis in (1, 1 - rank):
            joined |= set(node.input)
            yield group, place
    for block in blocks:
        if block.output not in joined:
            yield (block,), None


def _uncast(view: View, name: str) -> str:
    """The tensor behind a Cast."""
    node = view.graph.node[view.producer[name]] if name in view.producer else None
    return node.input[0] if node is not None and node.op_type == "Cast" else name


def _rank(view: View, block: Block) -> int:
    node = view.graph.node[block.node]
    value = view.constant(node.input[1]) if node.op_type == "Conv" else None
    return 2 if value is None else value.ndim


def _place(view: View, group: tuple[Block, ...], concat: int | None) -> Place:
    """The head with its tail; an UnfitError says that it is none."""
    first = view.graph.node[group[0].node]
    start = concat if concat is not None else group[0].node if group[0].add is None else group[0].add
    scores = group[0].output if concat is None else view.graph.node[concat].output[0]
    tail = Tail(view, sum(block.raw.shape[1] for block in group))
    single, rank = tail.k == 1, _rank(view, group[0])
    tail.kinds[scores] = Kind("wide", rank)
    if first.op_type == "LinearClassifier":
        post = {attributes(view.graph.node[block.node]).get("post_transform", b"NONE") for block in group}
        if concat is not None and post != {b"NONE"}:
            raise UnfitError(f"{called(first)} and others are joined after a post_transform; expected NONE")
        tail.logistic = post == {b"LOGISTIC"}
        if concat is None:
            labels = labels_of(first, "classlabels_strings", "classlabels_ints")
            raw, bias = group[0].raw, group[0].raw_bias
            mirrored = len(bias) == 2 and (raw[:, 0] == -raw[:, 1]).all() and bias[0] == -bias[1]
            single, tail.k = tail.logistic and len(labels) == 2 and (mirrored or len(bias) == 1), len(labels)
            tail.name_outputs(start, labels)
    tail.follow(start + 1)
    return Place(group, concat, scores, rank, bool(single), tail)


def _scaled(value: np.ndarray, by: float) -> np.ndarray:
    return value if by == 1 else value * value.dtype.type(by)
