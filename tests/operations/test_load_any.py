"""Opening models of other frameworks, through scikit-learn's, which needs nothing else."""

from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

import extend
from extend.core.errors import ArgumentError, CheckpointError, FormatError
from extend.formats.base import Input
from extend.formats.registry import read
from extend.models import MLP
from extend.operations.foreign import picture
from tests.conftest import blobs

NAMES = ["bee", "cow", "dog"]


def data() -> tuple[np.ndarray, np.ndarray]:
    return blobs(4, 60, 5)


@pytest.fixture(scope="module")
def mlp() -> MLPClassifier:
    x, y = data()
    model = MLPClassifier((16,), max_iter=300, random_state=0)
    return model.fit(x[y < 3], np.asarray(NAMES)[y[y < 3]])


def test_an_opened_model_predicts_as_it_did(mlp: MLPClassifier) -> None:
    x, _ = data()
    clf = extend.wrap(mlp)
    assert clf.classes == ("bee", "cow", "dog") and clf.memory is None
    np.testing.assert_allclose(clf.predict_proba(x), mlp.predict_proba(x), atol=1e-5)
    assert (clf.predict(x) == mlp.predict(x)).all()


def test_without_memory_a_class_is_imprinted(mlp: MLPClassifier) -> None:
    x, y = data()
    clf = extend.wrap(mlp)
    wider, report = extend.add_classes(clf, {"ant": x[y == 3]})
    assert report.method == "imprint" and "no memory of the old classes" in str(report)
    assert wider.classes[-1] == "ant" and "ant" in wider.predict(x[y == 3])
    np.testing.assert_array_equal(wider.decision_function(x)[:, :3], clf.decision_function(x))


def test_with_memory_auto_takes_a_head_that_a_file_can_hold(mlp: MLPClassifier) -> None:
    x, y = data()
    clf = extend.wrap(mlp, data=(x[y < 3], y[y < 3]))
    assert clf.memory is not None
    wider, report = extend.add_classes(clf, {"ant": x[y == 3]})
    assert report.method != "gaussian"
    truth = np.asarray([*NAMES, "ant"])[y]
    assert (wider.predict(x) == truth).mean() > 0.9


def test_a_file_and_what_lies_beside_it_come_back(mlp: MLPClassifier, tmp_path: Path) -> None:
    x, y = data()
    clf = extend.wrap(mlp, data=(x[y < 3], y[y < 3]))
    wider, _ = extend.add_classes(clf, {"ant": x[y == 3]}, method="lda")
    again = extend.load(extend.save(wider, tmp_path / "wider.skops"))
    assert again.classes == wider.classes and again.history == wider.history
    assert again.memory is not None and wider.memory is not None
    np.testing.assert_array_equal(again.memory.statistics.mean, wider.memory.statistics.mean)
    np.testing.assert_allclose(again.predict_proba(x), wider.predict_proba(x), atol=1e-5)
    further, _ = extend.add_classes(again, {"elk": x[y == 3] + 9})
    assert further.classes[-1] == "elk"


def test_a_memory_of_another_network_or_version_is_refused(mlp: MLPClassifier, tmp_path: Path) -> None:
    x, y = data()
    clf = extend.wrap(mlp, data=(x[y < 3], y[y < 3]))
    path = extend.save(clf, tmp_path / "model.skops")
    other = MLPClassifier((16,), max_iter=20, random_state=1).fit(x[y < 3], np.asarray(NAMES)[y[y < 3]])
    read(other).save(path, read(other).head, tuple(NAMES))
    with pytest.raises(FormatError, match="another network"):
        extend.load(path)
    wider, _ = extend.add_classes(clf, {"ant": x[y == 3]}, method="lda")
    read(mlp).save(path, clf.backbone.dense_head(wider.head, wider.classes), wider.classes)
    with pytest.raises(FormatError, match="another version"):
        extend.load(path)


def test_names_must_be_as_many_as_outputs(mlp: MLPClassifier) -> None:
    with pytest.raises(ValueError, match=r"2 classes are named; the head of this .* has 3 outputs"):
        extend.wrap(mlp, classes=["a", "b"])
    assert extend.wrap(mlp, classes=["a", "b", "c"]).classes == ("a", "b", "c")


@pytest.mark.parametrize("name", ["model.xyz", "model"])
def test_an_unknown_suffix_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(FormatError, match=r"no known format.*\.onnx"):
        extend.load(tmp_path / name)


def test_other_objects_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="path is a dict; expected a path"):
        extend.load({})
    with pytest.raises(CheckpointError, match="no checkpoint of extend"):
        extend.load(tmp_path)


class Pictures:
    """Just enough of a model to ask what its pictures are."""

    input = Input((3, None, 20), np.dtype("float32"), channels_first=True)


def test_pixels() -> None:
    image = picture(Pictures(), "caffe", 10)
    assert image.shape == (10, 20, 3) and image.order == "bgr"
    red = np.zeros((1, 10, 20, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(image.normalise(red)[0, 0, 0], [-103.939, -116.779, 255 - 123.68], rtol=1e-6)
    symmetric = picture(Pictures(), "symmetric", 10).normalise(red)
    assert symmetric.min() == -1 and symmetric.max() == 1
    with pytest.raises(ValueError, match="size="):
        picture(Pictures(), "unit")
    with pytest.raises(ValueError, match="expected one of raw"):
        picture(Pictures(), "odd", 10)


def test_pixels_are_for_pictures(mlp: MLPClassifier) -> None:
    with pytest.raises(ValueError, match="for models of pictures"):
        extend.wrap(mlp, pixels="unit")
    spec = jax.ShapeDtypeStruct((5,), np.float32)
    with pytest.raises(ValueError, match="give one of them"):
        extend.wrap(mlp, pixels="unit", inputs=spec)


def test_inspect_tells_what_will_work(mlp: MLPClassifier, tmp_path: Path) -> None:
    x, y = data()
    found = extend.inspect(mlp)
    assert found["features"] == 16 and found["classes"] == NAMES and "imprint" in found["works"]
    path = extend.save(extend.wrap(mlp, data=(x[y < 3], y[y < 3])), tmp_path / "m.skops")
    assert "lda" in extend.inspect(path)["works"] and extend.inspect(path)["memory"] == "in m.skops.extend"


def test_two_classes_become_three(tmp_path: Path) -> None:
    x, y = data()
    model = LogisticRegression().fit(x[y < 2], np.asarray(NAMES)[y[y < 2]])
    clf = extend.wrap(model, data=(x[y < 2], y[y < 2]))
    np.testing.assert_allclose(clf.predict_proba(x), model.predict_proba(x), atol=1e-6)
    wider, _ = extend.add_classes(clf, {"ant": x[y == 2]}, method="lda")
    again = extend.load(extend.save(wider, tmp_path / "m.skops"))
    assert (again.predict(x[y < 3]) == np.asarray(["bee", "cow", "ant"])[y[y < 3]]).mean() > 0.9


def test_a_pytorch_module_and_what_tells_the_shape_of_its_inputs(tmp_path: Path) -> None:
    x, y = data()
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    with pytest.raises(FormatError, match="inputs="):
        extend.wrap(net)
    clf = extend.load(tmp_path / "net.pt", model=net, classes=NAMES, data=(x[y < 3], y[y < 3]))
    assert clf.memory is not None and "memory of 180 samples" in repr(clf)
    wider, report = extend.add_classes(clf, {"ant": x[y == 3]}, method="lda")
    again = extend.load(extend.save(wider, tmp_path / "wider.pt"), model=net)
    np.testing.assert_allclose(again.predict_proba(x), wider.predict_proba(x), atol=1e-5)
    # The network knows nothing: that is what wrong pixels look like.
    _, report = extend.add_classes(clf, {"ant": x[y == 3]})
    assert ("which is chance" in str(report)) == (report.before is not None and report.before.accuracy < 0.5)


def test_pictures_tell_the_shape_by_their_size() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    x = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), np.uint8)
    clf = extend.wrap(net, pixels="imagenet", size=8)
    np.testing.assert_array_equal(
        extend.wrap(net, pixels="imagenet", data=(x, np.arange(40) % 2)).decision_function(x), clf.decision_function(x)
    )
    image = clf.backbone.inputs
    expected = net(torch.from_numpy(image.normalise(x).transpose(0, 3, 1, 2).copy())).detach().numpy()
    np.testing.assert_allclose(clf.decision_function(x), expected, rtol=1e-4, atol=1e-5)


def test_names_that_the_file_does_not_have(mlp: MLPClassifier) -> None:
    x, y = data()
    unnamed = MLPClassifier((4,), max_iter=20).fit(x[y < 3], y[y < 3])
    with pytest.raises(ValueError, match=r"pass classes= \(--classes\)"):
        extend.add_classes(extend.wrap(unnamed), {"ant": x[y == 3]}, old={"bee": x[y == 0]})


def test_an_argument_that_does_not_apply_is_refused(mlp: MLPClassifier, tmp_path: Path) -> None:
    x, y = data()
    clf = extend.wrap(mlp, data=(x[y < 3], y[y < 3]))
    extend.save(clf, tmp_path / "m.skops")
    ours = extend.wrap(MLP(3, inputs=5, rngs=nnx.Rngs(0)), NAMES, inputs=x[:1])
    extend.save(ours, tmp_path / "ours")
    for path, options, message in (
        ("m.skops", {"call": len}, "m.skops is a model of another framework: call= does not apply to it"),
        ("m.skops", {"held_out": (x, y)}, "held_out= goes with data="),
        ("m.skops", {"inputs": x[:1, :3]}, "says that inputs are arrays"),
        ("m.skops", {"classes": list("abc")}, "names the classes bee, cow, dog; a, b, c are given"),
        ("ours", {"classes": NAMES}, "ours is a checkpoint of extend: classes= does not apply to it"),
        ("ours", {"pixels": "unit"}, "pixels= does not apply"),
        ("ours", {"trust": True}, "trust= does not apply"),
        ("", {"model": MLP, "size": 3}, "taken for weights of a Flax model: size= does not apply"),
    ):
        with pytest.raises(ArgumentError, match=message):
            extend.load(tmp_path / path, **options)
    with pytest.raises(CheckpointError, match="nothing: no such file or folder"):
        extend.load(tmp_path / "nothing")


def test_operations_take_a_path_where_they_take_a_classifier(tmp_path: Path) -> None:
    x, y = data()
    model = MLP(3, inputs=5, hidden=(8,), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, NAMES, (x[y < 3], y[y < 3]))
    path = extend.save(clf, tmp_path / "c")
    assert extend.evaluate(path, (x[y < 3], y[y < 3])).n == 180
    wider, _ = extend.add_classes(str(path), {"ant": x[y == 3]}, method="lda")
    extend.save(wider, path)
    assert extend.remove_classes(path, ["ant", "bee"])[0].classes == ("cow", "dog")
    assert extend.calibrate(path)[0].classes == extend.retune(path)[0].classes == wider.classes
    assert extend.replace_head(path, ["x", "y"]).classes == ("x", "y")
    once = extend.Training(epochs=1, batch_size=64)
    truth = np.asarray([*NAMES, "ant"])[y]
    assert extend.adapt(path, (x, truth), training=once)[0].classes == wider.classes
    assert extend.save(path, tmp_path / "c.onnx").is_file()
    for action in (extend.evaluate, extend.add_classes, extend.remove_classes, extend.save):
        with pytest.raises(ArgumentError, match=r"a NoneType is given; expected a Classifier .* or the path of one"):
            action(None, "a")
