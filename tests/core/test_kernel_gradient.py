"""Kernel gradients by products against XLA's own, and against sums of products in NumPy at float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.models import ResNet

NUMBERS = ("NHWC", "HWIO", "NHWC")


def arrays(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


def loops(function: Any, *arguments: Any) -> int:
    """How many loops the function's gradient by its first argument has: one for each kernel by products."""

    def scalar(*arguments: Any) -> Any:
        return (function(*arguments) ** 2).sum()

    return str(jax.make_jaxpr(jax.grad(scalar))(*arguments)).count("scan[")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5),
    st.tuples(st.integers(3, 7), st.integers(3, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_every_shape(
    n: int,
    size: tuple[int, int],
    window: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, ...],
    c: int,
    o: int,
) -> None:
    x, kernel = arrays((n, *size, c), (*window, c, o))
    padding = (pads[:2], pads[2:])

    def convolve(kernel: Any, x: Any) -> Any:
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NUMBERS)

    value, back = jax.vjp(with_matmul_kernel_gradient(convolve), kernel, x)
    expected, reference = jax.vjp(convolve, kernel, x)
    np.testing.assert_array_equal(value, expected)
    (slope,) = arrays(value.shape)
    ours, theirs = back(slope), reference(slope)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours[1], theirs[1])
    wide = np.pad(np.asarray(x, np.float64), ((0, 0), *padding, (0, 0)))
    direct = np.zeros(kernel.shape)
    for i in range(value.shape[1]):
        for j in range(value.shape[2]):
            top, left = i * strides[0], j * strides[1]
            patch = wide[:, top : top + window[0], left : left + window[1]]
            direct += np.einsum("nabc,no->abco", patch, np.asarray(slope, np.float64)[:, i, j])
    np.testing.assert_allclose(ours[0], direct, rtol=1e-4, atol=1e-4)


def test_a_network_whose_batches_are_many_times_the_cache() -> None:
    model = ResNet(3, depth=8, rngs=nnx.Rngs(0))
    model.eval()
    definition, params, rest = nnx.split(model, nnx.Param, ...)
    (x,) = arrays((48, 32, 32, 3))

    def score(params: Any, x: Any) -> Any:
        return nnx.merge(definition, params, rest)(x)

    assert loops(with_matmul_kernel_gradient(score), params, x) == 7 and loops(score, params, x) == 0
    ours = jax.grad(lambda params: (with_matmul_kernel_gradient(score)(params, x) ** 2).mean())(params)
    theirs = jax.grad(lambda params: (score(params, x) ** 2).mean())(params)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * float(jnp.abs(other).max()))


@pytest.mark.parametrize(
    "how",
    [
        {"feature_group_count": 2},
        {"rhs_dilation": (2, 2)},
        {"lhs_dilation": (2, 2)},
        {"dimension_numbers": ("NCHW", "HWIO", "NCHW")},
    ],
)
def test_others_stay_as_they_are(how: dict[str, Any]) -> None:
    groups = how.get("feature_group_count", 1)
    x, kernel = arrays((2, 6, 6, 6), (3, 3, 6 // groups, 4))

    def convolve(kernel: Any, x: Any) -> Any:
        return lax.conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), **{"dimension_numbers": NUMBERS, **how})

    assert loops(with_matmul_kernel_gradient(convolve), kernel, x) == 0
    ours = jax.grad(lambda kernel: (with_matmul_kernel_gradient(convolve)(kernel, x) ** 2).sum())(kernel)
    theirs = jax.grad(lambda kernel: (convolve(kernel, x) ** 2).sum())(kernel)
    np.testing.assert_array_equal(ours, theirs)


def test_what_surrounds_convolutions_keeps_its_derivative() -> None:
    """A function with a derivative of its own, one in jit, a loop, a literal, a random key, a tree."""
    x, kernel = arrays((3, 5, 5, 2), (3, 3, 2, 2))

    def step(y: Any, kernel: Any) -> Any:
        return jax.nn.relu(lax.conv_general_dilated(y, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS))

    def function(params: Any, x: Any, key: Any) -> Any:
        y = jax.jit(step)(x, params["kernel"])
        y = lax.fori_loop(0, 2, lambda _, y: step(y, params["kernel"]) * 0.5, y)
        kept = jax.random.bernoulli(key, 0.5, y.shape)
        return {"rows": jnp.where(kept, y, 0.0).mean(axis=(1, 2)), "one": jnp.ones(())}

    key = jax.random.key(0)
    params = {"kernel": kernel}
    value, back = jax.vjp(lambda p: with_matmul_kernel_gradient(function)(p, x, key), params)
    expected, reference = jax.vjp(lambda p: function(p, x, key), params)
    assert jax.tree.structure(value) == jax.tree.structure(expected)
    np.testing.assert_array_equal(value["rows"], expected["rows"])
    ours, theirs = back(value)[0]["kernel"], reference(expected)[0]["kernel"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_bfloat16_adds_up_in_float32() -> None:
    x, kernel = (array.astype(jnp.bfloat16) for array in arrays((64, 16, 16, 4), (3, 3, 4, 4)))

    def convolve(kernel: Any, x: Any) -> Any:
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NUMBERS)

    _, back = jax.vjp(with_matmul_kernel_gradient(convolve), kernel, x)
    ours = back(jnp.ones((64, 16, 16, 4), jnp.bfloat16))[0]
    _, reference = jax.vjp(convolve, kernel.astype(jnp.float32), x.astype(jnp.float32))
    exact = reference(jnp.ones((64, 16, 16, 4), jnp.float32))[0]
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(ours.astype(jnp.float32), exact, rtol=0.01, atol=0.01 * float(jnp.abs(exact).max()))
