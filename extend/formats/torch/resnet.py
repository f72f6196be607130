"""CIFAR ResNets of PyTorch as this package's own: the weights of one, in the layout of the other.

The layout is that of He et al. 2016, section 4.2, as most PyTorch code names it: ``conv1``, ``bn1``,
``layer1.0.conv1``, ..., ``linear``, with shortcuts of "option A" (a strided identity, padded with zero channels).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.torch.module import to_numpy

if TYPE_CHECKING:
    from flax import nnx

    from extend.models import ResNet


def resnet_from_torch(state: Mapping[str, Any]) -> ResNet:
    """Return the network of `extend.models` with the weights of a PyTorch state_dict; depth and width are read off it.

    Its inputs are ``[n, height, width, channels]`` where PyTorch's are ``[n, channels, height, width]``.

    Parameters
    ----------
    state
        The names and the tensors of the state_dict.

    Returns
    -------
    ResNet
        The network in evaluation mode.

    Raises
    ------
    FormatError
        If a tensor is missing or has another shape, or there are others (such as shortcuts with weights).

    Examples
    --------
    >>> import torch
    >>> resnet_from_torch({"conv1.weight": torch.zeros(16, 3, 3, 3)})
    Traceback (most recent call last):
    extend.core.errors.FormatError: the weights lack 'linear.weight'; expected those of a CIFAR ResNet
    """
    from flax import nnx

    from extend.models import ResNet

    prefix = "module." if all(name.startswith("module.") for name in state) else ""
    left = {name.removeprefix(prefix): to_numpy(value) for name, value in state.items()}

    def take(name: str) -> np.ndarray:
        if name not in left:
            raise FormatError(f"the weights lack {name!r}; expected those of a CIFAR ResNet")
        return left.pop(name)

    kernel, bias, first = take("linear.weight"), take("linear.bias"), take("conv1.weight")
    blocks = sum(bool(re.fullmatch(r"layer1\.\d+\.conv1\.weight", name)) for name in left)
    if kernel.ndim != 2 or first.ndim != 4 or not blocks:
        raise FormatError("the weights are not those of a CIFAR ResNet: no layer1, or linear or conv1 of other shapes")
    width, channels = first.shape[:2]
    # Without values, all of which are set below: drawing them takes far longer.
    model = nnx.eval_shape(lambda: ResNet(len(kernel), 6 * blocks + 2, width, channels, rngs=nnx.Rngs(0)))
    _put(model.conv.kernel, first.transpose(2, 3, 1, 0), "conv1.weight")
    _norm(model.norm, "bn1", take)
    for number, stage in enumerate((model.stage1, model.stage2, model.stage3), 1):
        layers: Any = stage.layers
        for place, block in enumerate(layers):
            name = f"layer{number}.{place}"
            for part, conv, norm in ((1, block.conv1, block.norm1), (2, block.conv2, block.norm2)):
                _put(conv.kernel, take(f"{name}.conv{part}.weight").transpose(2, 3, 1, 0), f"{name}.conv{part}.weight")
                _norm(norm, f"{name}.bn{part}", take)
    _put(model.head.kernel, kernel.T, "linear.weight")
    _put(model.head.bias, bias, "linear.bias")
    if extra := [name for name in left if not name.endswith("num_batches_tracked")]:
        raise FormatError(f"the weights hold {extra[0]!r}, which a CIFAR ResNet with option A shortcuts has not")
    model.eval()
    return model


def _norm(norm: nnx.BatchNorm, name: str, take: Any) -> None:
    for variable, part in (
        (norm.scale, "weight"),
        (norm.bias, "bias"),
        (norm.mean, "running_mean"),
        (norm.var, "running_var"),
    ):
        _put(variable, take(f"{name}.{part}"), f"{name}.{part}")


def _put(variable: Any, value: np.ndarray, name: str) -> None:
    import jax.numpy as jnp

    if variable.shape != value.shape:
        raise FormatError(f"{name!r} gives {list(value.shape)}; the network expects {list(variable.shape)}")
    variable.set_value(jnp.asarray(value, np.float32))
