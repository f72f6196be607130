"""ONNX files of Flax classifiers: ONNX Runtime gives what JAX gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from flax import nnx
from jax import lax
from sklearn.datasets import load_digits

import extend
from extend.backbone import Backbone, FlaxBackbone, Tap, Width
from extend.classifier import Classifier
from extend.core.errors import FormatError
from extend.formats.jax_export import to_onnx
from extend.heads import Calibrated
from extend.models import MLP, ConvNet, ResNet
from tests.conftest import spec
from tests.formats.test_jax_export_stablehlo import filled

DIGITS = Path(__file__).parents[2] / "checkpoints" / "digits-0-7"
CIFAR = DIGITS.with_name("cifar10-8")


class Linen(nn.Module):
    """Both kinds of pooling, strides, three normalisations, three activations, dropout."""

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(8, (3, 3))(x))
        x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = nn.gelu(nn.Conv(8, (3, 3), strides=(2, 2), feature_group_count=4)(x))
        x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
        x = nn.GroupNorm(4)(nn.Conv(8, (3, 3), kernel_dilation=(2, 2), padding="VALID")(x))
        x = nn.avg_pool(x, (2, 2), strides=(1, 1), padding="SAME", count_include_pad=False)
        x = nn.LayerNorm()(nn.Dense(32)(x.reshape((x.shape[0], -1))))
        x = nn.Dropout(0.5, deterministic=not train)(nn.swish(x))
        return nn.Dense(5)(x)


class Attention(nnx.Module):
    """A sequence network; ``len(x)`` cannot be a symbol."""

    def __init__(self, rngs: nnx.Rngs, ask: bool) -> None:
        self.embed = nnx.Embed(11, 16, rngs=rngs)
        self.norm, self.out = nnx.LayerNorm(16, rngs=rngs), nnx.Linear(16, 5, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 16, decode=False, rngs=rngs)
        self.ask = ask

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.embed(x)
        x = x + self.attention(self.norm(x))
        return self.out(x.reshape(len(x), 6, 16).mean(axis=1) if self.ask else x.mean(axis=1))


def linen() -> Backbone:
    model = Linen()
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    noise = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: leaf + np.float32(0.1 * np.abs(noise.normal(size=leaf.shape))), variables)
    return FlaxBackbone.from_linen(model, variables, 5, spec(16, 16, 3))


def resnet() -> Backbone:
    model = filled(lambda: ResNet(5, depth=8, width=8, rngs=nnx.Rngs(0)))
    return FlaxBackbone.from_nnx(model, 5, spec(16, 16, 3), taps=("stage2",))


def convnet(**space: Any) -> Backbone:
    return FlaxBackbone.from_nnx(ConvNet(5, filters=(4, 8), hidden=16, rngs=nnx.Rngs(0)), 5, spec(8, 8, 1), **space)


def attention(ask: bool) -> Backbone:
    inputs = jax.ShapeDtypeStruct((6,), np.dtype(np.int32))
    return FlaxBackbone.from_nnx(Attention(nnx.Rngs(0), ask), 5, inputs)


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "mlp": lambda: FlaxBackbone.from_nnx(MLP(5, inputs=4, hidden=(8, 8), rngs=nnx.Rngs(0)), 5, spec(4)),
    "convnet": lambda: convnet(taps=("pooled", Tap("conv1", 3))),
    "fourier": lambda: convnet(taps=("conv1",), transform="sqrt", width=Width(64, "fourier")),
    "cosine": lambda: convnet(transform="l2", width=Width(64)),
    "standardised": lambda: convnet(transform="standardise"),
    "resnet": lambda: FlaxBackbone.from_nnx(
        ResNet(5, depth=14, width=8, rngs=nnx.Rngs(0)), 5, spec(16, 16, 3), taps=("stage2",)
    ),
    "linen": linen,
    "attention": lambda: attention(False),
    "mapped": lambda: attention(True),
}


def score_of(clf: Classifier) -> Callable[[Any], tuple[jax.Array, jax.Array]]:
    def score(x: Any) -> tuple[jax.Array, jax.Array]:
        logits = clf.head.logits(clf.backbone.apply(clf.backbone.params, x))
        return logits, jax.nn.softmax(logits)

    return score


def run(path: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))


SLOW = ("resnet", "linen", "convnet")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in BACKBONES])
def test_runtime_gives_what_jax_gives(name: str, tmp_path: Path) -> None:
    backbone, rng = replace(BACKBONES[name](), batch_size=8), np.random.default_rng(0)
    kernel = rng.normal(size=(backbone.feature_dim, 2)).astype(np.float32) / np.sqrt(backbone.feature_dim)
    own = backbone.own_head
    assert own is not None
    head = Calibrated.of(own.append(kernel, np.float32([0.1, -0.2])))
    clf = Classifier(backbone, head, tuple("abcdefg"))
    shape, dtype = backbone.inputs.shape, backbone.inputs.dtype
    drawn = rng.integers(0, 11, (7, *shape)) if dtype == np.int32 else rng.normal(size=(7, *shape))
    x = drawn.astype(dtype)
    path = tmp_path / "model.onnx"
    to_onnx(score_of(clf), backbone.inputs, clf.classes, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    expected = clf.decision_function(x)
    for n in (1, 7):
        logits, probabilities = run(path, x[:n])
        assert logits.shape == (n, 7)
        assert np.abs(logits - expected[:n]).max() < 1e-5 * max(1, np.abs(expected).max())
        assert np.abs(probabilities - clf.predict_proba(x[:n])).max() < 1e-5


@pytest.mark.parametrize("method", [extend.methods.Auto(), extend.methods.Gaussian()], ids=["auto", "gaussian"])
def test_the_shipped_digits_extended_by_two_classes(method: Any, tmp_path: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    clf = extend.load(DIGITS)
    x = (images / 16).reshape(-1, *clf.backbone.inputs.shape).astype(np.float32)
    if isinstance(method, extend.methods.Gaussian):
        old = labels < 8
        clf = extend.wrap(clf.backbone, clf.classes, (x[old], labels[old]), scatter="class")
    clf, _ = extend.add_classes(clf, {"8": x[labels == 8][:100], "9": x[labels == 9][:100]}, method=method)
    path = tmp_path / "digits.onnx"
    to_onnx(score_of(clf), clf.backbone.inputs, clf.classes, path)
    expected = clf.decision_function(x)
    logits, _ = run(path, x)
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
    named = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(named["classes"]) == list(clf.classes) == list("0123456789")
    assert (logits.argmax(axis=1) == labels).mean() > 0.97


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_pictures_are_normalised_inside(order: Any, tmp_path: Path) -> None:
    image = extend.Image(16, 16, 3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), order=order)
    backbone = FlaxBackbone.from_nnx(filled(lambda: ResNet(3, depth=8, width=4, rngs=nnx.Rngs(0))), 3, image)
    assert backbone.own_head is not None
    clf = Classifier(replace(backbone, batch_size=8), backbone.own_head, ("a", "b", "ü"))
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    path = tmp_path / "pictures.onnx"
    to_onnx(score_of(clf), image, clf.classes, path)
    expected = clf.decision_function(pictures)
    assert np.abs(run(path, pictures)[0] - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_the_shipped_resnet_on_pictures(tmp_path: Path) -> None:
    clf = extend.load(CIFAR)
    pictures = np.random.default_rng(0).integers(0, 256, (32, *clf.backbone.inputs.shape)).astype(np.uint8)
    path = tmp_path / "cifar.onnx"
    to_onnx(score_of(clf), clf.backbone.inputs, clf.classes, path)
    expected = clf.decision_function(pictures)
    assert np.abs(run(path, pictures)[0] - expected).max() < 1e-5 * np.abs(expected).max()


X = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
TABLE = np.random.default_rng(4).normal(size=(6, 6)).astype(np.float32)
PLACES = np.asarray([[0, 2], [1, 5]])

OPERATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "arithmetic": lambda x: (x + 1) * (2 - x) / (3 + jnp.abs(x)) - -x,
    "exponentials": lambda x: jnp.exp(x) + jnp.exp2(x) + jnp.expm1(x) + jnp.log1p(jnp.abs(x)) + jnp.log(2 + x**2),
    "powers": lambda x: x**3 + x**4 + jnp.sqrt(jnp.abs(x)) + lax.rsqrt(1 + x * x) + jnp.power(jnp.abs(x) + 1, 1.5),
    "angles": lambda x: jnp.sin(x) + jnp.cos(x) + jnp.tan(x / 9) + jnp.sinh(x) + jnp.cosh(x) + jnp.arctan(x),
    "activations": lambda x: jax.nn.gelu(x, approximate=False) + jax.nn.silu(x) + jax.nn.elu(x) + jax.nn.softplus(x),
    "erf": lambda x: lax.erf(x) + lax.erfc(x) + jnp.tanh(x),
    "rounding": lambda x: jnp.round(3 * x) + jnp.floor(x) - jnp.ceil(5 * x) + jnp.sign(x) + jnp.clip(x, -0.5, 0.5),
    "logic": lambda x: jnp.where((x > 0) & ~(x >= 1) | (x == 2) ^ (x < -1), x, -x) * (x != 0) * (x <= 3),
    "extremes": lambda x: jnp.minimum(x, x[:, ::-1]) + x.max(axis=1, keepdims=True) + x.min(axis=1, keepdims=True),
    "casts": lambda x: x.astype(jnp.int32).astype(jnp.float32) + (x > 0).astype(jnp.float32),
    "sums": lambda x: jnp.cumsum(x, axis=1) + jnp.prod(x, axis=1, keepdims=True) + jnp.argmax(x, 1, keepdims=True),
    "reversed sums": lambda x: lax.cumsum(x, axis=1, reverse=True) + jnp.argmin(x, axis=1)[:, None],
    "slices": lambda x: x[:, 1:5:2].sum(1, keepdims=True) + x[:, 3][:, None] + x[:, -2:].sum(1, keepdims=True) + x,
    "strides": lambda x: jnp.repeat(x[:, ::2], 2, axis=1) + lax.dynamic_slice_in_dim(jnp.tile(x, (1, 2)), 9, 6, 1),
    "splits": lambda x: jnp.concatenate(jnp.split(x, [2, 3], axis=1)[::-1], axis=1) + jnp.stack([x, x], 2).sum(2),
    "stacks": lambda x: jnp.moveaxis(jnp.stack([x, 2 * x]), 0, 1)[:, 1] + jnp.unstack(x, axis=1)[2][:, None],
    "grids": lambda x: x.reshape(-1, 2, 3)[:, ::1, ::2].reshape(-1, 4)[:, :1] + jnp.asarray(TABLE)[:, PLACES].sum() + x,
    "lookups": lambda x: jnp.take(jnp.asarray(TABLE), jnp.clip(jnp.abs(x[:, 0]).astype(int), 0, 5), axis=0),
    "columns": lambda x: jnp.take(x, jnp.asarray([5, 0, 0, 2, 1, 4]), axis=1),
    "products": lambda x: jnp.einsum("ni,ij,nj->nj", x, TABLE, x) + x @ TABLE.T + (x * (x @ TABLE)).sum(1)[:, None],
    "padding": lambda x: jnp.pad(x, ((0, 0), (2, 1)), constant_values=3)[:, 1:7],
    "negative padding": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-1, 1, 0))),
    "broadcasts": lambda x: jnp.concatenate([jnp.broadcast_to(TABLE[0, :3], (x.shape[0], 3)), x[:, :3]], axis=1),
    "ones": lambda x: x + jnp.broadcast_to(x[:, :1], x.shape).sum(1)[:, None] + jnp.ones_like(x).sum(1)[:, None],
    "average of sequences": lambda x: nnx.avg_pool(x[..., None], (3,), padding="SAME")[..., 0],
    "maximum of sequences": lambda x: nnx.max_pool(x[..., None], (2,), padding="SAME")[..., 0],
    "convolution of sequences": lambda x: lax.conv_general_dilated(
        x[:, None], jnp.asarray(TABLE[:1, None, :3]), (1,), "SAME", dimension_numbers=("NCH", "OIH", "NCH")
    )[:, 0],
    "checkpoints": lambda x: jax.checkpoint(jax.jit(lambda y: jnp.sin(y) * jax.nn.relu(jnp.asarray(TABLE[0]))))(x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name: str, tmp_path: Path) -> None:
    function = OPERATIONS[name]
    path = tmp_path / "operation.onnx"
    to_onnx(lambda x: (function(x), jax.nn.softmax(x)), spec(6), "abcdef", path)
    expected = np.asarray(function(jnp.asarray(X)))
    for n in (1, 4):
        given = run(path, X[:n])[0]
        assert given.dtype == expected.dtype
        assert np.abs(given - expected[:n]).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_several_inputs_by_name(tmp_path: Path) -> None:
    inputs = extend.data.Tree({"text": spec(3), "image": spec(2, 2)})

    def score(x: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        logits = x["text"] * x["image"].sum(axis=(1, 2))[:, None]
        return logits, jax.nn.softmax(logits)

    path = tmp_path / "two.onnx"
    to_onnx(score, inputs, "abc", path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["image", "text"]
    x = {"text": X[:2, :3], "image": X[:, :4].reshape(4, 2, 2)[:2]}
    assert np.allclose(session.run(["logits"], x)[0], score(jax.tree.map(jnp.asarray, x))[0])


def test_what_is_not_supported_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    def refused(function: Callable[[jax.Array], jax.Array], message: str) -> None:
        with pytest.raises(FormatError, match=message):
            to_onnx(lambda x: (function(x), x), spec(6), "abcdef", path)
        assert not path.exists()

    refused(lambda x: jnp.sort(x, axis=1), "'sort' is not supported")
    refused(lambda x: lax.scan(lambda c, _: (c + x, None), x, None, length=3)[0], "'scan' is not supported")
    refused(lambda x: lax.reduce(x, 0.0, lambda a, b: a + 2 * b, (1,))[:, None] + x, "'reduce' is not supported")
    refused(lambda x: (x.astype(jnp.bfloat16) * 2).astype(jnp.float32), "bfloat16 is not supported")
    refused(lambda x: jnp.asarray(np.asarray(x)), "JAX cannot trace the model")
    with pytest.raises(FormatError, match="3 classes are named"):
        to_onnx(lambda x: (x, x), spec(6), "abc", path)
    with pytest.raises(FormatError, match=r"\.onnx"):
        to_onnx(lambda x: (x, x), spec(6), "abcdef", tmp_path / "model.pb")
    assert not list(tmp_path.iterdir())
