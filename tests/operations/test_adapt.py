from typing import Any

import numpy as np
import pytest
from flax import nnx

import extend
from extend.models import MLP
from tests.conftest import blobs, names, spec

HOW = extend.Training(epochs=20, batch_size=32, learning_rate=1e-2, head_learning_rate=0.02)


def start() -> tuple[extend.Classifier, np.ndarray, np.ndarray]:
    x, y = blobs(4, 200, 5, spread=1.0)
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    return extend.wrap(model, names(3), inputs=spec(5)), x, y


def test_adapted_once_then_extended_in_closed_form() -> None:
    clf, x, y = start()
    old, half = y < 3, np.arange(len(y)) % 2 == 0
    frozen = extend.wrap(clf.backbone, names(3), (x[old & half], y[old & half]))
    frozen, _ = extend.add_classes(frozen, {"new": x[half & (y == 3)]})
    adapted, report = extend.adapt(clf, (x[old & half], y[old & half]), training=HOW)
    assert report.action == "adapt" and "adapted to" in str(report) and report.after is not None
    assert adapted.history[-1].action == "adapt" and adapted.memory is not None
    more, _ = extend.add_classes(adapted, {"new": x[half & (y == 3)]})
    truth = np.asarray([*names(3), "new"])[y[~half]]
    assert (more.predict(x[~half]) == truth).mean() > (frozen.predict(x[~half]) == truth).mean()
    retuned, _ = extend.retune(more)
    assert retuned.classes == more.classes


def test_given_held_out_samples_are_what_it_is_measured_on() -> None:
    clf, x, y = start()
    old, half = y < 3, np.arange(len(y)) % 2 == 0
    held = (x[old & ~half], y[old & ~half])
    adapted, report = extend.adapt(clf, (x[old & half], y[old & half]), training=HOW, held_out=held)
    assert report.n_measured == len(held[1]) and report.measured_on == "held-out features"
    assert adapted.memory is not None and not adapted.memory.trained_on.any()
    assert adapted.memory.statistics.count.sum() == (old & half).sum()


def test_another_head_for_other_classes_trained_alone() -> None:
    clf, x, y = start()
    other = extend.replace_head(clf, ["even", "odd"])
    assert other.classes == ("even", "odd") and other.memory is None and clf.classes == tuple(names(3))
    labels = np.asarray(["even", "odd"])[y % 2]
    only_head = extend.Training("none", epochs=30, batch_size=64, head_learning_rate=0.05)
    trained, _ = extend.adapt(other, (x, labels), training=only_head, head=None)
    assert trained.backbone.fingerprint == clf.backbone.fingerprint
    assert (trained.predict(x) == labels).mean() > 0.7


def test_interrupted_it_keeps_what_there_is(tmp_path: Any) -> None:
    import os
    import signal

    clf, x, y = start()

    def progress(steps: Any, total: int) -> Any:
        for number, step in enumerate(steps):
            if total > 15 and number == 5:  # In the midst of an epoch.
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    how = extend.Training(epochs=20, batch_size=16, state=str(tmp_path / "state"))
    part, report = extend.adapt(clf, (x[y < 3], y[y < 3]), training=how, progress=progress)
    assert any("interrupted at step" in note for note in report.notes) and part.memory is not None
    whole, _ = extend.adapt(clf, (x[y < 3], y[y < 3]), training=extend.Training(epochs=20, batch_size=16))
    resumed, _ = extend.adapt(clf, (x[y < 3], y[y < 3]), training=how)
    assert resumed.backbone.fingerprint == whole.backbone.fingerprint != part.backbone.fingerprint


def test_what_it_refuses() -> None:
    clf, x, y = start()
    with pytest.raises(ValueError, match="no samples of class 'class 2'"):
        extend.adapt(clf, (x[y < 2], y[y < 2]))
    with pytest.raises(ValueError, match="expected a closed form"):
        extend.adapt(clf, (x[y < 3], y[y < 3]), head=extend.methods.SVM())
    with pytest.raises(ValueError, match="at least two"):
        extend.replace_head(clf, ["one"])
    with pytest.raises(ValueError, match="no parameters that can be trained"):
        fixed = extend.wrap(lambda x: x, names(3), (x[y < 3], y[y < 3]))
        extend.adapt(fixed, (x[y < 3], y[y < 3]))
