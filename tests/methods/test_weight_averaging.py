import numpy as np
import pytest

from extend.heads import LinearHead
from extend.memory import Fisher
from extend.methods.weight_averaging import FLOOR, Average

OLD, NEW = {"w": np.float32([1.0, 2.0]), "b": np.float32([0.0])}, {"w": np.float32([3.0, 6.0]), "b": np.float32([1.0])}


def test_the_share_of_the_old_weights() -> None:
    found = Average(0.25).network(OLD, NEW)
    assert found["w"].tolist() == [2.5, 5.0] and found["b"].tolist() == [0.75] and found["w"].dtype == np.float32
    assert Average(0.0).network(OLD, NEW)["w"].tolist() == NEW["w"].tolist()


def test_what_is_trusted_weighs_more() -> None:
    trust = Fisher(2, {"w": np.float32([2.0, 0.0])})
    distrust = Fisher(1, {"w": np.float32([1.0, 1.0])})
    found = Average(0.5).trusted(OLD, NEW, trust, distrust)
    f, g = np.array([1.0, 0.0]) + FLOOR, np.array([1.0, 1.0]) + FLOOR
    assert found["w"] == pytest.approx((f * OLD["w"] + g * NEW["w"]) / (f + g))
    assert found["b"].tolist() == [0.5]  # No Fisher diagonal knows it.


def test_new_columns_of_a_head_stay() -> None:
    before, after = (LinearHead.of(np.full((2, 3), value), np.full(3, value), start=4) for value in (0.0, 1.0))
    block = Average(0.5).head(before, after, 2).blocks[0]
    assert block.kernel.tolist() == [[0.5, 0.5, 1.0]] * 2 and block.bias.tolist() == [0.5, 0.5, 1.0]
    assert block.start == 4 and block.origin == "trained"
