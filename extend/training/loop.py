"""A training loop: one compiled step with donated buffers, batches made ahead, stopped and resumed without loss.

When a loss is not finite, training ends with the best state that was measured, or without a measure with the last one
whose loss was finite; a state that is to be measured or returned is tried on one more batch. Ctrl-C or SIGTERM ends the
loop after the present step; what was best so far is returned.
With a folder to keep its state in, training goes on from there, bit for bit on a CPU.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from extend.core import checkpoint
from extend.core.errors import ArgumentError
from extend.data import Progress, shown
from extend.training import state as resuming
from extend.training.state import Identity

Update = Callable[[Any, Any, Any], tuple[Any, jax.Array]]
Batches = Callable[[int, int], Any]
Measure = Callable[[Any], Mapping[str, float]]
EVERY = 10
"""Steps between two looks at the loss, which is then that of a step long done: nothing waits for it."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Args:
        state: the best one by the measured score, where one was asked for or the training was interrupted or diverged
            (before the first was measured, the one that it began with); else the last whose loss was finite.
        steps: taken in all, those of resumed trainings included.
        stopped: why it ended early, in words; "" if it did not.
        log: one entry an epoch: the mean loss and what was measured.
    """

    state: Any
    steps: int
    stopped: str
    log: tuple[Mapping[str, float], ...]


def train(
    update: Update,
    state: Any,
    fixed: Any,
    batches: Batches,
    epochs: int,
    per_epoch: int,
    *,
    measure: Measure | None = None,
    patience: int | None = None,
    folder: Path | None = None,
    identity: Identity = Identity(),
    progress: Progress | None = None,
) -> Outcome:
    """Run ``update(state, fixed, batch) -> (state, loss)`` for some epochs.

    Args:
        state: a tree of arrays; its buffers are donated. `fixed`: what no step changes.
        batches: ``(epoch, number) -> batch``; of one shape, and a function of these two numbers alone.
        measure: at the end of an epoch, ``state -> {"score": ..., ...}``; the higher the better.
        patience: end when the score has not risen for so many epochs, and return the best state; None: the last state.
        folder: where the state is kept after every epoch and when interrupted; training goes on from it.
        identity: of this training; a folder with the state of another one is refused.
        progress: wraps an epoch's steps (`total` given); loss and measured values are shown if it has
            ``set_postfix_str``, as tqdm's bars have.

    Raises:
        ValueError: the first step is not finite already, `folder` holds the state of another training, or `patience`
            has nothing to go by.
    """
    if patience is not None and measure is None:
        raise ArgumentError(
            "patience ends a training by the accuracy on held-out samples, and there are none: leave it out, or hold "
            "samples out"
        )
    step = _compiled(update)
    tally = {
        "loss": jnp.zeros(()),
        "last": jnp.zeros(()),
        "bad": jnp.full((), -1, jnp.int32),
        "step": jnp.zeros((), jnp.int32),
    }
    state = jax.tree.map(jnp.array, state)  # A copy: the caller's arrays are not donated.
    earlier = jax.tree.map(jnp.copy, state)
    best = jax.tree.map(jnp.copy, state)
    best_score, since = -np.inf, 0
    log: list[Mapping[str, float]] = []
    first, begun = 0, 0
    if folder is not None and checkpoint.is_ours(folder):
        saved = resuming.load(folder, identity, {"now": (earlier, state, tally), "best": best})
        (earlier, state, tally), best = saved.arrays["now"], saved.arrays["best"]
        first, begun, best_score, since = saved.epoch, saved.number, saved.score, saved.since
        log = list(saved.log)
    stopped, diverged = "", False

    def keep(epoch: int, number: int) -> None:
        if folder is not None:
            arrays = {"now": (earlier, state, tally), "best": best}
            resuming.save(folder, identity, resuming.Saved(arrays, epoch, number, best_score, since, log))

    with _interruptible() as interrupted:
        for epoch in range(first, epochs):
            if patience is not None and since >= patience:
                break
            numbers: Iterable[int] = range(begun, per_epoch)
            bar: Any = shown(numbers, per_epoch - begun, progress)
            older, done = tally, begun
            _show(bar, f"epoch {epoch + 1}/{epochs}" + _words(log))
            for number, batch in zip(bar, _ahead(batches, epoch, range(begun, per_epoch)), strict=True):
                earlier, state, tally = step(earlier, state, tally, fixed, batch)
                done = number + 1
                if number % EVERY == EVERY - 1:
                    _show(bar, f"epoch {epoch + 1}/{epochs} loss {float(older['last']):.3f}" + _words(log))
                    if int(older["bad"]) >= 0:
                        break
                    older = tally
                if interrupted:
                    break
            bad = int(tally["bad"])
            if bad < 0 and (measure is not None or interrupted or epoch == epochs - 1):
                # The loss of the state after the last step is not known yet.
                last = jax.device_put(batches(epoch, per_epoch - 1))
                state, _, tried = step(earlier, state, tally, fixed, last)
                earlier, bad = jax.tree.map(jnp.copy, state), int(tried["bad"])
            if bad >= 0:
                if bad == 0:
                    raise ArgumentError(
                        "the first step's loss, or what it makes of the parameters, is not finite: look at the inputs "
                        "and their scale, or lower the learning rate"
                    )
                diverged = measure is not None
                kept = "last state with a finite loss" if measure is None else _best_in_words(best_score)
                stopped = f"the loss was not finite at step {bad + 1}: the {kept} was kept; lower the learning rate"
                break
            if interrupted:
                keep(epoch, done)
                stopped = f"interrupted at step {int(tally['step'])} of {epochs * per_epoch}"
                break
            entry = {"loss": float(tally["loss"]) / per_epoch}
            tally = {**tally, "loss": jnp.zeros(())}
            begun = 0
            if measure is not None:
                entry |= measure(state)
                since += 1
                if entry["score"] > best_score:
                    best, best_score, since = jax.tree.map(jnp.copy, state), entry["score"], 0
            log.append(entry)
            keep(epoch + 1, 0)
            if interrupted:  # While the epoch was measured.
                stopped = f"interrupted at step {int(tally['step'])} of {epochs * per_epoch}"
                break
    if not stopped and patience is not None and since >= patience:
        stopped = f"no better for {patience} epochs"
    better = best_score > -np.inf and (patience is not None or bool(interrupted))
    return Outcome(best if better or diverged else state, int(tally["step"]), stopped, tuple(log))


def _compiled(update: Update) -> Callable[..., tuple[Any, Any, Any]]:
    def guarded(earlier: Any, state: Any, tally: Any, fixed: Any, batch: Any) -> tuple[Any, Any, Any]:
        new, loss = update(state, fixed, batch)
        floats = [leaf for leaf in jax.tree.leaves(new) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        fine = jnp.isfinite(loss) & jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()
        go = fine & (tally["bad"] < 0)
        # The last state whose loss was finite is the earlier one: `state` may be finite and yet of no use.
        new = jax.tree.map(lambda a, b: jnp.where(go, a, b), new, earlier)
        state = jax.tree.map(lambda a, b: jnp.where(go, a, b), state, earlier)
        return (
            state,
            new,
            {
                "loss": tally["loss"] + jnp.where(go, loss, 0),
                "last": loss.astype(jnp.float32),
                "bad": jnp.where((tally["bad"] < 0) & ~fine, tally["step"], tally["bad"]),
                "step": tally["step"] + go,
            },
        )

    return jax.jit(guarded, donate_argnums=(0, 1))


def _ahead(batches: Batches, epoch: int, numbers: range) -> Iterator[Any]:
    """Batches on the device, two of them made ahead by a thread."""

    def batch(number: int) -> Any:
        return jax.device_put(batches(epoch, number))

    with ThreadPoolExecutor(1) as maker:
        waiting = [maker.submit(batch, number) for number in numbers[:2]]
        for number in numbers:
            made = waiting.pop(0).result()
            if number + 2 < numbers.stop:
                waiting.append(maker.submit(batch, number + 2))
            yield made


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that holds the signal after Ctrl-C or SIGTERM; a second one has its usual effect. Main thread only."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: Any) -> None:
        came.append(number)
        for which, handler in usual.items():
            signal.signal(which, handler)

    for number in usual:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _best_in_words(score: float) -> str:
    return "best state of the epochs before" if score > -np.inf else "state before the training"


def _show(bar: Any, text: str) -> None:
    if hasattr(bar, "set_postfix_str"):
        bar.set_postfix_str(text, refresh=False)


def _words(log: list[Any]) -> str:
    return (
        "".join(f", {name} {value:.1%}" for name, value in log[-1].items() if name not in ("loss", "score"))
        if log
        else ""
    )
