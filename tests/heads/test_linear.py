"""Heads: columns in blocks, Gaussians, calibration."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extend.heads import Calibrated, LinearHead, QuadraticHead


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
