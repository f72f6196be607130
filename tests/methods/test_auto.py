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
    assert "the best of" in choice.reason


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
    memory = Memory.of(Features(X, Y, CLASSES, KEYS), max_held_out=0, max_rows=0)
    choice = Auto().choose(memory)
    assert choice.method == LDA() and "nothing of 'a' is there" in choice.reason


def test_few_samples_are_judged_by_leaving_each_out() -> None:
    """A class of 6 beside classes of 200: plain ridge, which would lose it, is not tried."""
    rows = np.concatenate([np.flatnonzero(Y < 2), np.flatnonzero(Y == 2)[:6]])
    memory = Memory.of(Features(X[rows], Y[rows], CLASSES, KEYS[rows]))
    choice = Auto().choose(memory)
    tried = [score.method for score in choice.scores]
    assert Ridge(balanced=True) in tried and Ridge() not in tried and Gaussian() not in tried
    assert (choice.head.scores(X[Y == 2]).argmax(axis=1) == 2).mean() > 0.8


def test_a_pooled_memory_leaves_out_what_needs_a_scatter_a_class() -> None:
    choice = Auto().choose(Memory.of(Features(X, Y, CLASSES, KEYS), scatter="pooled"))
    tried = [score.method for score in choice.scores]
    assert tried[:-1] == [LDA(), Ridge(), NearestMean(), NearestMean("cosine")] and tried[-1].name == "logistic"


@pytest.mark.parametrize("n", [9, 10, 15, 20, 30])
def test_a_class_of_a_few_samples_is_kept(n: int) -> None:
    """Beside large classes, whichever of its samples are held out: as many are found again as LDA finds."""
    rng = np.random.default_rng(0)
    centre, mix = rng.normal(size=(10, 64)) * 0.45, rng.normal(size=(64, 128)) / 8

    def draw(label: int, count: int) -> np.ndarray:
        return np.maximum((rng.normal(size=(count, 64)) + centre[label]) @ mix, 0).astype(np.float32)

    old = np.concatenate([draw(label, 300) for label in range(9)])
    clf = extend.wrap(lambda x: x, list("abcdefghi"), (old, np.repeat(np.arange(9), 300)), scatter="pooled")
    fresh, test = draw(9, 400), draw(9, 200)
    keys = data.read({"j": fresh}, spec(128)).keys
    for few in (fresh[keys >= np.uint64(0.1 * 2.0**64)][:n], fresh[np.argsort(keys)][:n]):
        found = {
            method: extend.add_classes(clf, {"j": few}, method=method)[0].predict(test) == "j"
            for method in ("auto", "lda")
        }
        assert found["auto"].mean() >= found["lda"].mean() - 0.05 > 0.5


def test_without_a_memory_it_imprints() -> None:
    bare = extend.wrap(MLP(2, inputs=4, rngs=nnx.Rngs(0)), ["a", "b"], inputs=spec(4))
    got = Auto().extend(bare, data.read({"c": X[Y == 2]}, spec(4)))
    assert got.method == "imprint" and got.head.num_classes == 3 and "no memory to choose by" in got.reason
    with pytest.raises(ValueError, match="auto needs a memory"):
        Auto().solve(Increment.of(bare, data.read({"c": X[Y == 2]}, spec(4))), 0)
