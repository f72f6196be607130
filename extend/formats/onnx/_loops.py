"""Loops of an ONNX graph: one whose rounds are known and too many is refused, and others run under a limit of time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError
from extend.formats.onnx._nodes import called, captured, graphs_of, tensor_value

MOST_ROUNDS = 1 << 20
"""Rounds of a loop, with those of the loops around it."""
SECONDS = 20.0
"""For one batch through a graph whose loops may go round as often as the inputs say."""
LOOPS = ("Loop", "Scan")


@dataclass
class _Scope:
    """What is known of names in a graph: which no input changes, and which are numbers; `outer` is the graph around."""

    outer: _Scope | None = None
    fixed: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    numbers: dict[str, Any] = field(default_factory=dict)

    def is_fixed(self, name: str) -> bool:
        """Whether no input changes what has this name."""
        own = name in self.fixed
        return own or (name not in self.given and self.outer is not None and self.outer.is_fixed(name))

    def number(self, name: str) -> Any:
        """The integer or tensor of this name, or None."""
        if name in self.numbers or name in self.given or self.outer is None:
            return self.numbers.get(name)
        return self.outer.number(name)


def check_loops(file: Path, model: Any) -> bool:
    """Refuse loops that have no end, and return whether the graph has loops at all.

    Raises
    ------
    FormatError
        If a loop has no trip count, one that only constants decide and that is no plain number, or too large a one.
    """
    try:
        found = [_check(graph, None, 1) for graph in (model.graph, *model.functions)]
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    return any(found)


def _check(graph: Any, outer: _Scope | None, times: int) -> bool:
    """Check a graph, perhaps within others, whose loops go round this often; whether it has loops."""
    weights = {tensor.name: tensor for tensor in getattr(graph, "initializer", ())}
    inputs = {value if isinstance(value, str) else value.name for value in graph.input}
    scope = _Scope(outer, set(weights), inputs - weights.keys(), dict(weights))
    found = False
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name in ("value", "value_int"):
                    scope.numbers[node.output[0]] = attribute.i if attribute.name == "value_int" else attribute.t
        inner = times * _rounds(node, scope, times) if node.op_type == "Loop" else times
        found |= node.op_type in LOOPS
        for body in graphs_of(node):
            found |= _check(body, scope, inner)
        if all(scope.is_fixed(name) for name in (*node.input, *captured(node)) if name):
            scope.fixed.update(node.output)
        else:
            scope.given.update(node.output)
    return found


def _rounds(node: Any, scope: _Scope, times: int) -> int:
    """How often a loop goes round; 1 where the inputs decide it."""
    name = node.input[0] if node.input else ""
    if not name:
        raise FormatError(f"{called(node)} has no trip count, so that it may never end; export the model without it")
    given = scope.number(name)
    if given is None:
        if scope.is_fixed(name):
            raise FormatError(f"{called(node)} has a trip count that is computed from constants; expected a number")
        return 1
    if not isinstance(given, int):
        value = tensor_value(given)
        if value.dtype.kind != "i" or value.size != 1:
            raise FormatError(f"{called(node)} has a trip count that is no whole number")
        given = int(value.item())
    if given * times > MOST_ROUNDS:
        raise FormatError(f"{called(node)} goes round {given * times} times; at most {MOST_ROUNDS} may be")
    return max(1, given)


def run(session: Any, arrays: dict[str, Any], limited: bool) -> list[Any]:
    """Run a session; where it is limited, ONNX Runtime is told to stop when the time is over.

    Raises
    ------
    FormatError
        If the time is over.
    """
    if not limited:
        return session.run(None, arrays)
    import onnxruntime

    options, late = onnxruntime.RunOptions(), threading.Event()

    def stop() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(SECONDS, stop)
    timer.daemon = True
    timer.start()
    try:
        return session.run(None, arrays, options)
    except Exception as error:
        if late.is_set():
            raise FormatError(f"a loop of the graph did not end within {SECONDS:g} seconds") from error
        raise
    finally:
        timer.cancel()
