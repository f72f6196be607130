"""Images a second of a training step, against PyTorch's on the same network: ``python -m benchmarks.training_speed``.

ResNet-20 (CIFAR, He et al. 2016) at batch 128, all parameters moving, batch norm measuring the batch. Ours is the loop
that `fine_tune` runs, guard against NaN and batches included; PyTorch's is SGD with momentum on the same arrays. What
makes up the difference is timed part by part: the passes over the network, and those of one convolution and of one
batch norm. Needs PyTorch (``pip install torch``). Both run on a GPU where JAX has one; each batch comes from the
host's memory. A row is added for the present version of JAX and device.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn

from benchmarks import results
from benchmarks.datasets import CIFAR10
from extend.backbone import FlaxBackbone
from extend.core.kernel_gradient import with_matmul_kernel_gradient
from extend.data import Samples
from extend.heads import LinearHead
from extend.models import ResNet
from extend.training import Anchors, Training, train_backbone

BATCH, STEPS, REPEATS = 128, 12, 3
CONV = (128, 32, 32, 16)
WHOLE = ("ours", "pytorch")
DEVICE = "cpu" if jax.default_backend() == "cpu" else "cuda"


class TorchBlock(nn.Module):
    """The block of `extend.models.resnet`, in PyTorch."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.stride, self.extra = stride, (outside - inside) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(y + nn.functional.pad(short, (0, 0, 0, 0, self.extra, self.extra)))


def torch_resnet() -> nn.Module:
    """ResNet-20 for ten classes."""
    blocks = [TorchBlock(*sizes) for sizes in [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2]
    blocks += [TorchBlock(*sizes) for sizes in [(32, 64, 2)] + [(64, 64, 1)] * 2]
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def torch_step(x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    model = torch_resnet().train().to(DEVICE)
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    inputs, labels = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y)

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs.to(DEVICE)), labels.to(DEVICE)).backward()
        optimiser.step()

    return step


def seconds(run: Callable[[], Any]) -> float:
    """The shortest of a few runs, after one to warm up."""
    times = []
    for _ in range(1 + REPEATS * 4):
        started = time.perf_counter()
        jax.block_until_ready(run())
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def ours(**options: Any) -> float:
    """Images a second of the loop, compilation left out: two trainings of different length, their difference."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (BATCH * STEPS, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, len(pictures))
    samples = Samples(pictures, labels, tuple(map(str, range(10))), np.arange(len(pictures), dtype=np.uint64))
    backbone = FlaxBackbone.from_nnx(ResNet(10, rngs=nnx.Rngs(0)), 10, CIFAR10)
    anchors = Anchors(distillation=options.pop("distillation", 0.0))
    starts = []

    def progress(steps: Any, total: int) -> Any:
        starts.append(time.perf_counter())  # An epoch ends when its last step is done, not when it is sent off.
        return steps

    how = Training(epochs=2 + REPEATS, batch_size=BATCH, balanced=False, frozen_statistics=False, **options)
    head = LinearHead.of(np.zeros((64, 10)), np.zeros(10))
    train_backbone(backbone, head, samples, how, old=8, anchors=anchors, measure=_wait, progress=progress)
    return BATCH * (STEPS + 1) / float(np.diff(starts)[1:].min())  # The last state is tried on one more batch.


def _wait(network: Any, head: LinearHead) -> dict[str, float]:
    return {"score": float(head.blocks[0].kernel[0, 0])}


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(DEVICE)


def parts(x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Seconds of JAX and of PyTorch: the network's passes, and those of one convolution and of one batch norm."""
    rng = np.random.default_rng(0)
    a, g = (rng.normal(size=CONV).astype(np.float32) for _ in range(2))
    return {**passes(x), **convolution(a, g, rng), **normalisation(a, g)}


def passes(x: np.ndarray) -> dict[str, tuple[float, float]]:
    """Of the whole network: forward as it answers, forward as it trains, and forward with all gradients."""
    backbone = FlaxBackbone.from_nnx(ResNet(10, rngs=nnx.Rngs(0)), 10, CIFAR10)
    params, inputs, model = jax.device_put(backbone.params), channels_first(x), torch_resnet().to(DEVICE)
    x = jax.device_put(x)
    key = jax.random.key(0)
    answer = jax.jit(backbone.apply)
    train = jax.jit(lambda p, x: backbone.apply_in_training(p, x, key)[0])
    rest = {name: leaf for name, leaf in params["network"].items() if name not in backbone.trainable}

    def loss(moving: Any, x: Any) -> jax.Array:
        both = {**params, "network": {**rest, **moving}}
        return with_matmul_kernel_gradient(lambda p, x: backbone.apply_in_training(p, x, key)[0])(both, x).sum()

    gradients = jax.jit(jax.value_and_grad(loss))
    moving = {name: params["network"][name] for name in backbone.trainable}

    def backward() -> None:
        model.zero_grad()
        model(inputs).sum().backward()

    found = {}
    with torch.no_grad():
        model.eval()
        found["forward pass of the network"] = seconds(lambda: answer(params, x)), seconds(lambda: model(inputs))
        model.train()
        found["the same, batch norm measuring"] = seconds(lambda: train(params, x)), seconds(lambda: model(inputs))
    found["the same, with all gradients"] = seconds(lambda: gradients(moving, x)), seconds(backward)
    return found


def convolution(a: np.ndarray, g: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Of one convolution: `a` goes in, and `g` is the gradient of what comes out."""
    k = rng.normal(size=(3, 3, 16, 16)).astype(np.float32)
    ta, tg, tk = channels_first(a), channels_first(g), torch.from_numpy(k.transpose(3, 2, 0, 1).copy()).to(DEVICE)
    a, g, k = jax.device_put((a, g, k))

    def conv(a: Any, k: Any) -> jax.Array:
        return jax.lax.conv_general_dilated(a, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    forward = jax.jit(conv)
    by_input = jax.jit(lambda a, k, g: jax.vjp(lambda a: conv(a, k), a)[1](g)[0])
    by_kernel = jax.jit(lambda a, k, g: jax.vjp(lambda k: conv(a, k), k)[1](g)[0])
    products = jax.jit(lambda a, k, g: jax.vjp(lambda k: with_matmul_kernel_gradient(conv)(a, k), k)[1](g)[0])
    grads = torch.nn.grad
    found: dict[str, tuple[float, float]] = {}
    found["one 3x3 convolution, 16 channels, 32 x 32: forward"] = (
        seconds(lambda: forward(a, k)),
        seconds(lambda: nn.functional.conv2d(ta, tk, padding=1)),
    )
    found["its gradient by the input"] = (
        seconds(lambda: by_input(a, k, g)),
        seconds(lambda: grads.conv2d_input(ta.shape, tk, tg, padding=1)),
    )
    theirs = seconds(lambda: grads.conv2d_weight(ta, tk.shape, tg, padding=1))
    found["its gradient by the kernel, as we compute it"] = seconds(lambda: products(a, k, g)), theirs
    found["its gradient by the kernel, as XLA does"] = seconds(lambda: by_kernel(a, k, g)), theirs
    return found


def normalisation(a: np.ndarray, g: np.ndarray) -> dict[str, tuple[float, float]]:
    """Of one batch norm that measures the batch, and the ReLU after it."""
    norm2d = nn.BatchNorm2d(CONV[-1], affine=False, track_running_stats=False)
    layer = nn.Sequential(norm2d, nn.ReLU()).train().to(DEVICE)
    ta, tg = channels_first(a), channels_first(g)
    a, g = jax.device_put((a, g))

    def norm(a: Any) -> jax.Array:
        mean, square = a.mean(axis=(0, 1, 2)), (a**2).mean(axis=(0, 1, 2))
        return jax.nn.relu((a - mean) * jax.lax.rsqrt(square - mean**2 + 1e-5))

    forward = jax.jit(norm)
    both = jax.jit(lambda a, g: jax.vjp(norm, a)[1](g)[0])
    ta.requires_grad_()

    def backward() -> None:
        ta.grad = None
        layer(ta).backward(tg)

    with torch.no_grad():
        ahead = seconds(lambda: forward(a)), seconds(lambda: layer(ta))
    return {
        "one batch norm and ReLU, 16 channels, 32 x 32: forward": ahead,
        "the same, with its gradient by the input": (seconds(lambda: both(a, g)), seconds(backward)),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(BATCH, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, BATCH)
    theirs = BATCH / seconds(torch_step(x, y))
    row: results.Row = {"jax": version("jax"), "device": results.device(), "torch": torch.__version__}
    row["pytorch"] = theirs
    row |= {"ours": ours(), "ours, distillation": ours(distillation=1.0)}
    row |= {"ours, bfloat16": ours(mixed_precision=True), "ours, last block": ours(select="last_block")}
    row |= {"parts": {name: [1000 * one, 1000 * two] for name, (one, two) in parts(x).items()}}
    key = operator.itemgetter("device", "jax")
    rows = [old for old in results.read_json("training_speed") if key(old) != key(row)] + [row]
    rows.sort(key=lambda row: (row["device"], [int(part) for part in row["jax"].split(".")]))
    results.write_json("training_speed", "training_speed", rows)
    results.write("training_speed", "training_speed", "A training step's throughput", lines(rows))


def lines(rows: list[results.Row]) -> list[str]:
    """Throughput, and its ratio to PyTorch's; then the parts."""
    names = ("ours", "ours, distillation", "ours, last block", "ours, bfloat16")
    out = ["| device | jax | PyTorch | " + " | ".join(names) + " |", "|" + "---|" * (3 + len(names))]
    for row in rows:
        cells = [f"{row[name]:.0f} ({row[name] / row['pytorch']:.2f})" for name in names]
        out.append(f"| {row['device']} | {row['jax']} | {row['pytorch']:.0f} ({row['torch']}) | {' | '.join(cells)} |")
    out += ["", "Images a second at batch 128; in brackets the ratio to PyTorch's in the same run.", ""]
    out += ["| part | " + " | ".join(f"{row['device']}, jax {row['jax']}, ms | PyTorch, ms" for row in rows) + " |"]
    out += ["|" + "---|" * (1 + 2 * len(rows))]
    parts: dict[str, list[Any]] = {"a whole step": [[1000 * BATCH / row[name] for name in WHOLE] for row in rows]}
    parts |= {name: [row["parts"].get(name) for row in rows] for row in rows for name in row["parts"]}
    for name, pairs in parts.items():
        cells = [" | ".join(f"{value:.3g}" for value in pair) if pair else " | " for pair in pairs]
        out.append(f"| {name} | {' | '.join(cells)} |")
    return out


if __name__ == "__main__":
    main()
