"""Writing classifiers for others."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import extend
from extend.exporting import Origin, dense_head
from extend.formats.model import DenseHead, FormatError
from extend.head import Calibrated, LinearHead
from tests.conftest import blobs, identity, names


class Model:
    """The part of a model that its head needs."""

    head = DenseHead(np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=3))


ORIGIN = Origin(Model(), ("a", "b", "c"))  # type: ignore[arg-type]


def own() -> LinearHead:
    return LinearHead.of(Model.head.kernel, Model.head.bias)


def test_old_columns_are_the_files_own_numbers() -> None:
    new = np.float32([[1], [2], [3], [4], [5]])
    head = dense_head(ORIGIN, own().append(new, np.float32([0.5])), ("a", "b", "c", "d"))
    assert head.kernel.dtype == np.float64
    np.testing.assert_array_equal(head.kernel[:, :3], Model.head.kernel)  # float64: not what float32 keeps of them.
    np.testing.assert_array_equal(head.bias[:3], Model.head.bias)
    np.testing.assert_array_equal(head.kernel[:, 3:], new)


def test_columns_go_by_name() -> None:
    head = dense_head(ORIGIN, own().drop([1]), ("a", "c"))
    np.testing.assert_array_equal(head.kernel, Model.head.kernel[:, [0, 2]])


def test_a_changed_column_is_written_as_changed() -> None:
    calibrated = Calibrated(own(), np.float32([2, 1, 1]), np.float32([0, 0, 1]), np.float32(1))
    head = dense_head(ORIGIN, calibrated, ("a", "b", "c"))
    np.testing.assert_allclose(head.kernel[:, 0], 2 * Model.head.kernel[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(head.kernel[:, 1], Model.head.kernel[:, 1])
    assert head.bias[2] == pytest.approx(Model.head.bias[2] + 1)


def test_gaussians_are_refused() -> None:
    x, y = blobs(4, 40, 5)
    model = MLPClassifier((8,), max_iter=200, random_state=0).fit(x[y < 3], y[y < 3])
    clf = extend.open(model, data=(x[y < 3], y[y < 3]))
    wider, _ = extend.add_classes(clf, {"3": x[y == 3]}, method="gaussian")
    with pytest.raises(ValueError, match=r"one of Gaussians.*lda"):
        extend.export(wider, "nowhere.skops")
    assert not Path("nowhere.skops").exists()


def test_a_function_and_a_wrong_suffix(tmp_path: Path) -> None:
    x, y = blobs(2, 40, 5)
    host = extend.Backbone.from_function(identity, extend.wrap(identity, names(2), (x, y)).backbone.input_spec)
    clf = extend.wrap(host, names(2), (x, y))
    with pytest.raises(FormatError, match=r"\.onnx or \.stablehlo"):
        extend.export(clf, tmp_path / "model.tflite")
    untraceable = extend.wrap(lambda rows: np.asarray(rows) * 2, names(2), (x, y))
    with pytest.raises(ValueError, match="cannot trace"):
        extend.export(untraceable, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
