"""PyTorch modules and their weights files: opened and written back wider; a CIFAR ResNet's weights brought to Flax.

`extend.formats.transformers` uses how a module is cut before its head (`cut`, `Cut`), how a head is read and written
(`dense_head`, `head_tensors`), and the weights files (`read_weights`, `Weights`).
"""

from extend.formats.torch._outputs import Follows
from extend.formats.torch.head import dense_head, head_tensors
from extend.formats.torch.model import TorchModel, open
from extend.formats.torch.module import Cut, cut, describe, to_numpy
from extend.formats.torch.resnet import resnet_from_torch
from extend.formats.torch.state import Weights, recognises
from extend.formats.torch.state import read as read_weights

__all__ = [
    "Cut",
    "Follows",
    "TorchModel",
    "Weights",
    "cut",
    "dense_head",
    "describe",
    "head_tensors",
    "open",
    "read_weights",
    "recognises",
    "resnet_from_torch",
    "to_numpy",
]
