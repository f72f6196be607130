"""Heads: columns in blocks, Gaussians, calibration."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extend.heads import Calibrated, LinearHead, QuadraticHead, serialise


def head_of(*widths: int, dim: int = 4) -> LinearHead:
    rng = np.random.default_rng(0)
    head = LinearHead.of(rng.normal(size=(dim, widths[0])), rng.normal(size=widths[0]))
    for width in widths[1:]:
        head = head.append(rng.normal(size=(dim, width)), rng.normal(size=width))
    return head


def test_logits_are_the_linear_map_in_float64() -> None:
    head = head_of(2, 3)
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    kernel, bias = head.dense(4)
    expected = x.astype(np.float64) @ kernel + bias
    assert np.allclose(head.logits(jnp.asarray(x)), expected, atol=1e-5)
    assert np.allclose(head.scores(x), expected)


def test_a_block_reads_its_own_part_of_the_features() -> None:
    head = LinearHead.of(np.ones((2, 1)), np.zeros(1)).append(np.ones((3, 1)), np.zeros(1), start=2)
    x = jnp.arange(5.0)[None]
    assert head.logits(x).tolist() == [[1.0, 9.0]]
    assert head.rows == (0, 5)
    kernel, _ = head.dense(5)
    assert (np.asarray(x) @ kernel).tolist() == [[1.0, 9.0]]


@pytest.mark.parametrize("gone", [[0], [4], [1, 2], [2, 3, 4], [0, 1]])
def test_drop_leaves_the_other_columns(gone: list[int]) -> None:
    head = head_of(2, 3)
    kernel, bias = head.dense(4)
    left = [i for i in range(5) if i not in gone]
    for one, two in zip(head.drop(gone).dense(4), (kernel[:, left], bias[left]), strict=True):
        assert np.array_equal(one, two)


def test_permute_moves_columns() -> None:
    head, order = head_of(2, 3), [4, 0, 1, 3, 2]
    kernel, bias = head.dense(4)
    moved, shift = head.permute(order).dense(4)
    assert np.array_equal(moved, kernel[:, order]) and np.array_equal(shift, bias[order])


def test_calibration_is_a_scale_a_temperature_and_an_offset() -> None:
    head = head_of(2, 1)
    scale, offset = np.float32([1, 2, 3]), np.float32([0, 1, -1])
    calibrated = Calibrated(head, scale, offset, np.float32(4))
    x = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    expected = head.scores(x) * scale / 4 + offset
    assert np.allclose(calibrated.scores(x), expected) and np.allclose(calibrated.logits(x), expected, atol=1e-5)
    kernel, bias = calibrated.dense(4)
    assert np.allclose(x @ kernel + bias, expected, atol=1e-5)
    assert np.allclose(calibrated.drop([1]).scores(x), expected[:, [0, 2]])
    wider = calibrated.append(np.ones((4, 1)), np.ones(1))
    assert np.allclose(wider.scores(x)[:, 3], x.sum(axis=1) + 1, atol=1e-5)
    assert Calibrated.of(calibrated) is calibrated


def test_gaussians_take_no_columns() -> None:
    head = QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]])
    assert jax.tree.map(lambda a: a, head).num_classes == 2 and head.rows == (0, 1)
    with pytest.raises(ValueError, match="cannot be appended"):
        Calibrated.of(head).append(np.ones((1, 1)), np.ones(1))
    with pytest.raises(ValueError, match="no kernel"):
        Calibrated.of(head).dense(1)


def test_a_head_is_a_pytree() -> None:
    head = head_of(2, 1)
    doubled = jax.tree.map(lambda a: 2 * a, head)
    assert doubled.num_classes == 3 and doubled.blocks[0].start == 0


@pytest.mark.parametrize(
    "head",
    [
        LinearHead.of(np.ones((3, 2)), np.ones(2)),
        Calibrated.of(LinearHead.of(np.ones((3, 2)), np.ones(2))),
        QuadraticHead.of([0], [[1]], [[-0.5, -0.5]], [[0, 1]], [0, -0.5], [[0]], [0], [[0, 0]]),
    ],
)
def test_products_are_in_full_precision_where_a_device_has_a_lower_one(head: Any) -> None:
    equations = jax.make_jaxpr(head.logits)(np.ones((4, 3), np.float32)).eqns
    products = [e for e in equations if e.primitive.name == "dot_general"]
    assert products
    assert all(e.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2 for e in products)


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"kernel \[4, 2\] and bias \[3\]"):
        LinearHead.of(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="cannot drop"):
        head_of(2).drop([0, 1])
    with pytest.raises(ValueError, match="not a permutation"):
        head_of(2).permute([0, 0])


def centred(k: int = 3) -> tuple[LinearHead, np.ndarray, np.ndarray]:
    """A head about a centre, features that lie around it, and their scores in float64."""
    rng = np.random.default_rng(3)
    centre = 1e6 + rng.normal(size=4)  # Float32 cannot hold it.
    kernel, bias = rng.normal(size=(4, k)).astype(np.float32), rng.normal(size=k)
    x = (centre + 3 * rng.normal(size=(50, 4))).astype(np.float32)
    expected = (x.astype(np.float64) - centre) @ kernel.astype(np.float64) + bias
    return LinearHead.of(kernel, bias, centre=centre), x, expected


def test_a_centre_keeps_the_digits_of_scores() -> None:
    head, x, expected = centred()
    assert np.allclose(head.logits(x), expected, atol=1e-5) and np.allclose(head.scores(x), expected, atol=1e-5)
    kernel, bias = head.dense(4)
    plain = LinearHead.of(kernel, bias)
    assert np.abs(np.asarray(plain.logits(x)) - expected).max() > 0.05  # What float32 does without one.
    assert bias.dtype == np.float64 and np.allclose(x.astype(np.float64) @ kernel + bias, expected, atol=1e-5)
    assert plain.dense(4)[1].dtype == np.float32


def test_columns_about_a_centre_are_dropped_moved_calibrated_and_joined() -> None:
    head, x, expected = centred()
    assert np.allclose(head.drop([1]).logits(x), expected[:, [0, 2]], atol=1e-5)
    assert np.allclose(head.permute([2, 0, 1]).logits(x), expected[:, [2, 0, 1]], atol=1e-5)
    corrected = Calibrated(head, np.float32([1, 2, 3]), np.float32([0, 1, 0]), np.float32(2))
    wanted = expected * [1, 2, 3] / 2 + [0, 1, 0]
    linear = corrected.as_linear()
    assert linear is not None and np.allclose(linear.logits(x), wanted, atol=1e-5)
    other = 2e6 + np.arange(4.0)
    appended = corrected.append(np.full((4, 1), 1e-3), np.zeros(1), centre=other)
    wanted = np.column_stack([wanted, ((x.astype(np.float64) - other) * np.float32(1e-3)).sum(axis=1)])
    assert np.allclose(appended.logits(x), wanted, atol=1e-3)
    linear = appended.as_linear()
    assert linear is not None
    one = linear.in_one_block(4)
    assert len(one.blocks) == 1 and np.allclose(one.logits(x), wanted, atol=1e-3)


def test_a_centre_is_saved_bit_for_bit() -> None:
    head, x, _ = centred()
    whole = head.append(np.ones((4, 1)), np.zeros(1))
    arrays, saved = serialise.to_tree(whole)
    again = serialise.from_tree(arrays, saved, lambda *_: "solved")
    assert np.array_equal(whole.logits(x), again.logits(x)) and "centre" not in arrays["head"]["1"]


def test_a_centre_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"centre \[3\] given; expected \[4\]"):
        LinearHead.of(np.zeros((4, 2)), np.zeros(2), centre=np.ones(3))
