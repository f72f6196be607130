import numpy as np

from extend.memory import Fisher


def test_sums_add() -> None:
    one, two = Fisher(1, {"a": np.ones(2, np.float32)}), Fisher(3, {"a": np.ones(2, np.float32)})
    assert (one + two).mean()["a"].tolist() == [0.5, 0.5]
