"""Taps, transforms and width against plain NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from extend.backbone import Space, Tap, Transform, Width


def test_taps_are_pooled_to_a_grid() -> None:
    output = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    space = Space((Tap("layer", 2),))
    joined = space.join(jnp.zeros((2, 1)), (jnp.asarray(output),))
    expected = output.reshape(2, 2, 4, 2, 4, 3).mean(axis=(2, 4)).reshape(2, -1)
    assert np.allclose(joined[:, 1:], expected, atol=1e-6)


def test_a_small_output_is_not_enlarged_and_an_odd_one_is_covered() -> None:
    space = Space((Tap("layer", 4),))
    assert space.join(jnp.zeros((1, 1)), (jnp.ones((1, 3, 1, 2)),)).shape == (1, 1 + 3 * 1 * 2)
    assert np.allclose(space.join(jnp.zeros((1, 1)), (jnp.ones((1, 7, 5, 1)),))[:, 1:], 1)


def test_taps_get_unit_variance_and_penultimate_features_stay() -> None:
    rows = (np.random.default_rng(0).normal(size=(500, 6)) * [1, 2, 3, 4, 5, 6]).astype(np.float32)
    space = Space((Tap("layer"),))
    mapped = np.asarray(space.map(space.fit(rows, (2, 4)), jnp.asarray(rows), 2))
    assert np.array_equal(mapped[:, :2], rows[:, :2])
    assert np.allclose((mapped[:, 2:].std(axis=0) ** 2).mean(), 1, atol=1e-3)
    assert np.allclose(mapped[:, 2] / rows[:, 2], mapped[:, 5] / rows[:, 5])  # One scale a tap.


@pytest.mark.parametrize("transform", ["sqrt", "l2", "standardise"])
def test_transforms(transform: str) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    space = Space(transform=transform, keep=False)
    mapped = np.asarray(space.map(space.fit(rows, (4,)), jnp.asarray(rows), 4))
    expected = {
        "sqrt": np.sign(rows) * np.sqrt(np.abs(rows)),
        "l2": rows / np.linalg.norm(rows, axis=1, keepdims=True),
        "standardise": (rows - rows.mean(axis=0)) / rows.std(axis=0),
    }[transform]
    assert np.allclose(mapped, expected, atol=1e-4)
    kept = Space(transform=transform)
    both = np.asarray(kept.map(kept.fit(rows, (4,)), jnp.asarray(rows), 4))
    assert np.array_equal(both[:, :4], rows) and np.allclose(both[:, 4:], expected, atol=1e-4)
    assert kept.offset(4) == 4 and space.offset(4) == 0


def test_fourier_features_approximate_a_gaussian_kernel() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    space = Space(width=Width(40_000, "fourier"), keep=False)
    mapped = np.asarray(space.map(space.init(5), jnp.asarray(rows), 5), np.float64)
    inner = 2 * mapped @ mapped.T / 40_000
    squared = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    assert np.abs(inner - np.exp(-squared / (2 * 5))).max() < 0.03


def test_relu_features_are_frozen_by_their_seed() -> None:
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)
    one, two, other = (Space(width=Width(8, seed=s), keep=False) for s in (0, 0, 1))
    a, b, c = (np.asarray(s.map(s.init(5), rows, 5)) for s in (one, two, other))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and a.min() >= 0


def test_a_space_survives_json() -> None:
    space = Space((Tap("x", 2),), "sqrt", Width(9), False)
    assert Space.from_dict(space.to_dict()) == space


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match="transform is 'log'"):
        Space(transform="log")
    with pytest.raises(ValueError, match="width is"):
        Space(width=Width(0))


@pytest.mark.parametrize("transform", ["l2", "standardise"])
@pytest.mark.parametrize("power", [-66, -27, 27, 60])
def test_transforms_follow_the_scale(transform: Transform, power: int) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    rows[:, 4] = 3  # A column that does not move.
    space, scale = Space(transform=transform, keep=False), np.float32(2.0**power)
    one, two = (np.asarray(space.map(space.fit(x, (5,)), jnp.asarray(x), 5)) for x in (rows, rows * scale))
    np.testing.assert_allclose(two, one, rtol=1e-6, atol=1e-6)
    wide = rows.astype(np.float64)
    if transform == "l2":
        expected = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    else:
        expected = (wide - wide.mean(axis=0)) / np.append(wide[:, :4].std(axis=0), 1)
    np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)


def test_a_row_of_zeros_has_no_direction() -> None:
    space = Space(transform="l2", keep=False)
    assert np.array_equal(space.map(space.init(3), jnp.zeros((2, 3)), 3), np.zeros((2, 3)))
