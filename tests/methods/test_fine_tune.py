import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import extend
from extend import data
from extend.backbone import extract
from extend.classifier import Classifier
from extend.heads import LinearHead
from extend.methods import LDA, SVM, FineTune, ForgettingWarning, Gaussian, Joint, Ridge
from extend.methods import fine_tune as module
from extend.methods.lesson import training_samples
from extend.models import MLP
from extend.training import measure_fisher
from tests.conftest import blobs, names, several_labels, spec

QUICK = FineTune(epochs=3, batch_size=32, learning_rate=3e-3)


def base(**options: Any) -> tuple[Classifier, np.ndarray, np.ndarray]:
    """Three of four overlapping classes, adapted once so that the features are of some use."""
    x, y = blobs(4, 400, 5, spread=1.0)
    first = np.arange(len(y)) % 2 == 0
    old = first & (y < 3)
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(3), inputs=spec(5))
    training = extend.Training(epochs=20, batch_size=64, learning_rate=1e-2)
    clf, _ = extend.adapt(clf, (x[old], y[old]), training=training)
    if options:
        clf = extend.wrap(clf.backbone, names(3), (x[old], y[old]), **options)
    return clf, x, y


def share(clf: Classifier, x: np.ndarray, y: np.ndarray, classes: range) -> float:
    rows = np.isin(y, list(classes)) & (np.arange(len(y)) % 2 == 1)
    return float((clf.predict(x[rows]) == np.asarray([*names(3), "new"])[y[rows]]).mean())


def fresh(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    return {"new": x[(y == 3) & (np.arange(len(y)) % 2 == 0)]}


def spied_on(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The content keys of what each training from now on is given."""
    trained: list[np.ndarray] = []
    usual = module.train_backbone

    def spied(backbone: Any, head: Any, samples: Any, *rest: Any, **options: Any) -> Any:
        trained.append(samples.keys)
        return usual(backbone, head, samples, *rest, **options)

    monkeypatch.setattr(module, "train_backbone", spied)
    return trained


def judged_by(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each training from now on measures of the network that it ends with; a trained head counts for nothing."""
    judged: list[Any] = []
    usual = module.train_backbone

    def spied(*some: Any, **options: Any) -> Any:
        trained = usual(*some, **options)
        block = trained.head.blocks[0]
        judged.append(options["measure"](trained.network, LinearHead.of(0 * block.kernel, block.bias, block.start)))
        return trained

    monkeypatch.setattr(module, "train_backbone", spied)
    return judged


@pytest.mark.parametrize(
    "method",
    [
        replace(QUICK, feature_distillation=3.0),
        replace(QUICK, drift="weak", head=LDA()),
        replace(QUICK, drift="translation", feature_distillation=1.0),
        replace(QUICK, lora=2, select="*.kernel"),
        replace(QUICK, average=0.5, distillation=0.0),
        replace(QUICK, head=None),
        replace(QUICK, patience=1, balanced=False),
    ],
)
def test_every_option_learns_the_new_class_and_keeps_the_old(method: FineTune) -> None:
    clf, x, y = base()
    before = share(clf, x, y, range(3))
    more, report = extend.add_classes(clf, fresh(x, y), method=method)
    assert more.backbone.fingerprint != clf.backbone.fingerprint
    assert share(more, x, y, range(3)) > before - 0.06 and share(more, x, y, range(3, 4)) > 0.85
    assert report.method == "fine_tune" and "estimated" in report.measured_on
    assert more.memory is not None and more.memory.transported == tuple(names(3))
    assert any("training took" in note for note in report.notes)
    assert share(clf, x, y, range(3)) == before  # The old classifier is as it was.


def test_drift_compensation_is_what_keeps_the_old_classes() -> None:
    clf, x, y = base()
    hard = FineTune(epochs=30, batch_size=32, learning_rate=1e-2, distillation=0, head=LDA())
    kept, _ = extend.add_classes(clf, fresh(x, y), method=hard)
    lost, report = extend.add_classes(clf, fresh(x, y), method=replace(hard, drift=None))
    assert share(kept, x, y, range(3)) > share(lost, x, y, range(3)) + 0.02
    assert any("do not trust them" in note for note in report.notes)


def test_held_out_samples_are_never_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base(keep=extend.Keep(exemplar_bytes=20 * 60))
    trained = spied_on(monkeypatch)
    more, _ = extend.add_classes(clf, fresh(x, y), method=QUICK)
    assert more.memory is not None and clf.memory is not None and clf.memory.exemplars is not None
    assert len(more.memory.held_out_keys) and not np.isin(more.memory.held_out_keys, trained[0]).any()
    assert np.isin(clf.memory.exemplars.keys, trained[0]).all()
    assert (trained[0] >= np.uint64(0.1 * 2.0**64)).all()  # Those of the lowest tenth are held out.


def test_exemplars_are_replayed_kept_and_cut() -> None:
    clf, x, y = base(keep=extend.Keep(exemplar_bytes=20 * 60))
    more, _ = extend.add_classes(clf, fresh(x, y), method=QUICK)
    assert clf.memory is not None and clf.memory.exemplars is not None and len(clf.memory.exemplars) == 60
    assert more.memory is not None and more.memory.exemplars is not None
    assert np.bincount(more.memory.exemplars.labels).tolist() == [15] * 4
    with pytest.raises(ValueError, match="less than one input a class"):
        extend.wrap(clf.backbone, names(3), (x[y < 3], y[y < 3]), keep=extend.Keep(exemplar_bytes=50))


def test_ewc_needs_the_fisher_diagonal_and_keeps_it_up() -> None:
    clf, x, y = base()
    with pytest.raises(ValueError, match=r"wrap the model with keep=extend.Keep\(fisher=True\), or pass old="):
        extend.add_classes(clf, fresh(x, y), method=replace(QUICK, ewc=10.0))
    old = (y < 3) & (np.arange(len(y)) % 2 == 0)
    some, moved = (x[old][::20], y[old][::20]), []
    for ewc in (0.0, 1e5):
        how = replace(QUICK, ewc=ewc, distillation=0.0)
        more, _ = extend.add_classes(clf, fresh(x, y), old=some, method=how)
        before, after = (one.backbone.params["network"] for one in (clf, more))
        moved.append(sum(float(((after[n] - before[n]) ** 2).sum()) for n in clf.backbone.trainable))
    assert moved[1] < 0.5 * moved[0]
    kept, _, _ = base(keep=extend.Keep(fisher=True))
    more, _ = extend.add_classes(kept, fresh(x, y), method=replace(QUICK, ewc=10.0, average=0.3))
    assert kept.memory is not None and kept.memory.fisher is not None and kept.memory.fisher.count == 500
    assert more.memory is not None and more.memory.fisher is not None and more.memory.fisher.count > 500


def test_several_labels_and_a_sigmoid() -> None:
    clf, x = several_labels()
    both = np.concatenate([x[160:], x[:20]])  # Some of the new class's samples are of an old one as well.
    how = FineTune(epochs=40, batch_size=40, head_learning_rate=0.02)
    more, _ = extend.add_classes(clf, {"c": both, "a": x[:20]}, method=how, on_existing="update")
    p = more.predict_proba(x)
    assert not more.head.link.exclusive and (p[160:, 2] > 0.5).mean() > 0.8
    assert (p[:80, 0] > 0.5).mean() > 0.9 and (p[80:160, 1] > 0.5).mean() > 0.9
    assert (p[20:160, 2] < 0.5).mean() > 0.9  # What the memory knows of the others is what says no.
    assert (p[80:160, 0] < 0.5).mean() > 0.9 and (p[:80, 1] < 0.5).mean() > 0.9


def test_saved_restored_and_taken_back(tmp_path: Path) -> None:
    clf, x, y = base(keep=extend.Keep(exemplar_bytes=20 * 60, fisher=True))
    more, _ = extend.add_classes(clf, fresh(x, y), method=replace(QUICK, head=Ridge(balanced=True)))
    assert more.history[-1].settings["head"]["name"] == "ridge"
    more.save(tmp_path / "saved")
    restored = extend.load(tmp_path / "saved")
    assert np.array_equal(restored.decision_function(x), more.decision_function(x)) and restored.history == more.history
    assert restored.memory is not None and restored.memory.transported == tuple(names(3))
    assert restored.memory.exemplars is not None and restored.memory.fisher is not None
    smaller, report = extend.remove_classes(restored, "new")
    assert report.method == "fine_tune" and smaller.classes == tuple(names(3))
    assert smaller.memory is not None and smaller.memory.fisher is None
    assert any("the Fisher diagonal is gone" in note for note in report.notes)
    assert share(smaller, x, y, range(3)) > 0.8


def test_what_it_refuses() -> None:
    clf, x, y = base()
    with pytest.raises(ValueError, match="max_forgetting bounds what is measured on real"):
        extend.add_classes(clf, fresh(x, y), method="fine_tune", max_forgetting=0.01)
    with pytest.raises(ValueError, match="selects no parameter; there are"):
        extend.add_classes(clf, fresh(x, y), method=FineTune(select="stage7"))
    with pytest.raises(ValueError, match="class 'none': no samples given"):
        extend.add_classes(clf, {"new": x[:20], "none": x[:0]}, method="fine_tune")
    with pytest.raises(ValueError, match="expected a closed form such as LDA"):
        FineTune(head=SVM())
    with pytest.raises(ValueError, match="0 <= average < 1"):
        FineTune(average=1.0)
    with pytest.raises(ValueError, match="drift is 'cubic'; expected one of linear, weak, translation, or None"):
        FineTune(drift="cubic")  # type: ignore[arg-type]
    bare = replace(clf, memory=None)
    with pytest.raises(ValueError, match="fine_tune needs a memory"):
        extend.add_classes(bare, fresh(x, y), method="fine_tune")
    old = y < 3
    more, report = extend.add_classes(bare, fresh(x, y), old=(x[old], y[old]), method=QUICK)
    assert more.memory is not None and report.forgetting is not None


def test_what_was_forgotten_is_measured_on_features_of_the_old_backbone() -> None:
    clf, x, y = base()
    old = y < 3
    bare = replace(clf, memory=None)
    far = replace(QUICK, epochs=20, learning_rate=3e-2, distillation=0.0)
    more, report = extend.add_classes(bare, fresh(x, y), old=(x[old], y[old]), method=far)
    assert report.old_before is not None and report.old_before > 0.9
    assert more.memory is not None and more.memory.transported == () and "estimated" not in report.measured_on
    assert any("measured anew" in note for note in report.notes)


def test_nothing_is_guaranteed_on_features_from_before_the_backbone_moved() -> None:
    x, y = blobs(5, 400, 5, spread=1.0)
    first, old = np.arange(len(y)) % 2 == 0, y < 3
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    held = (x[~first & old], y[~first & old])
    clf = extend.wrap(model, names(3), (x[first & old], y[first & old]), held_out=held)
    for drift in (None, "linear"):
        moved, _ = extend.add_classes(clf, {"new": x[first & (y == 3)]}, method=replace(QUICK, drift=drift))
        _, report = extend.add_classes(moved, {"next": x[first & (y == 4)]}, method="lda", max_forgetting=0.2)
        assert report.budget is not None and report.budget.guaranteed is None
        assert "estimated" in report.measured_on


def test_more_samples_of_a_class_stay_apart_from_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base(keep=extend.Keep(exemplar_bytes=20 * 60))
    few = np.flatnonzero(y == 3)[:8]
    clf, _ = extend.add_classes(clf, {"new": x[few]})
    trained = spied_on(monkeypatch)
    rest = np.flatnonzero(y == 3)[8:200]
    more, _ = extend.add_classes(clf, {"new": x[rest]}, method=QUICK, on_existing="update")
    assert more.memory is not None and more.memory.exemplars is not None
    _, labels = more.memory.held_out
    held = more.memory.held_out_keys[labels == 3]
    assert len(held) and not np.isin(held, trained[0]).any()
    assert not np.isin(held, more.memory.exemplars.keys).any()


def test_the_trained_head_can_be_taken_apart_again() -> None:
    clf, x, y = base()
    more, _ = extend.add_classes(clf, fresh(x, y), method=replace(QUICK, head=None))
    smaller, _ = extend.remove_classes(more, "new")
    assert smaller.classes == tuple(names(3)) and share(smaller, x, y, range(3)) > 0.8
    with pytest.raises(ValueError, match="no strength to choose"):
        extend.retune(more)


def test_a_sigmoid_beside_a_transform() -> None:
    x, _ = blobs(3, 80, 5)
    model = MLP(2, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    data = {"a": x[:80], "b": x[80:160]}
    clf = extend.wrap(model, ["a", "b"], data, activation="sigmoid", transform="standardise", inputs=spec(5))
    with pytest.warns(ForgettingWarning, match="nothing holds the new classes' scores down"):
        more, _ = extend.add_classes(clf, {"c": x[160:]}, method=replace(QUICK, head_learning_rate=0.02))
    assert more.predict_proba(x).shape == (240, 3)


def test_one_sample_is_too_few() -> None:
    clf, x, y = base()
    with pytest.raises(ValueError, match="give at least two"), pytest.warns(UserWarning, match="one sample"):
        extend.add_classes(clf, {"new": fresh(x, y)["new"][:1]}, method=QUICK)
    with pytest.raises(ValueError, match=r"of the new classes' 5 none is held out .one in ten is, of ten or more."):
        extend.add_classes(clf, {"new": fresh(x, y)["new"][:5]}, method=replace(QUICK, patience=1))


def test_old_and_new_weights_are_averaged() -> None:
    kept, x, y = base(keep=extend.Keep(fisher=True))
    assert kept.memory is not None
    for clf in (kept, replace(kept, memory=replace(kept.memory, fisher=None))):
        old = clf.backbone.params["network"]
        new, half = (
            extend.add_classes(clf, fresh(x, y), method=replace(QUICK, average=a, head=None))[0] for a in (0.0, 0.3)
        )
        for name in clf.backbone.trainable:
            one, two = np.float64(old[name]), np.float64(new.backbone.params["network"][name])
            f, g = np.ones_like(one), np.ones_like(one)
            if clf is kept:
                moved = replace(clf, backbone=new.backbone)
                assert clf.memory is not None and clf.memory.fisher is not None and isinstance(new.head, LinearHead)
                f = clf.memory.fisher.mean()[name]
                taken, _ = training_samples(data.read(fresh(x, y), spec(5)), None, new.memory, spec(5))
                g = measure_fisher(moved.backbone, new.head, taken).mean()[name]
                floor = 1e-3 * max(f.mean(), g.mean())
                f, g = f + floor, g + floor
            expected = (0.3 * f * one + 0.7 * g * two) / (0.3 * f + 0.7 * g)
            assert np.allclose(half.backbone.params["network"][name], expected, atol=1e-4)
            assert not np.allclose(half.backbone.params["network"][name], two, atol=1e-4)


def test_a_head_that_stays_is_averaged_like_the_weights() -> None:
    clf, x, y = base()
    kernels = []
    for share_of_old in (0.0, 0.3, 0.6):
        more, _ = extend.add_classes(clf, fresh(x, y), method=replace(QUICK, average=share_of_old, head=None))
        assert isinstance(more.head, LinearHead)
        kernels.append(more.head.dense(more.backbone.feature_dim)[0])
    none, some, most = kernels
    assert np.allclose(most - none, 2 * (some - none), atol=1e-5) and np.abs(some - none).max() > 1e-3


def test_early_stopping_judges_the_averaged_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base()
    judged = judged_by(monkeypatch)
    far = replace(QUICK, learning_rate=1e-2, epochs=10, distillation=0.0, head=LDA())
    for average in (0.0, 0.999):
        extend.add_classes(clf, fresh(x, y), method=replace(far, average=average))
    frozen, _ = extend.add_classes(clf, fresh(x, y), method="lda")
    _, report = extend.add_classes(frozen, fresh(x, y), method="lda", on_existing="update")
    assert report.before is not None
    each = report.before.by_class
    assert judged[1]["old"] == pytest.approx(np.mean([each[name] for name in names(3)]), abs=0.02)
    assert judged[1]["old"] != judged[0]["old"]


def test_ewc_holds_the_network() -> None:
    clf, x, y = base(keep=extend.Keep(fisher=True))

    def moved(ewc: float) -> float:
        more, _ = extend.add_classes(clf, fresh(x, y), method=replace(QUICK, ewc=ewc, distillation=0.0))
        assert clf.memory is not None and clf.memory.fisher is not None
        now, then = (one.backbone.params["network"] for one in (more, clf))
        return float(sum((f * (now[n] - then[n]) ** 2).sum() for n, f in clf.memory.fisher.mean().items()))

    assert moved(1e4) < 0.2 * moved(0.0)


def test_training_is_judged_by_the_closed_form_that_it_ends_with(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base()
    judged = judged_by(monkeypatch)
    _, report = extend.add_classes(clf, fresh(x, y), method=replace(QUICK, learning_rate=1e-2, head=LDA()))
    assert report.after is not None
    each = report.after.by_class
    assert judged[0]["old"] == pytest.approx(np.mean([each[name] for name in names(3)]), abs=0.02)
    assert judged[0]["new"] == pytest.approx(each["new"], abs=0.02)


@pytest.mark.parametrize("options", [{}, {"keep": extend.Keep(exemplar_bytes=20 * 60, fisher=True)}])
def test_interrupted_it_goes_on_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    """With draws of the old classes, and with exemplars of them."""
    clf, x, y = base(**options)

    def progress(steps: Any, total: int) -> Any:
        for number, step in enumerate(steps):
            if total == 5 and number == 3:  # A training step, and no batch of features.
                os.kill(os.getpid(), signal.SIGTERM)
            yield step

    how = replace(QUICK, epochs=4, batch_size=40, ewc=1.0 if options else 0.0)
    kept = replace(how, state=str(tmp_path / "state"))
    part, report = extend.add_classes(clf, fresh(x, y), method=kept, progress=progress)
    assert any("interrupted at step" in note for note in report.notes)
    resumed, _ = extend.add_classes(clf, fresh(x, y), method=kept)
    whole, _ = extend.add_classes(clf, fresh(x, y), method=how)
    assert resumed.backbone.fingerprint == whole.backbone.fingerprint != part.backbone.fingerprint
    assert np.array_equal(resumed.decision_function(x), whole.decision_function(x))


def test_what_is_held_out_for_an_old_class_is_not_trained_on_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base()
    first, old = np.arange(len(y)) % 2 == 0, y < 3
    held = x[~first & old]
    clf = extend.wrap(clf.backbone, names(3), (x[first & old], y[first & old]), held_out=(held, y[~first & old]))
    trained = spied_on(monkeypatch)
    extend.add_classes(clf, {"new": np.concatenate([fresh(x, y)["new"], held[:20]])}, method=QUICK)
    assert len(trained[0]) and not np.isin(data.read({"held": held}, spec(5)).keys, trained[0]).any()


def test_too_few_bytes_are_refused_before_the_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clf, x, y = base()
    monkeypatch.setattr(module, "train_backbone", lambda *some, **options: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match="less than one input a class"):
        extend.add_classes(clf, fresh(x, y), method=QUICK, exemplars=30)


@pytest.mark.parametrize("head", [Gaussian(), Ridge(balanced=True)])
def test_a_head_that_the_memory_cannot_give_is_refused_before_the_long_work(
    monkeypatch: pytest.MonkeyPatch, head: Any
) -> None:
    clf, x, y = base(scatter="pooled")
    monkeypatch.setattr(sys.modules[extract.__module__], "embed", lambda *some, **options: pytest.fail("it began"))
    with pytest.raises(ValueError, match="needs a scatter a class, and this memory keeps one for all"):
        extend.add_classes(clf, fresh(x, y), method=replace(QUICK, head=head))
    old = {name: x[y == label] for label, name in enumerate(names(3))}
    with pytest.raises(ValueError, match="needs a scatter a class, and this memory keeps one for all"):
        extend.add_classes(clf, fresh(x, y), old=old, method=Joint(head=head))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"select": "stage7"}, "selects no parameter; there are"),
        ({"select": "*.bias", "lora": 2}, "lora=2 adapts kernels, and none is selected; there are"),
        ({"flip": True}, "padding and flip are for pictures"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_long_work(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    clf, x, y = base()
    monkeypatch.setattr(sys.modules[extract.__module__], "embed", lambda *some, **options: pytest.fail("it began"))
    old = {name: x[y == label] for label, name in enumerate(names(3))}
    for method in (FineTune(**options), Joint(**options)):
        with pytest.raises(ValueError, match=message):
            extend.add_classes(clf, fresh(x, y), old=old, method=method)


def test_a_function_is_trained_with_its_statistics_frozen() -> None:
    rng = np.random.default_rng(0)
    x, y = blobs(4, 100, 5)
    params = {"layer": {"kernel": rng.normal(size=(5, 8)).astype(np.float32)}}
    backbone = extend.FunctionBackbone.of(lambda p, x: jnp.tanh(x @ p["layer"]["kernel"]), spec(5), params)
    old = (x[y < 3], y[y < 3])
    clf = extend.wrap(backbone, names(3), old)
    with pytest.raises(ValueError, match=r"training mode is not known .* Joint\(frozen_statistics=True\)"):
        extend.add_classes(clf, {"new": x[y == 3]}, old=old, method="joint")
    how = Joint(epochs=3, batch_size=32, frozen_statistics=True)
    more, _ = extend.add_classes(clf, {"new": x[y == 3]}, old=old, method=how)
    assert (more.predict(x[y == 3]) == "new").mean() > 0.9
    assert not np.array_equal(more.backbone.params["network"]["layer.kernel"], params["layer"]["kernel"])


def test_exemplars_of_old_classes_that_are_measured_now() -> None:
    clf, x, y = base()
    bare, old = replace(clf, memory=None), y < 3
    for method in (QUICK, Joint(epochs=1), LDA()):
        more, _ = extend.add_classes(bare, fresh(x, y), old=(x[old], y[old]), method=method, exemplars=1600)
        assert more.memory is not None and more.memory.exemplars is not None
        assert np.bincount(more.memory.exemplars.labels).tolist() == [20] * 4
        assert not np.isin(more.memory.exemplars.keys, more.memory.held_out_keys).any()


@pytest.mark.parametrize("size", [32, 256])  # A step, or an epoch, may be where it happens.
def test_a_rate_that_diverges_keeps_a_working_classifier(size: int) -> None:
    import optax

    clf, x, y = base()
    more, report = extend.add_classes(
        clf, fresh(x, y), method=replace(QUICK, optimiser=optax.sgd(1e20), epochs=30, batch_size=size)
    )
    assert any("not finite at step" in note for note in report.notes)
    assert np.isfinite(more.decision_function(x)).all()
