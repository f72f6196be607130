"""An ONNX graph while it is changed: its nodes keep their places until everything is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.formats.onnx._nodes import View, captured
from extend.formats.onnx._tail import Labels


class Edit:
    """A graph while it is changed: its nodes keep their places until `finish`."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.view = View.of(model)
        self.nodes = list(model.graph.node)
        self.before: dict[int, list[Any]] = {}
        self.after: dict[int, list[Any]] = {}
        self.gone: set[int] = set()
        self.freed: list[str] = []
        self.labels: list[Labels] = []
        self.names = {name for node in self.nodes for name in (*node.input, *node.output, node.name, *captured(node))}
        self.names |= {item.name for item in (*model.graph.initializer, *model.graph.input, *model.graph.output)}

    def fresh(self, name: str) -> str:
        """Return a name that nothing in the graph has."""
        number = 2
        while f"{name}_{number}" in self.names:
            number += 1
        self.names.add(f"{name}_{number}")
        return f"{name}_{number}"

    def give(self, node: Any, slot: int, value: np.ndarray, owner: int | None = None) -> None:
        """Make this array a node's constant input; another node that reads the old one keeps it.

        `owner` is the place of a node that was there before, which alone may reuse the name.
        """
        from onnx import helper, numpy_helper

        old = node.input[slot] if slot < len(node.input) else ""
        alone = owner is not None and old in self.view.initializers and self.view.consumers[old] == [owner]
        alone = alone and list(node.input).count(old) == 1 and old not in self.view.outputs
        name = old if alone else self.fresh(old or f"{node.output[0]}_constant")
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        graph = self.model.graph
        if alone:
            self.view.initializers[old].CopyFrom(tensor)
            for given in graph.input:
                if given.name == old:
                    given.CopyFrom(helper.make_tensor_value_info(name, tensor.data_type, value.shape))
            return
        self.add(tensor)
        if owner is not None and old:
            self.freed.append(old)
        if slot < len(node.input):
            node.input[slot] = name
        else:
            node.input.append(name)

    def add(self, tensor: Any) -> None:
        """Add a constant."""
        from onnx import helper

        self.model.graph.initializer.append(tensor)
        if self.model.ir_version < 4:  # Such a file lists its initialisers among its inputs.
            declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            self.model.graph.input.append(declared)

    def copy(self, node: Any) -> Any:
        """Return a node such as this one, under a name of its own."""
        twin = type(node).FromString(node.SerializeToString())
        twin.name = self.fresh(node.name or node.op_type)
        return twin

    def replace_by_identity(self, node: Any, slot: int) -> None:
        """Let a node hand on one of its inputs."""
        from onnx import helper

        node.CopyFrom(helper.make_node("Identity", [node.input[slot]], list(node.output), node.name))

    def finish(self, stale: set[str]) -> None:
        """Put the nodes in order; remove constants that no one reads any more, and the declared shapes of `stale`."""
        graph = self.model.graph
        ordered: list[Any] = []
        for place, node in enumerate(self.nodes):
            own = [] if id(node) in self.gone else [node]
            ordered += [*self.before.get(place, []), *own, *self.after.get(place, [])]
        copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
        del graph.node[:]
        graph.node.extend(copies)
        for at in reversed(range(len(graph.value_info))):
            if graph.value_info[at].name in stale:
                del graph.value_info[at]
        self._drop()

    def _drop(self) -> None:
        """Remove the constants that were freed and that no one reads any more, and the nodes that made only them."""
        graph, view = self.model.graph, View.of(self.model)
        readers = {name: len(places) for name, places in view.consumers.items()}
        gone: set[str] = set()
        idle: set[int] = set()
        while self.freed:
            name = self.freed.pop()
            if readers.get(name) or name in view.outputs or name in gone:
                continue
            gone.add(name)
            place = view.producer.get(name)
            if place is not None and len(graph.node[place].output) == 1:
                idle.add(place)
                for given in {*graph.node[place].input} - {""}:
                    readers[given] -= 1
                    self.freed.append(given)
        for items, names in (
            (graph.initializer, gone),
            (graph.input, gone & set(view.initializers)),
        ):
            for at in reversed([at for at, item in enumerate(items) if item.name in names]):
                del items[at]
        for at in sorted(idle, reverse=True):
            del graph.node[at]
