"""Nothing is compiled again because a class was added."""

import jax
import numpy as np
import pytest

import extend
from tests.conftest import blobs, names


@pytest.fixture
def compiled() -> list[str]:
    """What XLA compiles, as it does."""
    events: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return events


@pytest.mark.parametrize("method", ["auto", "lda", "logistic", "blend"])
@pytest.mark.parametrize("size", [5, 40])
def test_ten_additions_compile_nothing_after_the_first_two(compiled: list[str], method: str, size: int) -> None:
    x, y = blobs(16, size, 6, spread=1.0)
    clf = extend.wrap(lambda x: x, names(4), (x[y < 4], y[y < 4]))
    after = []
    for label in range(4, 16):
        clf, report = extend.add_classes(clf, {f"new {label}": x[y == label]}, method=method)
        predicted, probabilities = clf.predict(x[:3]), clf.predict_proba(x[:3])
        assert len(predicted) == 3 and probabilities.shape == (3, label + 1) and report.new is not None
        after.append(len(compiled))
    assert after[1:] == [after[1]] * 11


def test_the_listener_hears_a_compilation(compiled: list[str]) -> None:
    jax.jit(lambda a: a * 3 + len(compiled))(np.arange(7.0))
    assert compiled
