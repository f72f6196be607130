"""Streaming through a backbone."""

from pathlib import Path

import jax
import numpy as np
import pytest

from extend import data
from extend.backbone import FunctionBackbone, extract
from tests.conftest import spec


def samples_of(count: int) -> data.Samples:
    x = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    return data.read({"a": x}, spec(4))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_every_row_comes_through_in_order(count: int) -> None:
    backbone, samples = FunctionBackbone.of(lambda x: 2 * x, spec(4)), samples_of(count)
    assert np.array_equal(extract(backbone, samples).features, 2 * samples.inputs)


def test_one_compilation_for_any_number_of_samples() -> None:
    traces = []

    def function(x: jax.Array) -> jax.Array:
        traces.append(x.shape)
        return x

    backbone = FunctionBackbone.of(function, spec(4))
    traces.clear()
    for count in (1, 100, 700):
        extract(backbone, samples_of(count))
    assert traces == [(256, 4)]


def test_a_host_function_sees_numpy_arrays_of_one_size() -> None:
    sizes = []

    def function(x: np.ndarray) -> np.ndarray:
        if not isinstance(x, np.ndarray):
            raise TypeError("NumPy arrays only")
        sizes.append(len(x))
        return x

    backbone = FunctionBackbone.of(function, spec(4), batch_size=8)
    sizes.clear()
    assert len(extract(backbone, samples_of(20))) == 20
    assert sizes == [8, 8, 8]


def test_the_cache_answers_for_the_same_samples_and_backbone_alone(tmp_path: Path) -> None:
    calls = []

    def function(params: dict, x: np.ndarray) -> np.ndarray:
        calls.append(len(np.asarray(x)))
        return np.asarray(x) * params["scale"]

    one, two = (FunctionBackbone.of(function, spec(4), params={"scale": np.float32([s])}) for s in (2, 3))
    first = extract(one, samples_of(10), cache=tmp_path)
    calls.clear()
    assert np.array_equal(extract(one, samples_of(10), cache=tmp_path).features, first.features)
    assert calls == []
    extract(two, samples_of(10), cache=tmp_path)
    extract(one, samples_of(11), cache=tmp_path)
    assert len(calls) == 2


def test_features_that_are_not_finite_are_named() -> None:
    backbone = FunctionBackbone.of(lambda x: x / 0.0, spec(4))
    with pytest.raises(ValueError, match="the backbone gave NaN or infinity for 3 samples"):
        extract(backbone, samples_of(3))


def test_relabel_maps_by_name() -> None:
    found = extract(FunctionBackbone.of(lambda x: x, spec(4)), samples_of(3))
    assert found.relabel(("z", "a")).labels.tolist() == [1, 1, 1]
