"""PyTorch modules for the tests of `extend.formats.torch`: written by hand, as torchvision's and timm's are shaped."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class CifarBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut of option A (He et al. 2016): a strided identity, padded with zeros."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.extra = stride, outside - inside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        half = self.extra // 2
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.extra - half))
        return functional.relu(y + short)


class CifarResNet(nn.Module):
    """A CIFAR ResNet of ``6 blocks + 2`` layers: ``[n, 3, h, w] -> [n, num_classes]``."""

    def __init__(self, blocks: int, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        sizes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(CifarBlock(*size), *(CifarBlock(size[1], size[1], 1) for _ in range(blocks - 1)))
            for size in sizes
        )
        self.linear = nn.Linear(4 * width, num_classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """What the last layer reads, ``[n, 4 width]``."""
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.features(x))


class Shaped(nn.Module):
    """A small convolutional classifier whose last layer is called as torchvision and timm call theirs.

    ``"fc"`` (ResNet), ``"classifier"`` (a Sequential of dropout and Linear: MobileNet, EfficientNet; with a hidden
    layer: VGG, AlexNet), ``"heads"`` (ViT), ``"head.fc"`` (ConvNeXt in timm), and so on.
    """

    def __init__(self, kind: str, num_classes: int = 5) -> None:
        super().__init__()
        last = nn.Linear(8, num_classes)
        # Registered before the backbone: the order of the module tree is not the order of the calls.
        if kind == "fc":
            self.fc = last
        elif kind == "classifier":
            self.classifier = nn.Sequential(nn.Dropout(0.2), last)
        elif kind == "vgg":
            self.classifier = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), last)
        elif kind == "heads":
            self.heads = nn.Sequential()
            self.heads.add_module("head", last)
        elif kind == "head.fc":
            self.head = nn.ModuleDict({"norm": nn.LayerNorm(8), "fc": last})
        self.kind = kind
        self.aux = nn.Linear(8, num_classes)  # GoogLeNet's and Inception's: not called in evaluation mode.
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x).mean(dim=(2, 3))
        if self.kind == "head.fc":
            return self.head["fc"](self.head["norm"](x))
        return getattr(self, self.kind if self.kind != "vgg" else "classifier")(x)


class FullyConvolutional(nn.Module):
    """A 1x1 convolution as the last layer, before or after the average over the image."""

    def __init__(self, pool_first: bool) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3, 2, 1)
        self.last = nn.Conv2d(8, 4, 1)
        self.pool_first = pool_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.body(x))
        if self.pool_first:
            return self.last(x.mean(dim=(2, 3), keepdim=True)).flatten(1)
        return functional.relu(self.last(x)).mean(dim=(2, 3))  # SqueezeNet.


def trained_looks(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and statistics, as no initialisation leaves them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                scaled = noise / max(1, tensor[0].numel()) ** 0.5
                tensor.copy_(noise.abs() + 0.5 if name.endswith("running_var") else scaled)
    return module.eval()
