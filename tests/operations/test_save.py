"""Writing classifiers for others."""

import json
import zipfile
from pathlib import Path

import jax
import jax.export
import numpy as np
import onnxruntime
import pytest
import skops.io
from flax import nnx
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

import extend
from extend.core.errors import FormatError
from extend.models import MLP
from tests.conftest import blobs, identity, names


def test_gaussians_are_refused() -> None:
    x, y = blobs(4, 40, 5)
    model = MLPClassifier((8,), max_iter=200, random_state=0).fit(x[y < 3], y[y < 3])
    clf = extend.wrap(model, data=(x[y < 3], y[y < 3]))
    wider, _ = extend.add_classes(clf, {"3": x[y == 3]}, method="gaussian")
    with pytest.raises(ValueError, match=r"one of Gaussians.*lda"):
        extend.save(wider, "nowhere.skops")
    assert not Path("nowhere.skops").exists()


def test_a_function_and_a_wrong_suffix(tmp_path: Path) -> None:
    x, y = blobs(2, 40, 5)
    host = extend.FunctionBackbone.of(identity, extend.wrap(identity, names(2), (x, y)).backbone.inputs)
    clf = extend.wrap(host, names(2), (x, y))
    with pytest.raises(FormatError, match=r"\.onnx or \.stablehlo"):
        extend.save(clf, tmp_path / "model.tflite")
    untraceable = extend.wrap(lambda rows: np.asarray(rows) * 2, names(2), (x, y))
    with pytest.raises(ValueError, match="cannot trace"):
        extend.save(untraceable, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_flax_classifier_goes_out_and_comes_back(tmp_path: Path) -> None:
    x, y = blobs(3, 40, 5)
    model = MLP(2, inputs=5, hidden=(16,), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, names(2), inputs=jax.ShapeDtypeStruct((5,), np.float32))
    opened = extend.load(extend.save(clf, tmp_path / "model.onnx"))
    assert opened.classes == clf.classes
    np.testing.assert_allclose(opened.predict_proba(x), clf.predict_proba(x), atol=1e-6)
    wider, _ = extend.add_classes(opened, {"new": x[y == 2]})
    extend.save(wider, tmp_path / "wider.onnx")
    before, after = (
        onnxruntime.InferenceSession(tmp_path / f"{name}.onnx").run(["logits"], {"inputs": x})[0]
        for name in ("model", "wider")
    )
    np.testing.assert_array_equal(after[:, :2], before)
    np.testing.assert_allclose(after, wider.decision_function(x), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_becomes_stablehlo(tmp_path: Path) -> None:
    x, _ = blobs(2, 10, 5)
    clf = extend.wrap(MLP(2, inputs=5, rngs=nnx.Rngs(0)), names(2), inputs=jax.ShapeDtypeStruct((5,), np.float32))
    with zipfile.ZipFile(extend.save(clf, tmp_path / "model.stablehlo")) as archive:
        assert json.loads(archive.read("classes.json")) == names(2)
        served = jax.export.deserialize(bytearray(archive.read("model.stablehlo")))
    np.testing.assert_allclose(served.call(x)["logits"], clf.decision_function(x), rtol=1e-5, atol=1e-6)


def test_a_dense_network_is_written_in_another_format(tmp_path: Path) -> None:
    x, y = blobs(3, 40, 5)
    model = MLPClassifier((8,), max_iter=200, random_state=0).fit(x, np.asarray(["a", "b", "c"])[y])
    clf = extend.wrap(model)
    for suffix in (".pmml", ".mat", ".h5"):
        again = extend.load(extend.save(clf, tmp_path / f"model{suffix}"), classes=clf.classes)
        np.testing.assert_allclose(again.predict_proba(x), model.predict_proba(x), atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_features_far_from_0_keep_their_scores_in_files(tmp_path: Path) -> None:
    """A solved head holds a centre: ONNX takes it from the features, a dense layer of doubles has it in its bias."""
    x, y = blobs(4, 60, 5)
    x += np.float32(2.0**16)
    old, named = y < 3, np.asarray(names(4))[y]
    clf = extend.wrap(identity, names(3), (x[old], named[old]))
    clf, _ = extend.add_classes(clf, {"class 3": x[~old]}, method="lda")
    extend.save(clf, tmp_path / "head.onnx")
    given = onnxruntime.InferenceSession(tmp_path / "head.onnx").run(["logits"], {"inputs": x})[0]
    np.testing.assert_allclose(given, clf.decision_function(x), atol=1e-3)

    wide = x.astype(np.float64)
    own = LogisticRegression(max_iter=5).fit(wide[old], named[old])
    foreign = extend.wrap(own, data=(wide[old], named[old]))
    foreign, _ = extend.add_classes(foreign, {"class 3": wide[~old]}, method="lda")
    extend.save(foreign, tmp_path / "model.skops")
    model = skops.io.load(tmp_path / "model.skops")
    assert (model.predict(wide) == foreign.predict(wide)).all() and (model.predict(wide) == named).mean() > 0.95
    again = extend.load(tmp_path / "model.skops")
    assert (again.predict(wide) == foreign.predict(wide)).all()
