"""The training loop: one compiled step with donated buffers, batches made ahead, stopped and resumed without loss.

The loop ends when a loss is not finite. It then returns the best state that was measured, or without a measure the last
state whose loss was finite. A state's own loss is known only after one more step, so a state that is to be measured or
returned is first tried on one more batch.

Ctrl-C or SIGTERM ends the loop after the present step; the best state so far is returned. With a folder to keep its
state in, a training goes on from there, bit for bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from extend.core import checkpoint
from extend.core.errors import ArgumentError
from extend.data import Progress, shown
from extend.training import state as states
from extend.training.interruption import interruptible
from extend.training.state import Identity, Saved

Update = Callable[[PyTree, PyTree, PyTree], tuple[PyTree, Float[Array, ""]]]
"""``(state, fixed, batch) -> (state, loss)``."""
Batches = Callable[[int, int], PyTree]
"""``(epoch, number) -> batch``."""
Numbers = Callable[[PyTree], Mapping[str, float]]
"""``state -> {name: number}``."""
End = Literal["finished", "patience", "diverged", "interrupted"]
EVERY = 10
"""Steps between two looks at the loss, which is then that of a step long done: nothing waits for it."""


@dataclass(frozen=True)
class Outcome:
    """What a training came to.

    Parameters
    ----------
    state
        The best state by the measured score, if `patience` asked for it, or if the training was interrupted or
        diverged; before the first score, the state that a diverged training began with. Otherwise the last state whose
        loss was finite.
    steps
        The number of steps taken, including those of the trainings that this one went on from.
    stopped
        Why the training ended early, in words; empty if it did not.
    log
        One entry for each epoch: the mean loss, the summary and what was measured.
    end
        How the training ended.
    """

    state: PyTree
    steps: int
    stopped: str
    log: tuple[Mapping[str, float], ...]
    end: End = "finished"


def train(
    update: Update,
    state: PyTree,
    fixed: PyTree,
    batches: Batches,
    epochs: int,
    per_epoch: int,
    *,
    measure: Numbers | None = None,
    summary: Numbers | None = None,
    patience: int | None = None,
    folder: Path | None = None,
    identity: Identity = Identity(),
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> Outcome:
    """Run ``update(state, fixed, batch) -> (state, loss)`` for some epochs.

    Parameters
    ----------
    state
        A tree of arrays that every step replaces. The loop works on a copy.
    fixed
        A tree of arrays that no step changes.
    batches
        Makes the batch of an epoch and a step, as a function of these two numbers alone. Another shape of batch is
        compiled anew.
    epochs, per_epoch
        The number of epochs, and the number of steps in each.
    measure
        Gives ``{"score": ..., ...}`` of a state at the end of an epoch; the higher the score the better.
    summary
        Gives numbers that are read off the state at the end of an epoch, such as the accuracy on its batches.
    patience
        End when the score has not risen for this number of epochs, and return the best state; None returns the last.
    folder
        Where the state is kept after every epoch and when interrupted. The training goes on from what lies there.
    identity
        Tells this training from others; a folder with the state of another one is refused.
    progress
        Wraps the steps of an epoch. It shows the loss and what was measured if it has ``set_postfix_str``, as the bars
        of tqdm have.
    report
        Is told one line for each epoch.

    Raises
    ------
    ArgumentError
        The first step is not finite already, `folder` holds the state of another training, or `patience` is given
        without `measure`.
    """
    if patience is not None and measure is None:
        raise ArgumentError(
            "patience ends a training by the accuracy on held-out samples, and there are none: leave it out, or hold "
            "samples out"
        )
    run = _Run(
        _guarded(update), fixed, batches, epochs, per_epoch, measure, summary, patience, folder, identity, progress,
        report, state=jax.tree.map(jnp.array, state),  # A copy: the caller's arrays are not donated.
    )  # fmt: skip
    run.resume()
    with interruptible() as interrupted:
        end, words = run.epochs_until_the_end(interrupted)
    return Outcome(run.chosen(end, bool(interrupted)), int(run.tally["step"]), words, tuple(run.log), end)


def _nothing_yet() -> dict[str, Array]:
    """The tally of a training before its first step; `bad` is the first step whose loss was not finite, or -1."""
    zero = jnp.zeros((), jnp.int32)
    return {"loss": jnp.zeros(()), "last": jnp.zeros(()), "bad": zero - 1, "step": zero}


@dataclass
class _Run:
    """A training under way: what it was given, and where it is."""

    step: Callable[..., tuple[PyTree, PyTree, dict[str, Array]]]
    fixed: PyTree
    batches: Batches
    epochs: int
    per_epoch: int
    measure: Numbers | None
    summary: Numbers | None
    patience: int | None
    folder: Path | None
    identity: Identity
    progress: Progress | None
    report: Callable[[str], None] | None
    state: PyTree
    earlier: PyTree = field(init=False)
    best: PyTree = field(init=False)
    tally: dict[str, Array] = field(default_factory=_nothing_yet)
    epoch: int = 0
    number: int = 0
    score: float = -np.inf
    since: int = 0
    log: list[Mapping[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.earlier, self.best = (jax.tree.map(jnp.copy, self.state) for _ in range(2))

    def epochs_until_the_end(self, interrupted: list[int]) -> tuple[End, str]:
        """Train; return how it ended, and that in words if it ended early."""
        while self.epoch < self.epochs and not self._out_of_patience:
            bad = self._steps(interrupted)
            if bad >= 0:
                return "diverged", self._diverged(bad)
            if not interrupted:
                self._close_epoch()
            self._keep()
            if interrupted:  # By now, or while the epoch was measured.
                return "interrupted", f"interrupted at step {int(self.tally['step'])} of {self.epochs * self.per_epoch}"
        return ("patience", f"no better for {self.patience} epochs") if self._out_of_patience else ("finished", "")

    def chosen(self, end: End, interrupted: bool) -> PyTree:
        """Return the state that the training gives."""
        if end == "diverged" and self.measure is not None:
            return self.best
        return self.best if self.score > -np.inf and (self.patience is not None or interrupted) else self.state

    @property
    def _out_of_patience(self) -> bool:
        return self.patience is not None and self.since >= self.patience

    def _steps(self, interrupted: list[int]) -> int:
        """Take the epoch's steps; return the first one whose loss was not finite, or -1."""
        numbers = range(self.number, self.per_epoch)
        bar = shown(numbers, len(numbers), self.progress, "training steps")
        title, older = f"epoch {self.epoch + 1}/{self.epochs}", self.tally
        _show(bar, title + _words(self.log))
        for number, batch in zip(bar, _ahead(self.batches, self.epoch, numbers), strict=True):
            self.earlier, self.state, self.tally = self.step(self.earlier, self.state, self.tally, self.fixed, batch)
            self.number = number + 1
            if number % EVERY == EVERY - 1:
                _show(bar, f"{title} loss {float(older['last']):.3f}" + _words(self.log))
                if int(older["bad"]) >= 0:
                    break
                older = self.tally
            if interrupted:
                break
        bad = int(self.tally["bad"])
        if bad < 0 and (self.measure is not None or interrupted or self.epoch == self.epochs - 1):
            bad = self._try_last()
        return bad

    def _try_last(self) -> int:
        """Try the state on the epoch's last batch, as the loss after the last step is not known; see `_steps`."""
        batch = jax.device_put(self.batches(self.epoch, self.per_epoch - 1))
        self.state, _, tried = self.step(self.earlier, self.state, self.tally, self.fixed, batch)
        self.earlier = jax.tree.map(jnp.copy, self.state)
        return int(tried["bad"])

    def _diverged(self, bad: int) -> str:
        if bad == 0:
            raise ArgumentError(
                "the first step's loss, or what it makes of the parameters, is not finite: look at the inputs "
                "and their scale, or lower the learning rate"
            )
        kept = "last state with a finite loss"
        if self.measure is not None:
            kept = "best state of the epochs before" if self.score > -np.inf else "state before the training"
        return f"the loss was not finite at step {bad + 1}: the {kept} was kept; lower the learning rate"

    def _close_epoch(self) -> None:
        """Measure, log and report the epoch, and go to the next."""
        entry: dict[str, float] = {"loss": float(self.tally["loss"]) / self.per_epoch}
        self.tally = {**self.tally, "loss": jnp.zeros(())}
        if self.summary is not None:
            entry |= self.summary(self.state)
        if self.measure is not None:
            entry |= self.measure(self.state)
            self.since += 1
            if entry["score"] > self.score:
                self.best, self.score, self.since = jax.tree.map(jnp.copy, self.state), entry["score"], 0
        self.log.append(entry)
        self.epoch, self.number = self.epoch + 1, 0
        if self.report is not None:
            told = ", ".join(f"{name} {value:.4f}" for name, value in entry.items() if name != "score")
            self.report(f"epoch {self.epoch}/{self.epochs}: {told}")

    def _arrays(self) -> dict[str, PyTree]:
        return {"now": (self.earlier, self.state, self.tally), "best": self.best}

    def _keep(self) -> None:
        if self.folder is not None:
            now = Saved(self._arrays(), self.epoch, self.number, self.score, self.since, self.log)
            states.save(self.folder, self.identity, now)

    def resume(self) -> None:
        """Go on from what lies in the folder, if there is something."""
        if self.folder is None or not checkpoint.is_ours(self.folder):
            return
        saved = states.load(self.folder, self.identity, self._arrays())
        (self.earlier, self.state, self.tally), self.best = saved.arrays["now"], saved.arrays["best"]
        self.epoch, self.number, self.score, self.since = saved.epoch, saved.number, saved.score, saved.since
        self.log = list(saved.log)
        if self.report is not None:
            self.report(f"continuing after epoch {self.epoch}" + (f", step {self.number}" if self.number else ""))


def _guarded(update: Update) -> Callable[..., tuple[PyTree, PyTree, dict[str, Array]]]:
    """Compile ``(earlier, state, tally, fixed, batch) -> (state, new state, tally)``; a bad step is not taken."""

    def guarded(
        earlier: PyTree, state: PyTree, tally: dict[str, Array], fixed: PyTree, batch: PyTree
    ) -> tuple[PyTree, PyTree, dict[str, Array]]:
        new, loss = update(state, fixed, batch)
        floats = [leaf for leaf in jax.tree.leaves(new) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        fine = jnp.isfinite(loss) & jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()
        go = fine & (tally["bad"] < 0)
        # The last state whose loss was finite is the earlier one: `state` may be finite and yet of no use.
        state, new = _either(go, (state, new), (earlier, earlier))
        known = {
            "loss": tally["loss"] + jnp.where(go, loss, 0),
            "last": loss.astype(jnp.float32),
            "bad": jnp.where((tally["bad"] < 0) & ~fine, tally["step"], tally["bad"]),
            "step": tally["step"] + go,
        }
        return state, new, known

    return jax.jit(guarded, donate_argnums=(0, 1))


def _either(go: Bool[Array, ""], one: PyTree, other: PyTree) -> PyTree:
    """Return one tree or the other.

    On a CPU a branch compiles in a third of the time of a selection for each of a hundred arrays; on other devices the
    host would wait for the decision.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.cond(go, lambda: one, lambda: other)
    return jax.tree.map(lambda a, b: jnp.where(go, a, b), one, other)


def _ahead(batches: Batches, epoch: int, numbers: range) -> Iterator[PyTree]:
    """Give the batches on the device, two of them made ahead by a thread."""

    def batch(number: int) -> PyTree:
        return jax.device_put(batches(epoch, number))

    with ThreadPoolExecutor(1) as maker:
        waiting = [maker.submit(batch, number) for number in numbers[:2]]
        for number in numbers:
            made = waiting.pop(0).result()
            if number + 2 < numbers.stop:
                waiting.append(maker.submit(batch, number + 2))
            yield made


def _show(bar: Iterable[int], text: str) -> None:
    """Show the text beside a bar that can; any other iterable has nothing to show it with."""
    if (show := getattr(bar, "set_postfix_str", None)) is not None:
        show(text, refresh=False)


def _words(log: list[Mapping[str, float]]) -> str:
    """What the last epoch measured, for a bar."""
    if not log:
        return ""
    return "".join(f", {name} {value:.1%}" for name, value in log[-1].items() if name not in ("loss", "score"))
