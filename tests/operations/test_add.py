"""Adding classes."""

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from flax import nnx
from PIL import Image as Picture
from tqdm import tqdm

import extend
from extend.classifier import Classifier
from extend.methods import NAMED, NearestMean, NewUnits, OnFeatures
from extend.models import MLP
from tests.conftest import blobs, names, spec

METHODS = [
    name for name in NAMED if name not in ("new_units", "fine_tune", "joint")
]  # The last two train the backbone.


@pytest.mark.parametrize("method", [*METHODS, "new_units"])
@pytest.mark.parametrize("which", ["plain", "network"])
def test_every_method_learns_and_remembers(
    method: str, which: str, fourth: np.ndarray, request: pytest.FixtureRequest
) -> None:
    clf: Classifier = request.getfixturevalue(which)
    x, y = blobs(4, 40, 5)
    wider, report = extend.add_classes(clf, {"new": fourth}, method=method, validation=(x + 1e-3, y))
    assert wider.classes == (*clf.classes, "new")
    assert report.measured_on == "validation samples" and report.n_measured == 160
    assert report.new is not None and report.new > (0.4 if method == "imprint" else 0.95)
    assert report.forgetting is not None and report.forgetting < 0.1
    assert report.overall is not None and report.overall > (0.85 if which == "plain" else 0.55)


def test_the_report_is_measured_on_held_out_features(plain: Classifier, fourth: np.ndarray) -> None:
    wider, report = extend.add_classes(plain, {"new": fourth})
    assert report.measured_on == "held-out features (seen by the backbone: optimistic, no guarantee)"
    assert wider.memory is not None and report.n_measured == len(wider.memory.held_out[0])
    rows, labels = wider.memory.held_out
    predicted = np.asarray(wider.head.logits(rows)).argmax(axis=1)
    assert report.overall == pytest.approx((predicted == labels).mean())
    assert report.old_after == pytest.approx((predicted == labels)[labels < 3].mean())
    assert report.to_dict()["method"] in NAMED and "chosen" in report.reason
    assert [event.action for event in wider.history] == ["wrap", "add"]


def test_forgetting_since_each_class_was_learnt(plain: Classifier, fourth: np.ndarray) -> None:
    one, _ = extend.add_classes(plain, {"new": fourth}, method="lda")
    rng = np.random.default_rng(1)
    close = plain.memory.statistics.mean[0] + rng.normal(size=(40, 5)) * 0.6
    two, report = extend.add_classes(one, {"rival": close}, method="lda")
    assert two.memory is not None and report.forgetting_since_learnt is not None
    rows, labels = two.memory.held_out
    right = np.asarray(two.head.logits(rows)).argmax(axis=1) == labels
    learnt = one.recipe.learnt
    then = np.mean([learnt[two.classes[label]] for label in labels[labels < 4]])
    assert report.forgetting_since_learnt == pytest.approx(then - right[labels < 4].mean())
    assert report.forgetting_since_learnt > 0.05


def test_a_class_that_exists(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match=r"class 'class 1' already exists; pass on_existing=\"update\" .* to add these 40"
    ):
        extend.add_classes(plain, {"class 1": fourth})
    with pytest.raises(ValueError, match="on_existing is 'skip'"):
        extend.add_classes(plain, {"x": fourth}, on_existing="skip")
    before = plain.memory.total[1]
    updated, report = extend.add_classes(plain, {"class 1": fourth}, on_existing="update", method="lda")
    assert updated.classes == plain.classes and report.action == "update"
    assert updated.memory is not None and updated.memory.total[1] == before + 40


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"d": np.zeros((0, 5))}, "no samples given"),
        ({}, "no classes given"),
        ({"d": np.full((2, 5), np.nan)}, "2 samples hold NaN or infinity"),
        ({"d": np.zeros((2, 4))}, r"shape \[2, 4\] given; expected \[n, 5\]"),
        ({"d": np.array([["a"] * 5])}, "expected float32"),
        ((np.zeros((2, 5)), [0, 1]), "integer labels without names"),
    ],
)
def test_bad_samples_leave_everything_as_it_was(plain: Classifier, new: object, message: str) -> None:
    x, _ = blobs(4, 40, 5)
    before = plain.decision_function(x)
    with pytest.raises(ValueError, match=message):
        extend.add_classes(plain, new)
    assert np.array_equal(plain.decision_function(x), before) and len(plain.history) == 1


def test_one_sample_is_enough_with_a_warning(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="class 'one' has one sample: its own spread is not known"):
        wider, _ = extend.add_classes(plain, {"one": fourth[:1]})
    assert (wider.predict(fourth) == "one").mean() > 0.9


def test_unknown_classes(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="old= holds class 'cow'"):
        extend.add_classes(plain, {"d": fourth}, old={"cow": fourth})
    with pytest.raises(ValueError, match="validation= holds class 'cow'"):
        extend.add_classes(plain, {"d": fourth}, validation={"cow": fourth})


def test_real_old_samples_make_a_memory(fourth: np.ndarray) -> None:
    x, y = blobs(4, 40, 5)

    clf = extend.wrap(MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0)), names(3), inputs=spec(5))
    wider, report = extend.add_classes(clf, {"new": fourth}, old=(x[y < 3], y[y < 3]), method="lda")
    assert wider.memory is not None and wider.memory.total.tolist() == [40] * 4
    assert "optimistic" in report.measured_on
    with pytest.raises(ValueError, match="old= has no samples of class 'class 2'"):
        extend.add_classes(clf, {"new": fourth}, old=(x[y < 2], y[y < 2]))


@pytest.mark.filterwarnings("ignore::extend.methods.ForgettingWarning")
def test_without_a_memory_only_new_units_alone_work(network: Classifier, fourth: np.ndarray) -> None:
    bare = Classifier(network.backbone, network.head, network.classes)
    wider, report = extend.add_classes(bare, {"new": fourth}, method=NewUnits(old="absent"))
    assert wider.memory is None and report.overall is None and report.measured_on == "nothing"
    assert "nothing to measure on" in str(report)


def test_a_checkpoint_path_and_a_folder_of_images(tmp_path: Path) -> None:

    from extend.models import ResNet

    rng = np.random.default_rng(0)
    for name, level in (("a", 40), ("b", 120), ("c", 200)):
        (tmp_path / "old" / name if name != "c" else tmp_path / "new" / name).mkdir(parents=True)
        for i in range(12):
            pixels = (level + rng.integers(-30, 30, (10, 10, 3))).astype(np.uint8)
            Picture.fromarray(pixels).save(tmp_path / ("new" if name == "c" else "old") / name / f"{i}.png")
    model = ResNet(2, depth=8, width=4, rngs=nnx.Rngs(0))
    image = extend.Image(8, 8)
    clf = extend.wrap(model, ["a", "b"], tmp_path / "old", inputs=image, taps=["stage1"])
    clf.save(tmp_path / "c")
    wider, report = extend.add_classes(tmp_path / "c", tmp_path / "new", method="lda")
    assert wider.classes == ("a", "b", "c") and report.samples == 12
    assert extend.evaluate(wider, tmp_path / "new").accuracy == 1.0


def test_exemplars_need_a_memory(network: Classifier, fourth: np.ndarray) -> None:
    bare = replace(network, memory=None)
    with pytest.raises(ValueError, match="exemplars= are kept in the memory, and this classifier has none: pass old="):
        extend.add_classes(bare, {"new": fourth}, exemplars=10_000)


def test_inputs_and_labels_as_two_arguments(plain: Classifier, fourth: np.ndarray) -> None:
    one, report = extend.add_classes(plain, fourth, ["new"] * 40)
    two, _ = extend.add_classes(plain, {"new": fourth})
    assert one.classes == two.classes and report.samples == 40
    assert np.array_equal(one.decision_function(fourth), two.decision_function(fourth))
    with pytest.raises(extend.ArgumentError, match="labels is 'lda'; expected a class name for each input, or method="):
        extend.add_classes(plain, {"new": fourth}, "lda")


def test_a_method_by_its_class_and_in_any_case(plain: Classifier, fourth: np.ndarray) -> None:
    expected, _ = extend.add_classes(plain, {"new": fourth}, method="nearest_mean")
    for method in ("Nearest_Mean", "NearestMean", "nearest-mean", NearestMean, NearestMean()):
        wider, report = extend.add_classes(plain, {"new": fourth}, method=method)
        assert report.method == "nearest_mean"
        assert np.array_equal(wider.decision_function(fourth), expected.decision_function(fourth))


def test_tqdm_shows_the_progress(plain: Classifier, fourth: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    extend.add_classes(plain, {"new": fourth}, method="lda", progress=tqdm)
    assert "100%" in capsys.readouterr().err


class NeverRuns(OnFeatures):
    """A method that fails the test if it is asked for anything."""

    name = "never_runs"

    def extend(self, *args: object, **options: object) -> NoReturn:
        raise AssertionError("the work began before the arguments were checked")

    def solve(self, *args: object) -> NoReturn:
        raise AssertionError("the work began before the arguments were checked")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_existing": "skip"}, "on_existing is 'skip'; expected 'error' or 'update'"),
        ({"max_forgetting": "1%"}, "expected a share of the old examples from 0 to 1"),
        ({"exemplars": -1}, "exemplars is -1; expected a whole number"),
        ({"exemplars": "1 MB"}, "exemplars is '1 MB'; expected a whole number"),
        ({"exemplars": 3}, "exemplars of 3 bytes are less than one input a class"),
        ({"seed": -1}, "seed is -1; expected a whole number"),
        ({"seed": 0.5}, "seed is 0.5; expected a whole number"),
        ({"seed": None}, "seed is None; expected a whole number"),
        ({"progress": 5}, "progress is 5; expected something like tqdm.tqdm"),
        ({"old": {"cow": np.zeros((2, 5))}}, "old= holds class 'cow'"),
        ({"validation": {"cow": np.zeros((2, 5))}}, "validation= holds class 'cow'"),
    ],
)
def test_every_argument_is_checked_before_the_work(plain: Classifier, options: dict, message: str) -> None:
    with pytest.raises(extend.ExtendError, match=message):
        extend.add_classes(plain, {"new": np.ones((20, 5), np.float32)}, method=NeverRuns(), **options)


def test_a_training_refuses_a_forgetting_limit_before_the_work(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(extend.ArgumentError, match="fine_tune moves them: leave it out"):
        extend.add_classes(plain, {"new": fourth}, method="fine_tune", max_forgetting=0.1)


@pytest.mark.parametrize("wrong", [None, 5, "nowhere/at/all", ["a"]])
def test_what_is_no_classifier(wrong: object, fourth: np.ndarray) -> None:
    with pytest.raises(extend.ExtendError):
        extend.add_classes(wrong, {"new": fourth})


def test_samples_that_are_learnt_do_not_measure(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(extend.DataError, match=r"3 of 5 validation samples are among those to be learnt"):
        extend.add_classes(plain, {"new": fourth}, validation={"new": np.concatenate([fourth[:3], fourth[3:5] + 1])})
