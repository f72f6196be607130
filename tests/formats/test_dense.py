"""Plain feed-forward networks, against NumPy written out."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import ACTIVATIONS, DenseLayer, DenseNetwork


def layers(seed: int = 0) -> tuple[DenseLayer, DenseLayer]:
    rng = np.random.default_rng(seed)
    return (
        DenseLayer(rng.normal(size=(4, 6)), rng.normal(size=6), "tanh"),
        DenseLayer(rng.normal(size=(6, 3)), rng.normal(size=3), "softmax"),
    )


def test_outputs_are_the_formula() -> None:
    hidden, last = layers()
    scale, offset = np.asarray([1.0, 2.0, 0.5, -1.0]), np.asarray([0.0, 1.0, 2.0, 3.0])
    x = np.random.default_rng(1).normal(size=(5, 4))
    inner = np.tanh((x * scale + offset) @ hidden.kernel + hidden.bias)
    network = DenseNetwork((hidden, last), scale, offset)
    np.testing.assert_allclose(network.features(x), inner, rtol=1e-12)
    np.testing.assert_allclose(network.outputs(x), softmax(inner @ last.kernel + last.bias, axis=1), rtol=1e-12)


def test_activations() -> None:
    z = np.asarray([[-2.0, 0.0, 3.0]])
    expected = {"identity": z, "tanh": np.tanh(z), "logistic": expit(z), "relu": np.asarray([[0.0, 0.0, 3.0]])}
    expected |= {"softmax": softmax(z, axis=1), "log_softmax": np.log(softmax(z, axis=1))}
    assert expected.keys() == ACTIVATIONS.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(ACTIVATIONS[name](z), value, rtol=1e-12)


def test_another_head_leaves_the_fingerprint() -> None:
    network = DenseNetwork(layers(), np.ones(4), np.zeros(4), classes=("a", "b", "c"))
    wider = network.with_head(DenseHead(np.ones((6, 4)), np.zeros(4)), ("a", "b", "c", "d"))
    assert wider.fingerprint == network.fingerprint and wider.layers[-1].activation == "softmax"
    other = DenseNetwork(layers(1), np.ones(4), np.zeros(4))
    assert other.fingerprint != network.fingerprint
    assert DenseNetwork(layers(), np.ones(4), np.ones(4)).fingerprint != network.fingerprint


def test_what_does_not_fit_is_named() -> None:
    hidden, last = layers()
    with pytest.raises(FormatError, match="layer 2 expects 4 inputs and gets 6"):
        DenseNetwork((hidden, hidden), np.ones(4), np.zeros(4))
    with pytest.raises(FormatError, match="2 classes are named; the last layer has 3 units"):
        DenseNetwork((hidden, last), np.ones(4), np.zeros(4), classes=("a", "b"))
    with pytest.raises(FormatError, match="1 inputs are named; the network has 4"):
        DenseNetwork((hidden, last), np.ones(4), np.zeros(4), inputs=("a",))
    with pytest.raises(FormatError, match="no layers"):
        DenseNetwork((), np.ones(4), np.zeros(4))
    with pytest.raises(FormatError, match="NaN or infinity"):
        DenseNetwork((hidden, last), np.full(4, np.nan), np.zeros(4))
    with pytest.raises(FormatError, match="'sine' is not supported"):
        DenseLayer(np.eye(2), np.zeros(2), "sine")
