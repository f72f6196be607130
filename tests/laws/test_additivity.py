"""memory(A and B) = memory(A) + memory(B): stream, shard, or merge two people's models."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from extend.data import Features
from extend.memory import Memory
from tests.laws.strategies import Labelled, close, labelled


def same(one: Memory, two: Memory) -> bool:
    a, b = one.statistics, two.statistics
    order = [two.classes.index(name) for name in one.classes]
    scatters = a.scatters is None or all(close(a.scatter(i), b.scatter(j)) for i, j in enumerate(order))
    return (
        np.array_equal(a.count, b.count[order])
        and close(a.mean, b.mean[order])
        and close(a.within, b.within)
        and scatters
        and held(one) == held(two)
    )


def held(memory: Memory) -> set[tuple[str, bytes]]:
    rows, labels = memory.held_out
    return {(memory.classes[label], row.tobytes()) for row, label in zip(rows, labels, strict=True)}


@given(labelled(), st.sampled_from(["class", "pooled"]), st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(data: Labelled, scatter: str, seed: int) -> None:
    whole = Memory.of(Features(data.x, data.y, data.names, data.keys), scatter=scatter)
    part = np.random.default_rng(seed).integers(0, 3, len(data.y))
    one, two, three = (Memory.of(data.part(part == i), scatter=scatter) for i in range(3))
    assert same(one + two + three, whole)
    assert same(three + (two + one), whole)


@given(labelled(fewest_classes=3), st.sampled_from(["class", "pooled"]))
def test_memories_of_different_classes_add(data: Labelled, scatter: str) -> None:
    whole = Memory.of(Features(data.x, data.y, data.names, data.keys), scatter=scatter)
    last = len(data.names) - 1
    rows = data.y == last
    first = Memory.of(data.part(~rows, last), scatter=scatter)
    alone = Memory.of(
        replace(data.part(rows), labels=np.zeros(rows.sum(), int), classes=data.names[last:]), scatter=scatter
    )
    assert same(first + alone, whole)
    assert same(alone + first, whole)


@given(labelled())
def test_the_held_out_rows_are_the_rule_and_nothing_else(data: Labelled) -> None:
    """An independent statement of the rule: keys in the lowest tenth, the 50 smallest, of classes of 10 or more.

    Of these the smallest key in any case, and never more than half.
    """
    memory = Memory.of(Features(data.x, data.y, data.names, data.keys))
    expected = set()
    for label, name in enumerate(data.names):
        rows = [i for i in range(len(data.y)) if data.y[i] == label]
        if len(rows) >= 10:
            ordered = sorted((int(data.keys[i]), i) for i in rows)
            low = [one for one in ordered if one[0] * 10 < 2**64] or ordered[:1]
            expected |= {(name, data.x[i].tobytes()) for _, i in low[: min(50, len(rows) // 2)]}
    assert held(memory) == expected
    total = memory.statistics.count.sum() + len(memory.held_out[0])
    assert total == len(data.y)
