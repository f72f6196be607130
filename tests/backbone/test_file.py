"""Backbones that are models of other frameworks: which heads they take back, and which columns are their own."""

import numpy as np
import pytest

from extend.backbone import FileBackbone
from extend.core.errors import ArgumentError
from extend.data import Array
from extend.formats.base import DenseHead, Input
from extend.heads import Calibrated, LinearHead, QuadraticHead


class Model:
    """The part of a model that its backbone needs: its inputs are its features."""

    format = "made up"
    input = Input((5,), np.dtype("float64"))
    head = DenseHead(np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1).normal(size=3))
    classes = ("a", "b", "c")
    fingerprint = "0"

    def features(self, batch: np.ndarray) -> np.ndarray:
        return batch


def made() -> FileBackbone:
    return FileBackbone.of(Model())


def own() -> LinearHead:
    head = made().own_head
    assert head is not None
    return head


def test_what_it_can_do_is_asked_of_it() -> None:
    backbone = made()
    assert not backbone.can_trace and not backbone.can_train and backbone.own_format == "made up"
    assert backbone.inputs == Array((5,), "float64") and backbone.feature_dim == 5 and not backbone.needs_pixels
    assert backbone.holds(own()) and backbone.holds(Calibrated.of(own()))


def test_gaussians_are_not_held() -> None:
    gaussians = QuadraticHead.of(
        np.zeros(5), np.eye(5), np.zeros((5, 3)), np.zeros((5, 3)), np.zeros(3), np.zeros((5, 1)), [0], np.zeros((1, 3))
    )
    assert not made().holds(gaussians)
    with pytest.raises(ArgumentError, match=r"one of Gaussians, and a made up file holds a dense layer"):
        made().dense_head(gaussians, ("a", "b", "c"))


def test_old_columns_are_the_files_own_numbers() -> None:
    new = np.float32([[1], [2], [3], [4], [5]])
    head = made().dense_head(own().append(new, np.float32([0.5])), ("a", "b", "c", "d"))
    assert head.kernel.dtype == np.float64
    np.testing.assert_array_equal(head.kernel[:, :3], Model.head.kernel)  # float64: not what float32 keeps of them.
    np.testing.assert_array_equal(head.bias[:3], Model.head.bias)
    np.testing.assert_array_equal(head.kernel[:, 3:], new)


def test_columns_go_by_name() -> None:
    head = made().dense_head(own().drop([1]), ("a", "c"))
    np.testing.assert_array_equal(head.kernel, Model.head.kernel[:, [0, 2]])


def test_a_changed_column_is_written_as_changed() -> None:
    calibrated = Calibrated(own(), np.float32([2, 1, 1]), np.float32([0, 0, 1]), np.float32(1))
    head = made().dense_head(calibrated, ("a", "b", "c"))
    np.testing.assert_allclose(head.kernel[:, 0], 2 * Model.head.kernel[:, 0], rtol=1e-6)
    np.testing.assert_allclose(head.kernel[:, 1], Model.head.kernel[:, 1], rtol=1e-6)
    assert head.bias[2] == pytest.approx(Model.head.bias[2] + 1)


def test_columns_that_an_old_checkpoint_does_not_tell_of_are_known_by_their_bits() -> None:
    kernel, bias = Model.head.kernel.astype(np.float32), Model.head.bias.astype(np.float32)
    assert made().origin_of(kernel, bias, 0) == "file"
    assert made().origin_of(kernel[:, [2, 0]], bias[[2, 0]], 0) == "file"
    assert made().origin_of(kernel, bias, 3) == "solved"
    changed = kernel.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.float32(9))
    assert made().origin_of(changed, bias, 0) == "solved"


def test_another_order_of_columns() -> None:
    turned = made().with_columns(("c", "a", "b"))
    assert turned.own_head is not None and turned.agrees(turned.own_head, ("c", "a", "b"))
    np.testing.assert_array_equal(turned.own_head.blocks[0].kernel, own().blocks[0].kernel[:, [2, 0, 1]])
    assert not turned.agrees(own(), ("c", "a", "b")) and not turned.agrees(own(), ("c", "a", "x"))


def test_names_must_be_as_many_as_columns() -> None:
    with pytest.raises(ArgumentError, match="2 classes are named; the head of this made up model has 3 outputs"):
        FileBackbone.of(Model(), classes=["x", "y"])
    assert FileBackbone.of(Model(), classes=["x", "y", "z"]).columns == ("x", "y", "z")
