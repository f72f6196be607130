"""What follows the head of an ONNX graph, node by node: only what stays right when there are more classes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

from extend.formats.onnx._nodes import View, attributes, called, labels_of, tensor_value, texts

SAME = {"Identity", "Cast"}
_ELEMENTWISE = {"Exp", "Log", "Neg", "Clip", "Sigmoid", *SAME}
_REDUCE = {"ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceLogSumExp", "ReduceL1", "ReduceL2"}
MOST_INPUTS = 4
"""Of a node that may follow the scores."""
Labels = tuple[int | str, ...]


class UnfitError(Exception):
    """Why a node is not the head."""


@dataclass(frozen=True)
class Lookup:
    """A node that names classes: from their numbers, or from what lookup `source` made of them."""

    node: int
    values: Labels
    source: int = -1


@dataclass(frozen=True)
class Kind:
    """What a tensor of the tail is.

    `name` is "wide" (axis 1 are the classes), "column" (one number a sample, ``[n, 1]``), "flat" (``[n]``), "index" (of
    the best class), "label", "map" (ZipMap's), "complement" or "picked" (see `Tail`). `plain`: still a linear function
    of the features.
    """

    name: str
    rank: int = 2
    plain: bool = True
    sigmoid: bool = False
    values: Labels = ()
    lookup: int = -1


@dataclass
class Tail:
    """All that follows the scores.

    Parameters
    ----------
    view
        The graph.
    k
        The units of the head, or 2 behind the Concat of a single unit's two probabilities.
    kinds
        What each tensor is.
    pool
        Whether the scores are averaged over space after the multiplication; so the features may be, before it.
    reshapes, sigmoids
        The nodes whose target shape holds k, and the sigmoids.
    lookups
        The label lists, in the graph's order.
    complement, pair, picked
        For two classes in one unit: the node ``1 - p``, the Concat of both, the choice of one column.
    logistic
        Whether a LinearClassifier takes the sigmoid itself.
    nodes
        The operators, in the graph's order.
    """

    view: View
    k: int
    kinds: dict[str, Kind] = field(default_factory=dict)
    pool: bool = False
    reshapes: list[int] = field(default_factory=list)
    sigmoids: list[int] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)
    complement: int | None = None
    pair: int | None = None
    picked: int | None = None
    logistic: bool = False
    nodes: list[str] = field(default_factory=list)

    @property
    def wide(self) -> set[str]:
        """Tensors whose axis 1 are the classes."""
        return {name for name, kind in self.kinds.items() if kind.name in ("wide", "complement", "picked")}

    def name_outputs(self, place: int, labels: Labels) -> None:
        """A LinearClassifier names its classes itself: its first output is a label."""
        self.kinds[self.view.graph.node[place].output[0]] = Kind("label", values=labels, lookup=0)
        self.lookups.append(Lookup(place, labels))

    def follow(self, start: int) -> None:
        """Walk from behind node `start` to the outputs.

        Raises
        ------
        UnfitError
            If a node may not stand there, or nothing reaches an output.
        """
        places = sorted({place for name in self.kinds for place in self.view.consumers[name] if place >= start})
        while places:  # A heap, so that nodes come in the graph's order, and none twice.
            place = heappop(places)
            if places and places[0] == place:
                continue
            node = self.view.graph.node[place]
            if any(name in self.view.captures.get(place, ()) for name in self.kinds):
                raise _stop(node, "its subgraph reads the scores")
            if len(node.input) > MOST_INPUTS:  # A file may have many of them, each behind as many layers.
                raise _stop(node, "it mixes the scores with something else")
            self.kinds[node.output[0]] = self._step(place, node)
            self.nodes.append(node.op_type)
            for later in self.view.consumers[node.output[0]]:
                heappush(places, later)
        if not self.kinds.keys() & self.view.outputs:
            raise UnfitError("its scores reach no output of the graph")

    def _step(self, place: int, node: Any) -> Kind:
        op, kinds = node.op_type, [self.kinds.get(name) for name in node.input]
        first, given = kinds[0], attributes(node)
        if any(name in self.kinds for name in node.output) or any(node.output[1:]):
            raise _stop(node, "it has several outputs")
        if op in _BINARY and len(kinds) == 2:
            return self._binary(place, node, kinds)
        if op == "Concat":
            return self._concat(place, node, kinds)
        if op in ("ArrayFeatureExtractor", "Gather") and len(kinds) == 2:
            return self._index(place, node, kinds)
        if first is None or any(kinds[1:]):
            raise _stop(node, "it mixes the scores with something else")
        if first.name in ("index", "label"):
            return self._label(place, node, first)
        if op in _ELEMENTWISE and first.name != "picked" and (op in SAME or first.name != "complement"):
            if op == "Sigmoid":
                self.sigmoids.append(place)
            return replace(first, plain=first.plain and op in SAME, sigmoid=first.sigmoid or op == "Sigmoid")
        if first.name == "picked" and op in SAME:
            return first
        if first.name == "flat" and op == "Unsqueeze" and self.view.axes(node) in ([1], [-1]):
            return replace(first, name="column")
        if first.name == "wide":
            return self._wide(place, node, first, given)
        raise _stop(node, "this is not supported there")

    def _wide(self, place: int, node: Any, kind: Kind, given: dict[str, Any]) -> Kind:
        op, classes = node.op_type, {1, 1 - kind.rank}
        if op in ("Softmax", "LogSoftmax", "ArgMax"):
            default = 0 if op == "ArgMax" else 1 if self.view.opset < 13 else -1
            if given.get("axis", default) not in classes or self.k == 1:
                raise _stop(node, "it does not go over the classes")
            if op == "ArgMax":
                return Kind("index", values=tuple(range(self.k)))
            return replace(kind, plain=False)
        if op in _REDUCE or op == "GlobalAveragePool":
            axes = list(range(2, kind.rank)) if op == "GlobalAveragePool" else self.view.axes(node) or []
            keep = op == "GlobalAveragePool" or given.get("keepdims", 1)
            if len(axes) == 1 and axes[0] in classes and (keep or kind.rank == 2) and self.k > 1:
                return replace(kind, name="column" if keep else "flat", plain=False)
            space = sorted(axis % kind.rank for axis in axes)
            mean = op in ("GlobalAveragePool", "ReduceMean") and kind.plain and kind.rank > 2
            if mean and space == list(range(2, kind.rank)):
                self.pool = True
                return replace(kind, rank=kind.rank if keep else 2)
            raise _stop(node, "it reduces neither the classes nor plain scores over all of space")
        if op == "Normalizer" and kind.rank == 2 and self.k > 1:
            return replace(kind, plain=False)
        if op == "ZipMap" and self.k > 1:
            return self._named(place, node, -1, labels_of(node, "classlabels_strings", *_ZIP))
        if op == "Flatten" and given.get("axis", 1) == 1:
            return replace(kind, rank=2)
        if op == "Squeeze" and kind.rank > 2:
            axes = sorted(axis % kind.rank for axis in self.view.axes(node) or [])
            if axes == list(range(2, kind.rank)):
                return replace(kind, rank=2)
        if op == "Reshape" and len(node.input) == 2:
            shape = self.view.constant(node.input[1])
            if shape is not None and shape.shape == (2,) and shape[1] in (self.k, -1, 0 if kind.rank == 2 else -1):
                self.reshapes += [place] if shape[1] == self.k else []
                return replace(kind, rank=2)
        raise _stop(node, "this is not supported there")

    def _binary(self, place: int, node: Any, kinds: list[Kind | None]) -> Kind:
        known = [kind for kind in kinds if kind is not None]
        if not all(kind.name in ("wide", "column") or (kind.name == "flat" and len(known) == 1) for kind in known):
            raise _stop(node, "it mixes the scores with something else")
        if len(known) == 2:
            wide = next((kind for kind in known if kind.name == "wide"), known[0])
            return replace(wide, plain=False)
        other = self.view.constant(node.input[0 if kinds[0] is None else 1])
        if other is None or other.size != 1 or other.ndim > known[0].rank:
            raise _stop(node, "it holds a number a class, or one that the graph computes")
        if self.k == 1 and known[0].name == "wide" and known[0].sigmoid:
            if node.op_type == "Sub" and kinds[0] is None and other.ravel()[0] == 1 and self.complement is None:
                self.complement = place
                return Kind("complement")
            raise _stop(node, "it changes the probability of the only unit")
        return replace(known[0], plain=False)

    def _concat(self, place: int, node: Any, kinds: list[Kind | None]) -> Kind:
        names = [kind.name if kind else "" for kind in kinds]
        if self.k != 1 or names != ["complement", "wide"] or attributes(node).get("axis") not in (1, -1):
            raise _stop(node, "it joins the scores with something else")
        if not (kinds[1] and kinds[1].sigmoid) or self.pair is not None:
            raise _stop(node, "it joins no probability with its complement")
        self.pair, self.k = place, 2
        return Kind("wide", plain=False)

    def _index(self, place: int, node: Any, kinds: list[Kind | None]) -> Kind:
        table, index = self.view.constant(node.input[0]), kinds[1]
        if kinds[0] is not None and kinds[0].name == "wide" and self.k == 2 and node.op_type != "Gather":
            column = self.view.constant(node.input[1])
            if column is not None and column.size == 1 and column.ravel()[0] == 1 and self.picked is None:
                self.picked = place
                return Kind("picked")
        if table is None or index is None or index.name != "index" or attributes(node).get("axis", 0) != 0:
            raise _stop(node, "it chooses among the scores")
        if node.op_type == "Gather" and table.ndim != 1:
            raise _stop(node, f"its table has shape {list(table.shape)}; expected [{self.k}]")
        return self._named(place, node, -1, texts(node, table.ravel()))

    def _label(self, place: int, node: Any, kind: Kind) -> Kind:
        if node.op_type in SAME or (node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten")):
            return kind
        if node.op_type == "LabelEncoder":
            keys, values = (label_list(self.view, node, what) for what in ("keys", "values"))
            table = dict(zip(keys, values, strict=False))
            if len(keys) != len(values) or len(table) != len(keys) or not set(kind.values) <= set(keys):
                raise _stop(node, f"its keys are not the {self.k} classes")
            return self._named(place, node, kind.lookup, tuple(table[key] for key in kind.values))
        raise _stop(node, "this is not supported behind a label")

    def _named(self, place: int, node: Any, source: int, values: Labels) -> Kind:
        if len(values) != self.k:
            raise _stop(node, f"it names {len(values)} classes, the head has {self.k}")
        self.lookups.append(Lookup(place, values, source))
        return Kind("map" if node.op_type == "ZipMap" else "label", values=values, lookup=len(self.lookups) - 1)


_BINARY = {"Add", "Sub", "Mul", "Div", "Max"}
_ZIP = ("classlabels_int64s",)


def label_list(view: View, node: Any, what: str) -> Labels:
    """Return a LabelEncoder's "keys" or "values", integers or texts; none if they are of another type."""
    from onnx import helper

    for attribute in node.attribute:
        if attribute.name in (f"{what}_strings", f"{what}_int64s"):
            return texts(node, helper.get_attribute_value(attribute))
        if attribute.name == f"{what}_tensor":
            value = tensor_value(attribute.t)
            return texts(node, value.ravel()) if value.dtype.kind in "iuO" else ()
    return ()


def _stop(node: Any, why: str) -> UnfitError:
    return UnfitError(f"{called(node)} follows the scores: {why}")
