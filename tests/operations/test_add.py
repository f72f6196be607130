"""Adding classes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from PIL import Image as Picture

import extend
from extend.classifier import Classifier
from extend.methods import NAMED, NewUnits
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
    wider, report = extend.add_classes(clf, {"new": fourth}, method=method, validation=(x, y))
    assert wider.classes == (*clf.classes, "new")
    assert report.measured_on == "validation samples" and report.n_measured == 160
    assert report.new is not None and (report.new > 0.8 or method == "imprint")
    if which == "plain" and method != "imprint":
        assert report.forgetting is not None and report.forgetting < 0.1
        assert report.overall is not None and report.overall > 0.85


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
    with pytest.warns(UserWarning, match="class 'one' has one sample: its spread is taken from the other classes"):
        wider, _ = extend.add_classes(plain, {"one": fourth[:1]})
    assert (wider.predict(fourth) == "one").mean() > 0.9


def test_unknown_names(plain: Classifier, fourth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="method 'magic' is unknown; there are auto, fine_tune, gaussian"):
        extend.add_classes(plain, {"d": fourth}, method="magic")
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
