"""What several test files need: small classifiers on known features, and the folder of the data sets."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from hypothesis import settings

import extend
from extend.classifier import Classifier
from extend.data import Array
from extend.models import MLP

collect_ignore = ["data/keras2/make_keras2.py"]  # It runs where TensorFlow 2.15 is installed.


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.needs("octave", "java", "weka.jar", ...)``: skipped where one is missing, failed in CI."""
    wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
    if missing := [name for name in wanted if not _there(name)]:
        (pytest.fail if os.environ.get("EXTEND_CI") else pytest.skip)(f"{', '.join(missing)}: not installed")


def _there(name: str) -> bool:
    if name.endswith(".jar"):
        return Path("/usr/share/java", name).is_file()
    return shutil.which(name) is not None or find_spec(name) is not None


def identity(x: np.ndarray) -> np.ndarray:
    """The simplest backbone: the inputs are the features."""
    return x


def blobs(classes: int, each: int, dim: int, seed: int = 0, spread: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes around random centres: float32 ``[n, dim]``, labels ``[n]``."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = rng.normal(size=(classes, dim)) * 2
    return (centres[labels] + spread * rng.normal(size=(len(labels), dim))).astype(np.float32), labels


def names(count: int) -> list[str]:
    return [f"class {i}" for i in range(count)]


@pytest.fixture
def plain() -> Classifier:
    """Three classes of 40 samples in 5 dimensions, features = inputs, head fitted from the data."""
    x, y = blobs(4, 40, 5)
    return extend.wrap(identity, names(3), (x[y < 3], y[y < 3]))


@pytest.fixture
def network() -> Classifier:
    """An MLP with a head of its own, and a memory."""
    x, y = blobs(4, 40, 5)
    model = MLP(3, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    return extend.wrap(model, names(3), (x[y < 3], y[y < 3]))


@pytest.fixture
def fourth() -> np.ndarray:
    """Samples of a fourth class for `plain` and `network`: float32 ``[40, 5]``."""
    x, y = blobs(4, 40, 5)
    return x[y == 3]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that EXTEND_DATA names; if it is named and not there, the test fails."""
    root = os.environ.get("EXTEND_DATA")
    if not root:
        # The data sets are not part of the project: without them there is nothing that this test could run on.
        pytest.skip("EXTEND_DATA is not set; it names the folder of the data sets (see docs/performance.md)")
    assert Path(root).is_dir(), f"EXTEND_DATA is {root}, which is not a folder"
    return Path(root)


def spec(*shape: int) -> Array:
    return Array(shape)


settings.register_profile("extend", deadline=None, derandomize=True)
settings.load_profile("extend")


def several_labels() -> tuple[extend.Classifier, np.ndarray]:
    """Classes a and b that do not exclude each other (sigmoid), and 80 inputs each of a, b and a third one."""
    x, _ = blobs(3, 80, 5)
    model = MLP(2, inputs=5, hidden=(16, 8), rngs=nnx.Rngs(0))
    clf = extend.wrap(model, ["a", "b"], inputs=spec(5), activation="sigmoid")
    how = extend.Training(epochs=40, batch_size=40, learning_rate=1e-2, head_learning_rate=0.02)
    return extend.adapt(clf, {"a": x[:80], "b": x[80:160]}, training=how, head=None)[0], x
