"""What the methods that train a backbone share."""

import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flax import nnx

import extend
from extend import data
from extend.backbone import Backbone, extract
from extend.classifier import Classifier
from extend.data import Samples
from extend.methods import FineTune, Joint, fine_tune, joint
from extend.models import MLP
from tests.conftest import blobs, names, several_labels, spec

X, Y = blobs(4, 100, 5, spread=1.0)
OLD, NEW = (X[Y < 3], Y[Y < 3]), {"new": X[Y == 3]}
TUNE = FineTune(epochs=2, batch_size=32, learning_rate=3e-3)
ALL = Joint(epochs=2, batch_size=32)


def base(**options: Any) -> Classifier:
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    return extend.wrap(model, names(3), OLD, **options)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """How often each sample went through each state of a network to be embedded, but for the watch on a training."""
    counted: Counter[tuple[str, int]] = Counter()
    training = False
    extraction = sys.modules[extract.__module__]
    embed, train = extraction.embed, fine_tune.train_backbone

    def counting(backbone: Backbone, samples: Samples, **options: Any) -> np.ndarray:
        if not training:
            counted.update((backbone.fingerprint, key) for key in samples.keys.tolist())
        return embed(backbone, samples, **options)

    def trained(*some: Any, **options: Any) -> Any:
        nonlocal training
        training = True
        try:
            return train(*some, **options)
        finally:
            training = False

    monkeypatch.setattr(extraction, "embed", counting)
    for module in (fine_tune, joint):
        monkeypatch.setattr(module, "train_backbone", trained)
    return counted


@pytest.mark.parametrize(
    "method, wrapped, given",
    [
        (TUNE, {}, {}),
        (replace(TUNE, drift=None, head=None), {}, {}),
        (replace(TUNE, average=0.5, ewc=1.0), {"keep": extend.Keep(exemplar_bytes=20 * 60, fisher=True)}, {}),
        (TUNE, {}, {"old": (OLD[0][::5], OLD[1][::5])}),
        (TUNE, None, {"old": OLD, "exemplars": 1600}),
        (ALL, {}, {"old": OLD}),
        (ALL, {"keep": extend.Keep(exemplar_bytes=20 * 60)}, {"old": OLD}),
        (ALL, None, {"old": OLD, "exemplars": 1600}),
    ],
)
def test_each_sample_is_embedded_once_for_each_state(
    passes: Counter[tuple[str, int]], method: Any, wrapped: dict[str, Any] | None, given: dict[str, Any]
) -> None:
    clf = base(**(wrapped or {}))
    clf = clf if wrapped is not None else replace(clf, memory=None)
    passes.clear()
    more, _ = extend.add_classes(clf, NEW, method=method, **given)
    assert {state for state, _ in passes} == {clf.backbone.fingerprint, more.backbone.fingerprint}
    assert set(passes.values()) == {1}
    new = data.read(NEW, spec(5)).keys.tolist()
    assert all((more.backbone.fingerprint, key) in passes for key in new)


def test_adapt_embeds_each_sample_once_for_each_state(passes: Counter[tuple[str, int]]) -> None:
    clf = base()
    held, _ = blobs(3, 20, 5, seed=1)
    passes.clear()
    adapted, _ = extend.adapt(
        clf, OLD, held_out=(held, np.repeat([0, 1, 2], 20)), training=extend.Training(epochs=1, batch_size=64)
    )
    assert {state for state, _ in passes} == {clf.backbone.fingerprint, adapted.backbone.fingerprint}
    assert set(passes.values()) == {1}


def test_a_sigmoid_needs_no_features_to_begin_a_joint_training(passes: Counter[tuple[str, int]]) -> None:
    clf, x = several_labels()
    old = (x[:160], np.repeat(["a", "b"], 80))
    passes.clear()
    more, _ = extend.add_classes(clf, {"c": x[160:]}, old=old, method=Joint(epochs=1, batch_size=40))
    assert {state for state, _ in passes} == {more.backbone.fingerprint} and set(passes.values()) == {1}


@pytest.mark.parametrize("method", [TUNE, ALL, replace(TUNE, head=None)])
def test_a_method_extends_a_classifier(method: FineTune | Joint) -> None:
    clf = base()
    new = data.read(NEW, spec(5))
    old = data.read_into(clf.classes, OLD, spec(5), "old=")
    found = method.extend(clf, new, old=old)
    more, report = extend.add_classes(clf, NEW, old=OLD, method=method)
    assert found.method == method.name == report.method and found.reason == report.reason
    assert found.backbone.fingerprint == more.backbone.fingerprint and found.head.num_classes == 4
    assert found.memory is not None and found.memory.classes == more.classes and found.before is clf.memory
    assert np.array_equal(found.head.scores(found.fresh.features), more.head.scores(found.fresh.features))
    assert len(found.fresh) == 100 and bool(found.settings["head"]) == (method.head is not None)


def test_a_memory_is_measured_from_old_samples_where_there_is_none() -> None:
    clf = base()
    bare, old = replace(clf, memory=None), data.read_into(clf.classes, OLD, spec(5), "old=")
    for method in (TUNE, ALL):
        found = method.extend(bare, data.read(NEW, spec(5)), old=old)
        assert found.before is not None and found.before.classes == clf.classes and found.before.trained_on.all()
        assert found.old is not None and np.array_equal(found.old.keys, old.keys)


def test_what_methods_say_of_themselves() -> None:
    assert (FineTune.name, Joint.name) == ("fine_tune", "joint")
    assert FineTune().needs == {"memory"} and Joint().needs == {"old samples"}
    assert FineTune.trains_backbone and Joint.trains_backbone and not FineTune.linear
