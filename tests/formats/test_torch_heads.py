"""Where the head of a PyTorch module is, whatever the module returns and makes of its scores, against the module."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import extend
from extend.core.errors import FormatError
from extend.formats.base import Input
from extend.formats.torch import model as format
from tests.formats.test_torch import batch, named, wider

PICTURE = (3, 8, 8)


class Net(nn.Module):
    """A hidden layer and a head of k units; `end` makes of both what the module returns."""

    def __init__(self, end: Any, k: int = 3) -> None:
        super().__init__()
        torch.manual_seed(k)
        self.body, self.fc, self.end = nn.Linear(4, 8), nn.Linear(8, k), end

    def forward(self, x: torch.Tensor) -> Any:
        features = torch.relu(self.body(x))
        return self.end(self.fc(features), features)


Pair = namedtuple("Pair", ["embedding", "scores"])  # As old code returns it.


@dataclass
class Output:
    """What such libraries as transformers return."""

    prediction: Any
    hidden: Any


RETURNS = {
    "tuple": lambda z, f: (z, f),
    "tuple, features first": lambda z, f: (f, z),
    "list": lambda z, f: [f, z],
    "dict": lambda z, f: {"feature": f, "out": z},
    "ordered": lambda z, f: OrderedDict(out=z, loss=None),
    "logits": lambda z, f: {"logits": z, "hidden": f},
    "named tuple": lambda z, f: Pair(f, z),
    "data class": lambda z, f: Output(z, f),
    "nested": lambda z, f: (f, {"pred": (z,)}),
    "probabilities": lambda z, f: (f, torch.softmax(z, 1)),
}


@pytest.mark.parametrize("kind", RETURNS)
def test_scores_are_found_in_what_a_module_returns(kind: str, tmp_path: Path) -> None:
    net = Net(RETURNS[kind]).eval()
    opened = format.open(net, input=(4,))
    assert opened.cut.path == "fc"
    x = batch(6, 4)
    np.testing.assert_array_equal(opened.features(x.numpy()), torch.relu(net.body(x)).detach().numpy())
    torch.save(net.state_dict(), tmp_path / "net.pt")
    clf = extend.load(tmp_path / "net.pt", model=net, inputs=extend.Array((4,), "float32"))
    clf, _ = extend.add_classes(clf, {"new": batch(5, 4).numpy() + 4})
    extend.save(clf, tmp_path / "wide.pt")
    Net(RETURNS[kind], 4).load_state_dict(torch.load(tmp_path / "wide.pt"))


def test_an_output_can_be_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor) -> Any:
            return {"coarse": self.a(x), "fine": self.b(x)}

    with pytest.raises(FormatError, match=r"Two returns coarse \[3, 3\], fine \[3, 5\]: several .* with output="):
        format.open(Two(), input=(4,))
    assert format.open(Two(), input=(4,), output="fine").cut.path == "b"
    assert extend.wrap(Two(), named(3), inputs=extend.Array((4,)), output="coarse").backbone.own_head.num_classes == 3
    with pytest.raises(FormatError, match=r"output='x' is none that Two returns; there are: coarse .*, fine"):
        format.open(Two(), input=(4,), output="x")
    assert format.open(Net(lambda z, f: (f, z)), input=(4,), output=1).cut.path == "fc"
    assert format.open(Net(lambda z, f: Pair(f, z)), input=(4,), output="scores").cut.path == "fc"
    assert format.open(Net(lambda z, f: Pair(f, z)), input=(4,), output=1).cut.path == "fc"
    with pytest.raises(FormatError, match=r"no dense layer gives the output \[3, 8\]"):
        format.open(Net(lambda z, f: (f, z)), input=(4,), output=0)
    with pytest.raises(FormatError, match="returns no tensor: none comes from a dense layer"):
        format.open(Net(lambda z, f: "x"), input=(4,))


ENDS = {
    "temperature": (lambda z, f: z / 0.07, "scores", 1 / 0.07),
    "scale and softmax": (lambda z, f: torch.softmax(4 * z, 1), "softmax", 4),
    "scale and log_softmax": (lambda z, f: functional.log_softmax(z / 2, dim=-1), "log_softmax", 0.5),
    "scale and sigmoid": (lambda z, f: torch.sigmoid(3 * z), "sigmoid", 3),
    "flatten": (lambda z, f: z.flatten(1), "scores", 1),
}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaled_scores(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    end, ending, scale = ENDS[kind]
    net = Net(end).eval().to(dtype)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    opened = format.open(tmp_path / "net.pt", model=net, input=(4,))
    assert opened.cut.follows.ending == ending
    np.testing.assert_allclose(opened.cut.follows.scale, scale, rtol=1e-5)
    x = batch(6, 4)
    head = wider(opened.head)
    opened.save(tmp_path / "wide.pt", head, named(5))
    wide = Net(end, 5).to(dtype)
    wide.load_state_dict(torch.load(tmp_path / "wide.pt"))
    assert torch.equal(wide.fc.weight[:3], net.fc.weight) and torch.equal(wide.fc.bias[:3], net.fc.bias)
    scores = opened.features(x.numpy()) @ head.kernel + head.bias
    np.testing.assert_allclose(wide.fc(wide.body(x.to(dtype)).relu()).detach().numpy() * scale, scores, atol=1e-4)
    before = opened.features(x.numpy()) @ opened.head.kernel + opened.head.bias
    if ending != "scores":
        link = {"softmax": torch.softmax, "log_softmax": torch.log_softmax, "sigmoid": lambda z, _: torch.sigmoid(z)}
        before = link[ending](torch.tensor(before), 1).numpy()
    np.testing.assert_allclose(before, net(x.to(dtype)).detach().numpy(), atol=1e-4)
    again = format.open(tmp_path / "wide.pt", model=Net(end, 5).to(dtype), input=(4,))
    assert again.fingerprint == opened.fingerprint


class Normed(nn.Module):
    """A BatchNorm after the head, which its scores do not decide."""

    def __init__(self, kind: str, k: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.fc, self.bn, self.kind = nn.Linear(4, 8), nn.Linear(8, k), nn.BatchNorm1d(k), kind
        self.bn.weight.data, self.bn.running_mean = torch.linspace(-2, 2, k), torch.linspace(-1, 1, k)
        self.last = nn.Linear(k, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.fc(torch.relu(self.body(x)))
        ends = {"bn": self.bn, "relu": torch.relu, "tanh": torch.tanh, "negative": lambda z: -z, "last": self.last}
        return {"flip": lambda z: z.flip(1), "residual": lambda z: z + x[:, :3]}.get(self.kind, ends.get(self.kind))(z)  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["bn", "relu", "tanh", "negative", "last", "flip", "residual"])
def test_a_named_head_must_decide_the_output(kind: str) -> None:
    net = Normed(kind).eval()
    with pytest.raises(FormatError, match=r"head='fc' does not decide the output \[3, 3\] of Normed"):
        format.open(net, input=(4,), head="fc")
    with pytest.raises(FormatError, match="head='body' does not decide"):
        format.open(net, input=(4,), head="body")
    if kind == "last":
        assert format.open(net, input=(4,), head="last").cut.path == "last"


class Shapes(nn.Module):
    """Convolutions over single pixels, and dense layers over tokens, as heads."""

    def __init__(self, kind: str, k: int = 4) -> None:
        super().__init__()
        torch.manual_seed(k)
        self.kind = kind
        self.body = nn.Conv2d(3, 6, 3, 2, 1)
        self.line = nn.Conv1d(4, 6, 3)
        self.pixels, self.steps, self.tokens = nn.Conv2d(6, k, 1), nn.Conv1d(6, k, 1), nn.Linear(6, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "sound":
            return self.steps(torch.relu(self.line(x))).mean(-1)
        maps = torch.relu(self.body(x))
        if self.kind == "pixels":
            return functional.adaptive_avg_pool2d(self.pixels(maps), 1).flatten(1)
        if self.kind == "pixels and softmax":
            return torch.softmax(self.pixels(maps).mean((2, 3)), 1)
        if self.kind == "squeezenet":
            return torch.relu(self.pixels(maps)).mean((2, 3))
        if self.kind == "tokens":
            return self.tokens(maps.flatten(2).transpose(1, 2)).mean(1)
        return self.tokens(maps.flatten(2).transpose(1, 2)).amax(1)


@pytest.mark.parametrize("kind", ["sound", "pixels", "pixels and softmax", "tokens"])
def test_scores_averaged_over_pixels_or_tokens(kind: str, tmp_path: Path) -> None:
    net = Shapes(kind).eval()
    shape: Any = Input((4, 12), np.dtype("float32")) if kind == "sound" else PICTURE
    opened = format.open(net, input=shape)
    assert opened.cut.follows.pooled and "the mean over pixels or tokens" in opened.describe()["head"]
    x = batch(5, *(shape.shape if kind == "sound" else shape))
    head = wider(opened.head)
    opened.save(tmp_path / "net.pt", head, named(6))
    six = Shapes(kind, 6)
    six.load_state_dict(torch.load(tmp_path / "net.pt"))  # The heads that are not called are as wide.
    scores = opened.features(x.numpy()) @ head.kernel + head.bias
    expected = six.eval()(x).detach().numpy()
    given = np.exp(scores) / np.exp(scores).sum(1, keepdims=True) if "softmax" in kind else scores
    np.testing.assert_allclose(given, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["squeezenet", "largest"])
def test_other_heads_over_pixels_are_refused(kind: str) -> None:
    with pytest.raises(FormatError, match=r"no dense layer gives the output \[3, 4\] of Shapes; called in this order"):
        format.open(Shapes(kind), input=PICTURE)


@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_computed_weights_are_refused_with_what_to_do(norm: Any) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), norm(nn.Linear(6, 3)))
    with pytest.raises(FormatError, match=r"weight of the head '2' .*remove_parametrizations"):
        format.open(net, input=(4,))
    nn.utils.parametrize.remove_parametrizations(net[2], "weight")
    assert format.open(net, input=(4,)).head.num_classes == 3


def test_functions_that_read_a_layer_without_calling_it_are_seen(tmp_path: Path) -> None:
    """An attention layer as wide as the classes is many is no second head."""

    class Attending(nn.Module):
        def __init__(self, k: int = 4) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True)
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.hidden, self.fc = nn.Linear(4, 4), nn.Linear(4, k)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.layer(x)
            x = functional.linear(self.attention(x, x, x)[0], self.hidden.weight)
            return self.fc(x.mean(1))

    net = Attending().eval()
    opened = format.open(net, input=Input((5, 4), np.dtype("float32")))
    assert opened.cut.path == "fc" and opened.cut.siblings == ()
    opened.save(tmp_path / "wide.pt", wider(opened.head), named(6))
    Attending(6).load_state_dict(torch.load(tmp_path / "wide.pt"))


def test_every_head_of_one_module_becomes_as_wide(tmp_path: Path) -> None:
    """Inception's and GoogLeNet's second heads; those that are returned in evaluation mode too."""

    class Several(nn.Module):
        def __init__(self, k: int = 3, returned: bool = False) -> None:
            super().__init__()
            self.returned = returned
            self.body, self.fc = nn.Conv2d(3, 6, 3, 2, 1), nn.Linear(6, k)
            self.AuxLogits = nn.ModuleDict({"fc": nn.Linear(3, k)})
            self.aux2 = nn.Sequential(nn.Linear(3, k), nn.ReLU(), nn.Linear(k, k))

        def forward(self, x: torch.Tensor) -> Any:
            z, early = self.fc(self.body(x).relu().mean((2, 3))), x.mean((2, 3))
            return {"out": z, "aux": self.AuxLogits["fc"](early)} if self.training or self.returned else z

    for returned in (False, True):
        net = Several(returned=returned).eval()
        net.aux2 = None  # type: ignore[assignment]
        opened = format.open(net, input=PICTURE, output="out" if returned else None)
        assert opened.cut.path == "fc" and opened.cut.siblings == ("AuxLogits.fc",)
        opened.save(tmp_path / "wide.pt", wider(opened.head), named(5))
        five = Several(5)
        five.aux2 = None  # type: ignore[assignment]
        five.load_state_dict(torch.load(tmp_path / "wide.pt"))
        assert torch.equal(five.AuxLogits["fc"].weight[:3], net.AuxLogits["fc"].weight)


def test_a_torchscript_module_is_refused() -> None:
    with pytest.warns(DeprecationWarning):
        traced = torch.jit.trace(nn.Linear(4, 3), torch.zeros(1, 4))
    with pytest.raises(FormatError, match="TorchScript"):
        extend.wrap(traced, named(3), inputs=extend.Array((4,)))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_colours_of_the_first_convolution(channels: int, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(channels, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    clf = extend.load(tmp_path / "net.pt", model=lambda: net, pixels="unit", size=28)
    x = np.random.default_rng(0).integers(0, 256, (4, 28, 28, channels), np.uint8)
    expected = net(torch.tensor(x / 255, dtype=torch.float32).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(clf.decision_function(x), expected, atol=1e-5)
