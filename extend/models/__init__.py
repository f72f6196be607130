"""Small Flax NNX networks that ship with the engine; a checkpoint names one of them and its configuration."""

from extend.models.convnet import ConvNet
from extend.models.mlp import MLP
from extend.models.resnet import ResNet

__all__ = ["MLP", "ConvNet", "ResNet"]
