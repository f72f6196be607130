"""Writing another head into an ONNX graph: the columns, and all that counts or names the classes behind them.

Measured with ONNX Runtime 1.32 on an x86-64 CPU over 200 random shapes an operator (d to 2048, k to 1000, batches of 1
to 64, 1 and 2 threads): columns appended to the constant of a float32 or float16 Gemm or MatMul left every old bit as
it was, because its weights are packed beforehand; a float64 one changed them in 58 to 74 of 200, a 1x1 Conv in 20, a
LinearClassifier in 53. Columns in a second node, joined by Concat, never did. So the first two are widened in
place, and the others get a second node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.onnx._edit import Edit
from extend.formats.onnx._graph import Block, Place
from extend.formats.onnx._labels import relabel, write_labels, write_listed
from extend.formats.onnx._nodes import attributes, called, set_attributes


def widen(model: Any, place: Place, head: DenseHead, classes: Sequence[str], old: Sequence[str] | None) -> None:
    """Change a ModelProto so that it has another head and names other classes.

    Parameters
    ----------
    model, place
        The model, and where its head is.
    head, classes
        The head that it gets, and the names of its columns.
    old
        The classes that the model names now, or None.

    Raises
    ------
    FormatError
        If the graph cannot hold the head: names that are no integers, numbers too large for its dtype.
    """
    new = Edit(model)
    unit = head.single_unit() if place.single else None
    _lookups(new, place, classes, old)
    if unit is None:
        _tail(new, place, head)
    _columns(new, place, head, unit)
    write_listed(model, place, classes)
    new.finish({*place.tail.kinds, *(block.output for block in place.blocks)})


def _columns(new: Edit, place: Place, head: DenseHead, unit: tuple[np.ndarray, np.ndarray] | None) -> None:
    """Put the head's columns into its nodes; `unit` is the one unit that the head still is, if it is one."""
    before, nodes, first = place.head, new.nodes, place.blocks[0]
    k = before.num_classes
    same = head.num_classes >= k and _equal(head.kernel[:, :k], before.kernel) and _equal(head.bias[:k], before.bias)
    if same and head.num_classes == k and (unit is not None) == place.single:
        return None
    node = nodes[first.node]
    packed = node.op_type in ("Gemm", "MatMul") and first.constant and first.raw.dtype != np.float64
    packed = packed and first.alpha == first.beta == 1  # Or division by them would have to round.
    hidden = attributes(node).get("post_transform", b"NONE") != b"NONE"  # No one sees these scores.
    if same and (len(place.blocks) > 1 or not (packed or hidden)):
        return _append(new, place, head)
    if place.concat is not None:
        _fold(new, place)
    kernel, bias = unit or (head.kernel, head.bias)
    if unit and first.raw.shape[1] == 2:
        kernel, bias = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    if node.op_type == "LinearClassifier":
        _classifier(node, kernel, bias)
        if place.concat is not None:
            set_attributes(node, classlabels_strings=[], classlabels_ints=list(range(head.num_classes)))
        if place.single and unit is None:
            set_attributes(node, post_transform="SOFTMAX", multi_class=1)
        return None
    kernel, bias = _narrow(first, kernel, bias)
    add = None if first.add is None else nodes[first.add]
    new.after.setdefault(first.node, [])[0:0] = _fill(new, first, node, add, kernel, bias, place.rank, own=True)
    return None


def _append(new: Edit, place: Place, head: DenseHead) -> None:
    """New columns as nodes of their own, joined to the old by Concat."""
    from onnx import helper

    last, k, nodes = place.blocks[-1], place.head.num_classes, new.nodes
    node = nodes[last.node]
    if place.concat is None:
        end = last.node if last.add is None else last.add
        output = nodes[end].output
        slot = list(output).index(place.scores)
        output[slot] = new.fresh(place.scores)
        join = helper.make_node("Concat", [output[slot]], [place.scores], new.fresh("Concat"), axis=1)
        made = new.after.setdefault(end, [])
    else:
        join, made = nodes[place.concat], new.before.setdefault(place.concat, [])
    if place.single:  # The class without a unit gets a column of zeros before the unit's own.
        zero = _second(new, last, head.kernel[:, :1], head.bias[:1], place)
        made += zero
        join.input.insert(0, zero[-1].output[-1])
    made += _second(new, last, head.kernel[:, k:], head.bias[k:], place)
    join.input.append(made[-1].output[-1])
    if place.concat is None:
        made.append(join)
        if node.op_type == "LinearClassifier":
            made += _label_again(new, node, place)


def _fold(new: Edit, place: Place) -> None:
    """One block in place of several; its columns are written afterwards."""
    nodes, first = new.nodes, place.blocks[0]
    for block in place.blocks[1:]:
        for at in (block.node, block.add):
            if at is not None:
                new.gone.add(id(nodes[at]))
                new.freed += [name for name in nodes[at].input if name != first.source]
    assert place.concat is not None
    new.gone.add(id(nodes[place.concat]))
    output = nodes[first.node if first.add is None else first.add].output
    output[list(output).index(first.output)] = place.scores


def _lookups(new: Edit, place: Place, classes: Sequence[str], old: Sequence[str] | None) -> None:
    """Name the classes in every label list; what stands for an old class goes on to do so."""
    for lookup in place.tail.lookups:
        node = new.nodes[lookup.node]
        values = relabel(lookup.values, classes, old, called(node))
        given = new.labels[lookup.source] if lookup.source >= 0 else tuple(range(len(classes)))
        new.labels.append(values)
        if values == lookup.values:
            continue
        if node.op_type in ("ArrayFeatureExtractor", "Gather"):
            table = np.asarray(new.view.constant(node.input[0]))
            shape = (*(1,) * (table.ndim - 1), len(values))
            new.give(node, 0, np.array(values, table.dtype).reshape(shape), lookup.node)
        else:
            write_labels(node, given, values)


def _second(new: Edit, like: Block, kernel: np.ndarray, bias: np.ndarray, place: Place) -> list[Any]:
    """A node such as this one for other columns, with the Add of its bias if that is one of its own."""
    from onnx import TensorProto, helper

    if new.nodes[like.node].op_type == "LinearClassifier":  # One of a single column would give two scores.
        made = [helper.make_node("Cast", [like.source], [new.fresh(like.source)], to=TensorProto.FLOAT)]
        made += [helper.make_node("Gemm", [made[0].output[0], "", ""], [new.fresh(place.scores)], new.fresh("Gemm"))]
        new.give(made[1], 1, kernel)
        new.give(made[1], 2, bias)
        return made
    node = new.copy(new.nodes[like.node])
    node.output[0] = new.fresh(place.scores)
    add = None
    if like.add is not None:
        add = new.copy(new.nodes[like.add])
        add.input[1 - _bias_slot(new, add)] = node.output[0]
        add.output[0] = new.fresh(place.scores)
    rest = _fill(new, like, node, add, *_narrow(like, kernel, bias), place.rank, own=False)
    return [node, *([] if add is None else [add]), *rest]


def _fill(
    new: Edit,
    block: Block,
    node: Any,
    add: Any | None,
    kernel: np.ndarray,
    bias: np.ndarray,
    rank: int,
    *,
    own: bool,
) -> list[Any]:
    """Give a node and its Add these columns; where there is no Add and a MatMul needs one, it is returned."""
    from onnx import helper

    if block.alpha != 1 or block.beta != 1:
        set_attributes(node, alpha=1.0, beta=1.0)
    space = (1,) * (rank - 2)
    turned = node.op_type == "Conv" or attributes(node).get("transB", 0)
    new.give(node, 1, kernel.T.reshape(*kernel.shape[::-1], *space) if turned else kernel, block.node if own else None)
    if add is not None:
        new.give(add, _bias_slot(new, add), bias.reshape(-1, *space), block.add if own else None)
    elif node.op_type != "MatMul":
        if bias.any() or len(node.input) > 2:
            new.give(node, 2, bias, block.node if own else None)
    elif bias.any():
        output = node.output[0]
        node.output[0] = new.fresh(output)
        made = helper.make_node("Add", [node.output[0], ""], [output], new.fresh("Add"))
        new.give(made, 1, bias)
        return [made]
    return []


def _narrow(block: Block, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In the file's dtype."""
    dtype = block.raw.dtype
    with np.errstate(over="ignore"):
        kernel, bias = kernel.astype(dtype), bias.astype(dtype)
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise FormatError(f"the new columns are too large for the file's {dtype}")
    return kernel, bias


def _bias_slot(new: Edit, add: Any) -> int:
    return 0 if new.view.constant(add.input[0]) is not None else 1


def _classifier(node: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    kernel, bias = kernel.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise FormatError(f"the new columns are too large for the float32 of {called(node)}")
    set_attributes(node, coefficients=kernel.T.ravel().tolist(), intercepts=bias.tolist())
    if kernel.shape[1] > 2:
        set_attributes(node, multi_class=1)


def _label_again(new: Edit, node: Any, place: Place) -> list[Any]:
    """The label of a LinearClassifier that is now one of two: the name of the best of all scores."""
    from onnx import helper, numpy_helper

    label, values = node.output[0], new.labels[0]
    write_labels(node, (), place.tail.lookups[0].values)  # As many as it has columns.
    node.output[0] = new.fresh("label")
    best = helper.make_node("ArgMax", [place.scores], [new.fresh("best")], new.fresh("ArgMax"), axis=1, keepdims=0)
    table = np.asarray(values, np.int64 if isinstance(values[0], int) else object)
    tensor = numpy_helper.from_array(table, new.fresh("classes"))
    new.add(tensor)
    return [best, helper.make_node("Gather", [tensor.name, best.output[0]], [label], new.fresh("Gather"), axis=0)]


def _tail(new: Edit, place: Place, head: DenseHead) -> None:
    """Bring nodes behind the head and the outputs' shapes to the new number of classes."""
    from onnx import helper

    tail, nodes, k = place.tail, new.nodes, head.num_classes
    if k == place.head.num_classes and not place.single:
        return
    for at in tail.reshapes:
        shape = np.array(tail.view.constant(nodes[at].input[1]))
        shape[1] = k
        new.give(nodes[at], 1, shape, at)
    if place.single:
        for at in tail.sigmoids:
            node = nodes[at]
            node.CopyFrom(helper.make_node("Softmax", list(node.input), list(node.output), node.name, axis=1))
        if tail.pair is not None and tail.complement is not None:
            new.replace_by_identity(nodes[tail.pair], 1)
            new.gone.add(id(nodes[tail.complement]))
            new.freed.append(nodes[tail.complement].input[0])
    if tail.picked is not None:
        new.freed.append(nodes[tail.picked].input[1])
        new.replace_by_identity(nodes[tail.picked], 0)
    for output in new.model.graph.output:
        dims = output.type.tensor_type.shape.dim
        if output.name in tail.wide and len(dims) > 1 and dims[1].HasField("dim_value"):
            dims[1].dim_value = k


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
