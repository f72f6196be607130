"""The rule by which auto chooses."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

import extend
from extend import data
from extend.data import Features
from extend.heads import LinearHead
from extend.memory import Memory
from extend.methods import LDA, Auto, ClosedForm, Gaussian, NearestMean, Ridge
from extend.methods.increment import Increment
from extend.models import MLP
from tests.conftest import blobs, spec

X, Y = blobs(3, 200, 4, spread=1.0)
CLASSES = ("a", "b", "c")
KEYS = np.random.default_rng(0).integers(0, 2**64, len(Y), dtype=np.uint64)
MEMORY = Memory.of(Features(X, Y, CLASSES, KEYS))


@dataclass(frozen=True)
class Fixed(ClosedForm):
    """A method that gives one head."""

    kernel: tuple[tuple[float, ...], ...]
    name: ClassVar[str] = "fixed"

    def fit(self, memory: Memory) -> LinearHead:
        return LinearHead.of(np.asarray(self.kernel), np.zeros(3))


CONSTANT = Fixed(tuple((0.0, 0.0, 0.0) for _ in range(4)))


def test_it_takes_the_accurate_one_and_tells_the_scores() -> None:
    choice = Auto((CONSTANT, LDA())).choose(MEMORY)
    assert choice.method == LDA() and choice.scores[1].accuracy > choice.scores[0].accuracy
    assert choice.scores[0].accuracy == pytest.approx(1 / 3)  # Averaged over classes, whatever their sizes.
    assert choice.scores[0].log_loss == pytest.approx(np.log(3))
    assert "within one standard error" in choice.reason


def test_among_equals_the_lowest_log_loss_then_the_order() -> None:
    rotated = LDA(shrinkage=0.99)
    choice = Auto((rotated, LDA())).choose(MEMORY)
    losses = {score.method: score.log_loss for score in choice.scores}
    accuracies = {score.method: score.accuracy for score in choice.scores}
    if accuracies[rotated] == accuracies[LDA()]:
        assert choice.method == min(losses, key=lambda method: losses[method])
    tied = Auto((LDA(0.5), LDA(0.5, "uniform"))).choose(MEMORY)
    assert tied.method is tied.scores[0].method


def test_the_head_is_at_the_temperature_of_lowest_log_loss() -> None:
    head = Auto((NearestMean(),)).fit(MEMORY)
    rows, labels = (part[MEMORY.choosing] for part in MEMORY.held_out)

    def loss(factor: float) -> float:
        scores = np.asarray(head.logits(rows), np.float64) / factor
        scores -= scores.max(axis=1, keepdims=True)
        doubt = 1 / (len(labels) + 2)
        target = np.where(np.eye(3, dtype=bool)[labels], 1 - doubt, doubt / 2)
        errors = np.log(np.exp(scores).sum(axis=1)) - (target * scores).sum(axis=1)
        return float(np.mean([errors[labels == c].mean() for c in range(3)]))

    assert loss(1.0) < min(loss(0.7), loss(1.4))


def test_held_out_rows_that_are_all_right_do_not_ask_for_certainty() -> None:
    x, y = blobs(3, 200, 4, spread=0.01)
    head = Auto().fit(Memory.of(Features(x, y, CLASSES, KEYS)))
    assert softmax(head.scores(x), axis=1).max() < 1 - 1e-5


def test_without_held_out_rows_the_order_decides() -> None:
    memory = Memory.of(Features(X, Y, CLASSES, np.arange(len(Y), dtype=np.uint64) + np.uint64(2**63)))
    choice = Auto().choose(memory)
    assert choice.method == LDA() and "nothing of 'a' is there" in choice.reason


def test_few_samples_are_judged_by_leaving_each_out() -> None:
    """A class of 6: without it in the scores, plain ridge would lose it unseen."""
    rows = np.concatenate([np.flatnonzero(Y < 2), np.flatnonzero(Y == 2)[:6]])
    memory = Memory.of(Features(X[rows], Y[rows], CLASSES, KEYS[rows]))
    choice = Auto().choose(memory)
    plain = {str(score.method): score.accuracy for score in choice.scores}
    assert plain[str(Ridge())] < plain[str(Ridge(balanced=True))] and str(Gaussian()) not in plain
    assert (choice.head.scores(X[Y == 2]).argmax(axis=1) == 2).mean() > 0.8


def test_a_pooled_memory_leaves_out_what_needs_a_scatter_a_class() -> None:
    choice = Auto().choose(Memory.of(Features(X, Y, CLASSES, KEYS), scatter="pooled"))
    assert [score.method for score in choice.scores] == [LDA(), Ridge(), NearestMean(), NearestMean("cosine")]


def test_without_a_memory_it_imprints() -> None:
    bare = extend.wrap(MLP(2, inputs=4, rngs=nnx.Rngs(0)), ["a", "b"], inputs=spec(4))
    got = Auto().extend(bare, data.read({"c": X[Y == 2]}, spec(4)))
    assert got.method == "imprint" and got.head.num_classes == 3 and "no memory to choose by" in got.reason
    with pytest.raises(ValueError, match="auto needs a memory"):
        Auto().solve(Increment.of(bare, data.read({"c": X[Y == 2]}, spec(4))), 0)
