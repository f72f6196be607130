"""StableHLO files of Flax classifiers: a fresh process that knows jax alone gives what the classifier gives."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import extend
from extend.backbone import FlaxBackbone, Width
from extend.classifier import Classifier
from extend.core.errors import FormatError
from extend.formats.jax_export import stablehlo_writer as stablehlo
from extend.models import ConvNet, ResNet
from tests.conftest import spec

READER = """
import json, sys, zipfile
import jax.export
import numpy as np

with zipfile.ZipFile(sys.argv[1]) as file:
    model = jax.export.deserialize(bytearray(file.read("model.stablehlo")))
    classes = json.loads(file.read("classes.json"))
x = np.load(sys.argv[2])
made = [model.call(x[:n]) for n in (1, len(x))]
np.savez(sys.argv[3], one=made[0]["logits"], **made[1])
known = {name.partition(".")[0] for name in sys.modules} & {"flax", "extend", "orbax", "sklearn"}
print(json.dumps([classes, sorted(known), list(model.platforms)]))
"""


def filled(make: Callable[[], nnx.Module]) -> nnx.Module:
    """A network with parameters from NumPy: drawing them with JAX takes many seconds of compilation."""
    rng = np.random.default_rng(0)
    definition, state = nnx.split(nnx.eval_shape(make))
    leaves = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.01, 0.2, leaf.shape), leaf.dtype), state)
    return nnx.merge(definition, leaves)


class Asking(nnx.Module):
    """``len(x)`` cannot be a symbol."""

    def __init__(self) -> None:
        self.out = nnx.Linear(4, 3, rngs=nnx.Rngs(0))

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(jnp.tanh(x).reshape(len(x), 4))


def classifiers() -> dict[str, tuple[Classifier, Any]]:
    rng = np.random.default_rng(0)
    image = extend.Image(16, 16, 3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    taps = {"taps": ("pooled",), "transform": "sqrt", "width": Width(64, "fourier")}
    made = {
        "pictures": (
            FlaxBackbone.from_nnx(filled(lambda: ResNet(3, depth=8, width=4, rngs=nnx.Rngs(0))), 3, image),
            rng.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8),
        ),
        "space": (
            FlaxBackbone.from_nnx(ConvNet(3, filters=(4, 8), hidden=16, rngs=nnx.Rngs(0)), 3, spec(8, 8, 1), **taps),
            rng.normal(size=(5, 8, 8, 1)).astype(np.float32),
        ),
        "asking": (FlaxBackbone.from_nnx(Asking(), 3, spec(4)), rng.normal(size=(5, 4)).astype(np.float32)),
    }
    found = {}
    for name, (backbone, x) in made.items():
        assert backbone.own_head is not None
        head = backbone.own_head.append(np.ones((backbone.own_head.rows[1], 1)), np.zeros(1))
        found[name] = Classifier(replace(backbone, batch_size=8), head, ("a", "b", "c", "ü")), x
    return found


@pytest.mark.parametrize("name", ["pictures", "space", "asking"])
def test_a_fresh_process_with_jax_alone_gives_the_same(name: str, tmp_path: Path) -> None:
    clf, x = classifiers()[name]

    def score(batch: Any) -> tuple[jax.Array, jax.Array]:
        logits = clf.head.logits(clf.backbone.apply(clf.backbone.params, batch))
        return logits, jax.nn.softmax(logits)

    stablehlo.to_stablehlo(score, clf.backbone.inputs, clf.classes, tmp_path / "model.stablehlo")
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "read.py").write_text(READER)
    command = [sys.executable, "-I", "read.py", "model.stablehlo", "x.npy", "made.npz"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={"JAX_PLATFORMS": "cpu"})
    assert ended.returncode == 0, ended.stderr
    classes, known, platforms = json.loads(ended.stdout)
    assert classes == list(clf.classes) and known == [] and platforms == ["cpu", "cuda", "tpu"]
    expected = clf.decision_function(x)
    with np.load(tmp_path / "made.npz") as made:
        assert np.abs(made["logits"] - expected).max() < 1e-5 * np.abs(expected).max()
        assert np.abs(made["one"] - expected[:1]).max() < 1e-5 * np.abs(expected).max()
        assert np.abs(made["probabilities"] - clf.predict_proba(x)).max() < 1e-5


def test_the_file_is_the_same_each_time_and_errors_write_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.stablehlo"
    for _ in range(2):
        stablehlo.to_stablehlo(lambda x: (x, jax.nn.softmax(x)), spec(2), "ab", path)
        assert sorted(zipfile.ZipFile(path).namelist()) == ["classes.json", "model.stablehlo"]
    for function, names, file, message in (
        (lambda x: (x, x), "ab", "b.zip", r"\.stablehlo"),
        (lambda x: (x, x), "abc", "b.stablehlo", "3 classes are named"),
        (lambda x: (np.asarray(x), x), "ab", "b.stablehlo", "cannot trace"),
    ):
        with pytest.raises(FormatError, match=message):
            stablehlo.to_stablehlo(function, spec(2), names, tmp_path / file)  # some are wrong on purpose

    def calls_back(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x), x

    with pytest.raises(FormatError, match="cannot lower the model"):
        stablehlo.to_stablehlo(calls_back, spec(2), "ab", tmp_path / "b.stablehlo")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.stablehlo"]
