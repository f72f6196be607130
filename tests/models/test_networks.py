"""The networks that ship: shapes, and the ResNet against a plain NumPy forward pass."""

import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate

from extend.models import MLP, ConvNet, ResNet


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (MLP(3, inputs=4, hidden=(6, 5), rngs=nnx.Rngs(0)), (4,)),
        (ConvNet(3, 6, 4, 2, (3, 4), 5, rngs=nnx.Rngs(0)), (6, 4, 2)),
        (ResNet(3, 14, 4, 1, rngs=nnx.Rngs(0)), (9, 7, 1)),
    ],
)
def test_shapes_and_configuration(model: nnx.Module, shape: tuple[int, ...]) -> None:
    model.eval()
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, 3)
    again = type(model)(**model.config, rngs=nnx.Rngs(1))
    assert again(np.zeros((2, *shape), np.float32)).shape == (2, 3)


def test_an_impossible_depth() -> None:
    with pytest.raises(ValueError, match="depth is 21; a CIFAR ResNet has 6 b"):
        ResNet(3, 21, rngs=nnx.Rngs(0))


def test_resnet_is_he_et_als_with_option_a() -> None:
    model = ResNet(4, depth=8, width=2, rngs=nnx.Rngs(0))
    model.train()
    rng = np.random.default_rng(0)
    model(rng.normal(size=(8, 8, 8, 3)).astype(np.float32))  # Batch statistics that are not 0 and 1.
    model.eval()
    x = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)

    def conv(x: np.ndarray, layer: nnx.Conv, stride: int) -> np.ndarray:
        kernel = np.asarray(layer.kernel[...], np.float64)
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        out = np.zeros((*x.shape[:3], kernel.shape[3]))
        for n in range(len(x)):
            for o in range(kernel.shape[3]):
                out[n, :, :, o] = correlate(padded[n], kernel[..., o], mode="valid")[..., 0]
        return out[:, ::stride, ::stride]

    def norm(x: np.ndarray, layer: nnx.BatchNorm) -> np.ndarray:
        mean, var = np.asarray(layer.mean[...]), np.asarray(layer.var[...])
        return (x - mean) / np.sqrt(var + 1e-5) * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])

    y = np.maximum(norm(conv(x, model.conv, 1), model.norm), 0)
    for number, stage in enumerate((model.stage1, model.stage2, model.stage3)):
        block, stride = stage.layers[0], 2 if number else 1
        z = np.maximum(norm(conv(y, block.conv1, stride), block.norm1), 0)
        z = norm(conv(z, block.conv2, 1), block.norm2)
        extra = z.shape[3] - y.shape[3]
        shortcut = np.pad(y[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))
        y = np.maximum(z + shortcut, 0)
    expected = y.mean(axis=(1, 2)) @ np.asarray(model.head.kernel[...]) + np.asarray(model.head.bias[...])
    assert np.allclose(model(x), expected, atol=1e-4)
