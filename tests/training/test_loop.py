import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extend.training.loop import Outcome, _guarded, train
from extend.training.state import Identity

PER_EPOCH = 7


def update(state: Any, fixed: Any, batch: Any) -> tuple[Any, jax.Array]:
    """Noisy gradient descent on a quadratic."""
    loss = ((state["w"] - fixed + batch) ** 2).sum()
    return {"w": state["w"] - 0.1 * (state["w"] - fixed + batch)}, loss


def batches(epoch: int, number: int) -> np.ndarray:
    return np.random.default_rng([epoch, number]).normal(size=3).astype(np.float32) * 0.1


def run(update: Callable[..., Any] = update, batches: Callable[..., Any] = batches, **options: Any) -> Outcome:
    options = {"epochs": 5, "per_epoch": PER_EPOCH, **options}
    return train(update, {"w": jnp.zeros(3)}, jnp.ones(3), batches, **options)


def test_it_descends_and_compiles_once() -> None:
    traced = []

    def counted(state: Any, fixed: Any, batch: Any) -> Any:
        traced.append(1)
        return update(state, fixed, batch)

    outcome = run(counted)
    assert len(traced) == 1 and outcome.steps == 5 * PER_EPOCH and outcome.stopped == ""
    assert np.allclose(outcome.state["w"], 1, atol=0.2)
    assert [entry["loss"] for entry in outcome.log] == sorted((e["loss"] for e in outcome.log), reverse=True)


def test_the_callers_state_is_not_donated() -> None:
    mine = {"w": jnp.zeros(3)}
    train(update, mine, jnp.ones(3), batches, 1, 2)
    assert np.array_equal(mine["w"], np.zeros(3))


def test_a_step_is_given_its_buffers_back() -> None:
    step = _guarded(update)
    tally = {"loss": jnp.zeros(()), "last": jnp.zeros(()), "bad": jnp.int32(-1), "step": jnp.int32(0)}
    earlier, state, fixed = {"w": jnp.zeros(3)}, {"w": jnp.zeros(3) + 1}, jnp.ones(3)
    step(earlier, state, tally, fixed, np.zeros(3, np.float32))
    assert earlier["w"].is_deleted() and state["w"].is_deleted() and not fixed.is_deleted()


@pytest.mark.parametrize("measured", [True, False])
def test_an_epochs_last_step_may_be_the_bad_one(measured: bool) -> None:
    def leap(state: Any, fixed: Any, batch: Any) -> tuple[Any, jax.Array]:
        new, loss = update(state, fixed, batch[:3])
        return {"w": jnp.where(batch[3] > 0, 1e30, new["w"])}, loss  # Finite, but no loss of it is.

    def measure(state: Any) -> Mapping[str, float]:
        assert (np.asarray(state["w"]) < 1e30).all()
        return {"score": 1.0}

    def far(at: int) -> Callable[[int, int], np.ndarray]:
        return lambda epoch, number: np.append(batches(epoch, number), np.float32(epoch * PER_EPOCH + number == at))

    last = 2 * PER_EPOCH - 1
    outcome = run(leap, far(last), measure=measure if measured else None, epochs=2 if not measured else 5)
    assert f"not finite at step {last + 2}" in outcome.stopped
    if measured:
        assert np.array_equal(outcome.state["w"], run(leap, far(99), epochs=1).state["w"])
        return
    good = run(leap, far(99), epochs=2)
    before, _ = update({"w": good.state["w"]}, jnp.ones(3), 0 * batches(0, 0))
    assert (np.abs(outcome.state["w"]) < 10).all() and np.allclose(outcome.state["w"], before["w"], atol=0.2)


def test_patience_needs_something_to_go_by() -> None:
    with pytest.raises(ValueError, match="there are none: leave it out"):
        run(patience=2)


def test_a_step_that_is_not_finite_is_not_taken() -> None:
    def broken(epoch: int, number: int) -> np.ndarray:
        return np.full(3, np.nan, np.float32) if (epoch, number) == (1, 3) else batches(epoch, number)

    outcome = run(batches=broken)
    good = run(epochs=1)
    for number in range(2):
        good_state, _ = update(good.state, jnp.ones(3), batches(1, number))
        good = Outcome(good_state, 0, "", ())
    assert f"not finite at step {PER_EPOCH + 4}" in outcome.stopped and outcome.steps == PER_EPOCH + 3
    assert np.allclose(outcome.state["w"], good.state["w"], atol=1e-6)
    with pytest.raises(ValueError, match=r"the first step's loss, .* is not finite: look at the inputs"):
        run(batches=lambda epoch, number: np.full(3, np.nan, np.float32))


@pytest.mark.parametrize("growth", [1.2, 2.0])
def test_a_training_that_diverges_gives_back_the_best_that_was_measured(growth: float) -> None:
    """It grows by so much a step, until float32 ends: in its fifteenth epoch, or in the fourth."""

    def away(state: Any, fixed: Any, batch: Any) -> tuple[Any, jax.Array]:
        return {"w": state["w"] * growth}, (state["w"] ** 2).sum()

    def measure(state: Any) -> Mapping[str, float]:
        return {"score": -float(np.abs(state["w"]).sum())}

    outcome = train(away, {"w": jnp.full(3, 1e-3)}, None, batches, 50, 20, measure=measure)
    assert "the best state of the epochs before was kept" in outcome.stopped
    assert np.allclose(outcome.state["w"], 1e-3 * growth**20) and outcome.log[0]["score"] == max(
        entry["score"] for entry in outcome.log
    )
    soon = train(away, {"w": jnp.full(3, 1e10)}, None, batches, 2, 300, measure=measure)
    assert "the state before the training was kept" in soon.stopped and np.allclose(soon.state["w"], 1e10)


def test_a_first_step_that_leaves_nothing_finite_is_said_to_be_one() -> None:
    def leap(state: Any, fixed: Any, batch: Any) -> tuple[Any, jax.Array]:
        return {"w": state["w"] * jnp.inf}, (state["w"] ** 2).sum()

    with pytest.raises(ValueError, match="or lower the learning rate"):
        train(leap, {"w": jnp.ones(3)}, None, batches, 1, 5)


def test_patience_ends_it_with_the_best_state() -> None:
    scores = iter([0.1, 0.9, 0.5, 0.4, 0.8])
    seen = []

    def measure(state: Any) -> Mapping[str, float]:
        seen.append(np.asarray(state["w"]).copy())
        return {"score": next(scores)}

    outcome = run(measure=measure, patience=2)
    assert "no better for 2 epochs" in outcome.stopped and len(outcome.log) == 4
    assert np.array_equal(outcome.state["w"], seen[1])


def interrupt_after(steps: int, which: int) -> Callable[[int, int], np.ndarray]:
    def made(epoch: int, number: int) -> np.ndarray:
        if epoch * PER_EPOCH + number == steps:
            os.kill(os.getpid(), which)
        return batches(epoch, number)

    return made


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path: Path, which: int) -> None:
    whole = run()
    part = run(batches=interrupt_after(17, which), folder=tmp_path / "state", identity=Identity("x"))
    assert part.stopped.startswith("interrupted at step") and 0 < part.steps < 5 * PER_EPOCH
    assert signal.getsignal(which) in (signal.default_int_handler, signal.SIG_DFL)
    rest = run(folder=tmp_path / "state", identity=Identity("x"))
    assert rest.steps == whole.steps and np.array_equal(rest.state["w"], whole.state["w"])
    assert rest.log == whole.log
    again = run(folder=tmp_path / "state", identity=Identity("x"))
    assert np.array_equal(again.state["w"], whole.state["w"])
    with pytest.raises(ValueError, match="the state of another training"):
        run(folder=tmp_path / "state", identity=Identity("y"))


def test_interrupted_after_an_epochs_last_step_it_goes_on_from_there(tmp_path: Path) -> None:
    def at_the_end(epoch: int, number: int) -> np.ndarray:
        # The third epoch's last batch is made a second time, to try the state on it.
        made.append((epoch, number))
        if made.count((2, PER_EPOCH - 1)) == 2 and made[-1] == (2, PER_EPOCH - 1):
            os.kill(os.getpid(), signal.SIGINT)
        return batches(epoch, number)

    made: list[tuple[int, int]] = []
    options: dict[str, Any] = {"measure": lambda state: {"score": float(state["w"].sum())}, "identity": Identity("x")}
    whole = run(**options)
    part = run(batches=at_the_end, folder=tmp_path / "state", **options)
    assert part.stopped.startswith(f"interrupted at step {3 * PER_EPOCH}")
    made = [(2, PER_EPOCH - 1)] * 2
    rest = run(batches=at_the_end, folder=tmp_path / "state", **options)
    assert rest.steps == whole.steps and np.array_equal(rest.state["w"], whole.state["w"]) and rest.log == whole.log
    assert made[2] == (2, PER_EPOCH - 1) and (2, 0) not in made


def test_interrupted_it_keeps_the_best_so_far() -> None:
    seen = []

    def measure(state: Any) -> Mapping[str, float]:
        seen.append(np.asarray(state["w"]).copy())
        return {"score": -float(len(seen)), "old": 0.5}

    outcome = run(batches=interrupt_after(3 * PER_EPOCH + 2, signal.SIGINT), measure=measure)
    assert "interrupted" in outcome.stopped and np.array_equal(outcome.state["w"], seen[0])


def test_each_epoch_is_reported_with_its_summary_and_a_training_says_where_it_goes_on(tmp_path: Path) -> None:
    told: list[str] = []
    options: dict[str, Any] = {"folder": tmp_path / "state", "summary": lambda state: {"first": float(state["w"][0])}}
    part = run(batches=interrupt_after(2 * PER_EPOCH + 3, signal.SIGINT), report=told.append, **options)
    assert part.end == "interrupted" and [text.partition(",")[0][:15] for text in told] == [
        "epoch 1/5: loss",
        "epoch 2/5: loss",
    ]
    rest = run(report=told.append, **options)
    assert told[2].startswith("continuing after epoch 2, step ") and len(told) == 6
    assert told[-1] == f"epoch 5/5: loss {rest.log[-1]['loss']:.4f}, first {float(rest.state['w'][0]):.4f}"
    assert rest.end == "finished"


def test_batches_of_another_shape_are_compiled_anew() -> None:
    traced = []

    def counted(state: Any, fixed: Any, batch: Any) -> Any:
        traced.append(batch.shape)
        return update(state, fixed, batch.mean(axis=0))

    outcome = run(counted, lambda epoch, number: np.stack([batches(epoch, number)] * (1 + epoch // 3)))
    assert traced == [(1, 3), (2, 3)] and np.array_equal(outcome.state["w"], run().state["w"])


def test_the_bar_is_told_the_loss() -> None:
    class Bar:
        def __init__(self, numbers: Any, total: int) -> None:
            self.numbers, self.total, self.texts = numbers, total, []

        def __iter__(self) -> Any:
            return iter(self.numbers)

        def set_postfix_str(self, text: str, refresh: bool = True) -> None:
            self.texts.append(text)

    bars: list[Bar] = []

    def progress(numbers: Any, total: int) -> Any:
        bars.append(Bar(numbers, total))
        return bars[-1]

    run(progress=progress, per_epoch=25, measure=lambda state: {"score": 1.0, "old": 0.75})
    assert len(bars) == 5 and bars[0].total == 25
    assert bars[1].texts[0] == "epoch 2/5, old 75.0%"
    assert "epoch 2/5 loss" in bars[1].texts[1] and "old 75.0%" in bars[1].texts[1]
