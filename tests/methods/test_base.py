"""What a method says of itself is what it does."""

import numpy as np
import pytest

import extend
from extend import data
from extend.classifier import Classifier
from extend.methods import NAMED, FineTune, Joint, Method, NewUnits, Ridge
from tests.conftest import blobs, names

QUICK = {"fine_tune": FineTune(epochs=1), "joint": Joint(epochs=1)}
METHODS = [*(QUICK.get(name, method) for name, method in NAMED.items()), Ridge(balanced=True)]


def increment(clf: Classifier) -> tuple[data.Samples, data.Samples]:
    """Samples of a fourth class, and real ones of the three old classes."""
    x, y = blobs(4, 40, 5)
    spec = clf.backbone.inputs
    return data.read({"new": x[y == 3]}, spec), data.read((x[y < 3], y[y < 3]), spec, names=names(3))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.title)
def test_the_answers_are_true(method: Method, network: Classifier) -> None:
    samples, old = increment(network)
    got = method.extend(network, samples, old=old)
    assert got.head.as_linear() is not None or not method.linear
    assert method.trains_backbone == (got.backbone is not network.backbone)
    assert got.method == method.name or method.chooses
    assert got.memory is not None and got.memory.classes == (*network.classes, "new")
    wider = Classifier(got.backbone, got.head, got.memory.classes, got.memory)
    x, _ = blobs(4, 40, 5)
    same = np.array_equal(wider.decision_function(x)[:, :3], network.decision_function(x))
    assert method.keeps_old_columns == same


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.title)
def test_needs_is_what_it_cannot_do_without(method: Method, network: Classifier) -> None:
    samples, old = increment(network)
    bare = Classifier(network.backbone, network.head, network.classes)
    if method.needs & {"memory", "old samples"}:
        with pytest.raises(extend.ArgumentError, match="pass old="):
            method.extend(bare, samples)
    else:
        assert method.extend(bare, samples).head.num_classes == 4
    if "old samples" not in method.needs:
        assert method.extend(network, samples).head.num_classes == 4
    assert method.extend(bare, samples, old=old).head.num_classes == 4


def test_needs_follow_the_hyper_parameters() -> None:
    assert "old samples" in NewUnits(old="exemplars").needs and "memory" not in NewUnits(old="absent").needs
    assert Ridge(balanced=True).needs_class_scatter and not Ridge().needs_class_scatter


def test_settings_can_be_stored(tmp_path: object) -> None:
    import json

    for method in METHODS:
        assert json.loads(json.dumps(method.settings())) == method.settings()
