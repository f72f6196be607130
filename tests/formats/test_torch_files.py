"""The files that people have of PyTorch, read as inert data, against what ``torch.load`` itself makes of them."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import pathlib
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import extend
from extend.core.errors import ArgumentError, FormatError
from extend.formats.base import DenseHead
from extend.formats.torch import model as format
from extend.formats.torch import state as torch_state
from tests.formats.test_torch import named, wider


class Net(nn.Module):
    """A hidden layer and a head, with or without a second head that only training uses, or a bias."""

    def __init__(self, k: int = 3, aux: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.fc = nn.Linear(8, k, bias=bias)
        self.aux = nn.Linear(4, k) if aux else None

    def forward(self, x: torch.Tensor) -> Any:
        scores = self.fc(torch.relu(self.body(x)))
        return (scores, self.aux(x)) if self.training and self.aux is not None else scores


class Colour(enum.Enum):
    """Some enumeration of a training script."""

    RED = 1


class Settings:
    """A class of a training script, which no reader of the file has."""

    def __init__(self) -> None:
        self.rate, self.again = 0.1, self


class Cased(dict):  # type: ignore[type-arg]
    """A dict of another kind, as configurations often are."""


def state(seed: int = 0, prefix: str = "", **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    found = Net(**options).state_dict()
    return collections.OrderedDict((prefix + name, value) for name, value in found.items()) if prefix else found


def widened(
    file: Path, out: Path, more: int = 1, make: Any = Net, **options: Any
) -> tuple[format.TorchModel, DenseHead]:
    """Open a file, write it with new random columns; the opened model and the new head."""
    opened = format.open(file, model=make, input=(4,), **options)
    head = wider(opened.head, more)
    opened.save(out, head, named(head.num_classes))
    return opened, head


def check(wide: Any, old: Any, head: DenseHead, prefix: str = "") -> None:
    """A wide state_dict loads into a wider module, whose new scores are those of the head, and old ones as before."""
    k = head.num_classes
    module, before = Net(k).eval(), Net(len(old[f"{prefix}fc.weight"])).eval()
    for net, given in ((module, wide), (before, old)):
        net.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in given.items()
                if name.startswith((f"{prefix}body", f"{prefix}fc"))
            }
        )
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        scores, was, features = module(x), before(x), torch.relu(before.body(x))
    assert torch.equal(scores[:, : was.shape[1]], was)
    expected = features.numpy() @ head.kernel[:, was.shape[1] :] + head.bias[was.shape[1] :]
    np.testing.assert_allclose(scores[:, was.shape[1] :].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "key", ["net", "weights", "model_state", "params", "state_dict", "module", "generator.encoder", "a.b.c"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "model._orig_mod.", "module.backbone."])
def test_weights_under_any_key_and_prefix(key: str, prefix: str, tmp_path: Path) -> None:
    old: Any = state(prefix=prefix)
    content = old
    for name in reversed(key.split(".")):
        content = {"epoch": 3, name: content, "acc": 91.2}
    torch.save(content, tmp_path / "net.pt")
    opened, head = widened(tmp_path / "net.pt", tmp_path / "wide.pt")
    wide = torch.load(tmp_path / "wide.pt", weights_only=True)
    for name in key.split("."):
        assert list(wide) == ["epoch", name, "acc"] and wide["epoch"] == 3
        wide = wide[name]
    assert list(wide) == list(old)
    check(wide, old, head, prefix)
    again = format.open(tmp_path / "wide.pt", model=Net, input=(4,))
    assert again.fingerprint == opened.fingerprint and again.head.equals(head)


def test_wrappers_inside_names_and_around_the_module(tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self, k: int = 3) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
            self.classifier = nn.Linear(8, k)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.features(x))

    parallel = Outer()
    parallel.features = nn.DataParallel(parallel.features)  # As PyTorch's ImageNet example does for AlexNet and VGG.
    torch.save(parallel.state_dict(), tmp_path / "parallel.pt")
    assert "features.module.0.weight" in parallel.state_dict()
    opened, _ = widened(tmp_path / "parallel.pt", tmp_path / "wide.pt", make=Outer)
    x = torch.randn(5, 4)
    np.testing.assert_array_equal(opened.features(x.numpy()), parallel.features.module(x).detach().numpy())
    assert list(torch.load(tmp_path / "wide.pt")) == list(parallel.state_dict())

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Outer()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    torch.save(Outer().state_dict(), tmp_path / "plain.pt")
    _, head = widened(tmp_path / "plain.pt", tmp_path / "wide.pt", make=Wrapped)
    four = Outer(4)
    four.load_state_dict(torch.load(tmp_path / "wide.pt"))
    np.testing.assert_allclose(four.classifier.weight.detach().numpy().T, head.kernel)
    for module in (nn.DataParallel(Outer()), torch.compile(Outer()), nn.DataParallel(Outer())):
        assert format.open(module, input=(4,)).head.num_classes == 3
        assert format.open(tmp_path / "plain.pt", model=module, input=(4,)).cut.path == "classifier"


INERT = {
    "best_acc": np.float64(0.9),
    "curve": np.arange(3.0),
    "names": np.array(["ant", "bee"]),
    "args": argparse.Namespace(lr=0.1, milestones=[30, 60]),
    "folder": pathlib.PurePosixPath("/data/x"),
    "when": datetime.datetime(2024, 5, 1, 12, 30),
    "took": datetime.timedelta(seconds=5),
    "shape": torch.Size([3, 4]),
    "dtype": torch.bfloat16,
    "device": torch.device("cuda:1"),
    "colour": Colour.RED,
    "counts": collections.Counter("abca"),
    "default": collections.defaultdict(list, a=[1]),
    "cased": Cased(a=1),
    "some": {1, 2},
    "frozen": frozenset({3}),
    "nested key": {("a", ("b", 1)): 2},
    "complex": 1 + 2j,
    "bytes": b"\x00\xff",
    "array": bytearray(b"xy"),
    "slice": slice(1, 2),
    "large": 1 << 3000,
    "function": nn.functional.relu,
    "class": nn.ReLU,
    "storage": torch.arange(3).untyped_storage(),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_weights_is_kept(protocol: int, zipped: bool, tmp_path: Path) -> None:
    old = state()
    given = {**INERT, "hyper_parameters": Settings(), "state_dict": old}
    if not zipped:
        del given["storage"]
    torch.save(given, tmp_path / "net.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    _, head = widened(tmp_path / "net.pt", tmp_path / "wide.pt")
    kept = torch.load(tmp_path / "wide.pt", weights_only=False)
    check(kept["state_dict"], old, head)
    assert list(kept) == list(given)
    for name in INERT.keys() & given.keys():
        if name == "storage":
            assert kept[name].tolist() == given[name].tolist()
        else:
            assert type(kept[name]) is type(given[name])
            assert np.array_equal(kept[name], given[name]) if name in ("curve", "names") else kept[name] == given[name]
    settings = kept["hyper_parameters"]
    assert type(settings) is Settings and settings.rate == 0.1 and settings.again is settings


def test_tensors_of_every_kind_are_those_of_torch(tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    kinds = [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
    ]
    kinds += [torch.bool, torch.complex64, torch.complex128, torch.uint16, torch.uint64, torch.float8_e4m3fn]
    tensors = {str(kind): torch.arange(5).to(kind) for kind in kinds}
    tensors |= {"turned": whole.T, "part": whole[1:3, ::2], "wide": whole[:1].expand(2, 6), "empty": torch.zeros(0, 3)}
    tensors |= {"number": torch.tensor(3.5), "parameter": nn.Parameter(torch.ones(2)), "whole": whole}
    for zipped in (True, False):
        if not zipped:  # Which PyTorch cannot write in the old format.
            tensors = {name: value for name, value in tensors.items() if "uint16" not in name and "uint64" not in name}
            del tensors["torch.float8_e4m3fn"]
        torch.save(tensors, tmp_path / "all.pt", _use_new_zipfile_serialization=zipped)
        found = torch_state.read(tmp_path / "all.pt").state
        assert list(found) == list(tensors)
        for name, value in tensors.items():
            assert found[name].dtype == value.dtype and found[name].stride() == value.stride(), name
            assert type(found[name]) is type(value)
            same = [part.contiguous().view(torch.uint8) if part.ndim else part for part in (found[name], value)]
            assert torch.equal(*same), name
        assert found["part"].untyped_storage().data_ptr() == found["whole"].untyped_storage().data_ptr()


@pytest.mark.parametrize("name", ["epoch=3.ckpt", "model_best.pth.tar", "net.tar", "weights", "net.pkl", "net.model"])
def test_suffixes_do_not_matter(name: str, tmp_path: Path) -> None:
    torch.save({"state_dict": state(prefix="model.")}, tmp_path / name)
    clf = extend.load(tmp_path / name, model=Net, inputs=extend.Array((4,), "float32"))
    clf, _ = extend.add_classes(clf, {"new": np.full((5, 4), 4, "float32")})
    extend.save(clf, tmp_path / (name if Path(name).suffix in (".ckpt", ".tar", "") else "wide.pt"))
    save_file(state(), tmp_path / "safe")
    assert extend.load(tmp_path / "safe", model=Net, inputs=extend.Array((4,), "float32")).classes == named(3)


def test_lightning_and_other_files_with_more_than_the_module(tmp_path: Path) -> None:
    more = {"criterion.weight": torch.ones(3), "metric.total": torch.tensor(4), "steps": 7}
    given = {"state_dict": {**state(prefix="model."), **more}, "pytorch-lightning_version": "2.4.0"}
    torch.save(given, tmp_path / "net.ckpt")
    opened, head = widened(tmp_path / "net.ckpt", tmp_path / "wide.ckpt")
    assert opened.extra == ("criterion.weight", "metric.total", "steps")
    assert "not the module's: 'criterion.weight', 'metric.total', 'steps'" in opened.describe()["limits"]
    wide = torch.load(tmp_path / "wide.ckpt")["state_dict"]
    assert list(wide) == list(given["state_dict"]) and torch.equal(wide["criterion.weight"], torch.ones(3))
    check(wide, given["state_dict"], head, "model.")

    deeper = {**state(), "body.extra.weight": torch.ones(2)}  # Another network, of which this one is a part.
    torch.save(deeper, tmp_path / "deeper.pt")
    with pytest.raises(FormatError, match=r"unknown to it: 'body\.extra\.weight'"):
        format.open(tmp_path / "deeper.pt", model=Net, input=(4,))


def averages() -> dict[str, Any]:
    """Files that hold a second copy of the weights, by where it is."""
    averaged = torch.optim.swa_utils.AveragedModel(Net())
    averaged.load_state_dict({"n_averaged": torch.tensor(2), **state(1, "module.")})
    return {
        "timm": {"state_dict": state(), "state_dict_ema": state(1)},
        "torchvision": {"model": state(), "model_ema": averaged.state_dict()},
        "nested": {"ema": {"shadow": state(1), "decay": 0.9}, "net": state()},
        "flat": {"state_dict": {**state(prefix="model."), **state(1, "ema_model.module.")}},
        "list": {"net": state(), "ema": {"shadow_params": list(state(1).values()), "num_updates": 3}},
        "first": {"model_ema": state(1), "model": state()},
    }


@pytest.mark.parametrize("kind", averages())
def test_every_copy_of_the_head_becomes_as_wide(kind: str, tmp_path: Path) -> None:
    torch.save(averages()[kind], tmp_path / "net.pt")
    opened, head = widened(tmp_path / "net.pt", tmp_path / "wide.pt")
    wide = torch.load(tmp_path / "wide.pt", weights_only=True)
    main = {"flat": lambda: wide["state_dict"], "timm": lambda: wide["state_dict"]}.get(
        kind, lambda: wide.get("net", wide.get("model"))
    )()
    check(main, state(prefix="model." if kind == "flat" else ""), head, "model." if kind == "flat" else "")
    average: Any = {
        "timm": lambda: wide["state_dict_ema"],
        "torchvision": lambda: wide["model_ema"],
        "nested": lambda: wide["ema"]["shadow"],
        "flat": lambda: wide["state_dict"],
        "list": lambda: dict(zip(state(), wide["ema"]["shadow_params"], strict=True)),
        "first": lambda: wide["model_ema"],
    }[kind]()
    prefix = {"torchvision": "module.", "flat": "ema_model.module."}.get(kind, "")
    own = state(1)
    four = Net(4)
    four.load_state_dict({name: average[prefix + name] for name in own})
    assert torch.equal(four.fc.weight[:3], own["fc.weight"]) and torch.equal(four.fc.bias[:3], own["fc.bias"])
    np.testing.assert_array_equal(four.fc.weight[3].detach().numpy(), head.kernel[:, 3])
    assert torch.equal(four.body.weight, own["body.weight"])
    again = format.open(tmp_path / "wide.pt", model=Net, input=(4,))
    assert again.fingerprint == opened.fingerprint and again.head.equals(head)
    if kind != "list":
        assert "copies that become as wide" in again.describe()["limits"]


def test_a_key_names_the_copy(tmp_path: Path) -> None:
    torch.save(averages()["timm"], tmp_path / "net.pt")
    load = {"model": Net, "inputs": extend.Array((4,), "float32")}
    clf = extend.load(tmp_path / "net.pt", key="state_dict_ema", **load)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    net = Net()
    net.load_state_dict(state(1))
    np.testing.assert_allclose(clf.decision_function(x), net(torch.tensor(x)).detach().numpy(), atol=1e-6)
    with pytest.raises(FormatError, match=r"key='ema' names no weights of Net .*'state_dict', 'state_dict_ema'"):
        extend.load(tmp_path / "net.pt", key="ema", **load)
    torch.save({"state_dict": {**state(prefix="a."), **state(1, "b.")}}, tmp_path / "two.pt")
    with pytest.raises(FormatError, match=r"'state_dict\.a', 'state_dict\.b'; name those that are meant with key="):
        extend.load(tmp_path / "two.pt", **load)
    assert format.open(tmp_path / "two.pt", model=Net, input=(4,), key="state_dict.b").found.prefix == "b."
    torch.save({"one": state(), "two": state()}, tmp_path / "same.pt")
    _, head = widened(tmp_path / "same.pt", tmp_path / "wide.pt")
    wide = torch.load(tmp_path / "wide.pt")
    check(wide["one"], state(), head)
    check(wide["two"], state(), head)
    from sklearn.linear_model import LogisticRegression

    extend.save(extend.wrap(LogisticRegression().fit(np.eye(3), [0, 1, 2])), tmp_path / "net.skops")
    with pytest.raises(ArgumentError, match="key='x' is for PyTorch"):
        extend.load(tmp_path / "net.skops", key="x")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_heads_that_only_training_uses_become_as_wide(suffix: str, tmp_path: Path) -> None:
    old = state(aux=True)
    file = tmp_path / f"net{suffix}"
    (torch.save if suffix == ".pt" else save_file)(old, file)
    opened, head = widened(file, tmp_path / f"wide{suffix}", make=lambda: Net(aux=True))
    wide = torch.load(tmp_path / "wide.pt") if suffix == ".pt" else load_file(tmp_path / "wide.safetensors")
    four = Net(4, aux=True)
    four.load_state_dict(wide)
    assert torch.equal(four.aux.weight[:3], old["aux.weight"]) and not four.aux.weight[3].any()
    check(wide, old, head)
    assert "'aux'" in opened.describe()["limits"]
    again = format.open(tmp_path / f"wide{suffix}", model=lambda: Net(aux=True), input=(4,))
    assert again.fingerprint == opened.fingerprint and again.head.equals(head)
    net = opened.module_with(head)
    assert net.aux.out_features == 4 and torch.equal(net.aux.weight[:3], old["aux.weight"])


def test_the_versions_of_layers_are_handed_on_and_kept(tmp_path: Path) -> None:
    class Versioned(Net):  # As torchvision's MNASNet.
        _version = 2

        def _load_from_state_dict(self, state: Any, prefix: str, meta: Any, *rest: Any) -> None:
            if meta.get("version") != 2:
                raise ValueError("version should be set")
            super()._load_from_state_dict(state, prefix, meta, *rest)

    torch.save(Versioned().state_dict(), tmp_path / "net.pt")
    widened(tmp_path / "net.pt", tmp_path / "wide.pt", make=Versioned)
    Versioned(4).load_state_dict(torch.load(tmp_path / "wide.pt"))
    wrapped = nn.DataParallel(Versioned()).state_dict()
    torch.save({"net": wrapped}, tmp_path / "wrapped.pt")
    assert wrapped._metadata["module"]["version"] == 2
    widened(tmp_path / "wrapped.pt", tmp_path / "wide.pt", make=Versioned)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_head_without_bias_gets_one_where_it_needs_one(suffix: str, tmp_path: Path) -> None:
    old = state(bias=False)
    file, out = tmp_path / f"net{suffix}", tmp_path / f"wide{suffix}"
    (torch.save if suffix == ".pt" else save_file)(old, file)
    opened, head = widened(file, out, make=lambda: Net(bias=False))
    assert "no bias" in opened.describe()["limits"]
    wide = torch.load(out) if suffix == ".pt" else load_file(out)
    four = Net(4)
    four.load_state_dict(wide)
    assert torch.equal(four.fc.weight[:3], old["fc.weight"]) and not four.fc.bias[:3].any()
    np.testing.assert_array_equal(four.fc.bias[3:].detach().numpy(), head.bias[3:])
    again = format.open(out, model=lambda: Net(bias=False), input=(4,))
    assert again.fingerprint == opened.fingerprint and again.head.equals(head)
    plain = DenseHead(head.kernel, np.zeros(4, np.float32))
    opened.save(out, plain, named(4))
    Net(4, bias=False).load_state_dict(torch.load(out) if suffix == ".pt" else load_file(out))
    assert opened.module_with(head).fc.bias is not None


def test_what_is_no_state_dict_is_told_with_what_to_do(tmp_path: Path) -> None:
    def attempt(file: str, *messages: str) -> None:
        with pytest.raises(FormatError) as caught:
            extend.load(tmp_path / file)
        assert "\n" not in str(caught.value) and str(tmp_path / file) in str(caught.value)
        for message in messages:
            assert message in str(caught.value)

    torch.save(Net(), tmp_path / "whole.pt")
    attempt("whole.pt", "Net", "weights_only=False); torch.save(net.state_dict(), 'weights.pt')", "model=")
    torch.save({"model": Net(), "epoch": 3}, tmp_path / "inside.pth")
    attempt("inside.pth", "weights_only=False)['model']")
    with pytest.warns(DeprecationWarning):
        torch.jit.trace(Net().eval(), torch.zeros(1, 4)).save(str(tmp_path / "script.pt"))
    attempt("script.pt", "TorchScript", "torch.jit.load", "net.state_dict()")
    state = pickle.dumps({"model": 1, "ema": None}, 2)
    module = b"cultralytics.nn.tasks\nDetectionModel\n)\x81}X\x08\x00\x00\x00_modules}sb"
    whole = state[: state.index(b"K\x01")] + module + state[state.index(b"K\x01") + 2 :]
    with zipfile.ZipFile(tmp_path / "yolov8n.pt", "w") as archive:
        archive.writestr("yolov8n/data.pkl", whole)
    attempt("yolov8n.pt", "YOLO", "from ultralytics import YOLO", "model=")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    attempt("other.pt", "no known model is in it")


def test_the_three_lines_work(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(Net(), tmp_path / "whole.pt")
    with pytest.raises(FormatError) as caught:
        format.open(tmp_path / "whole.pt")
    lines = (
        str(caught.value).split("trust it: ")[1].split("; then")[0].replace("'weights.pt'", f"'{tmp_path}/weights.pt'")
    )
    exec("import torch\n" + "\n".join(lines.split("; ")))
    assert format.open(tmp_path / "weights.pt", model=Net, input=(4,)).head.num_classes == 3


NESTED = b")r" + struct.pack("<I", 9000) + b"".join(
    b"j" + struct.pack("<I", 9000 + i) + b"\x86r" + struct.pack("<I", 9001 + i) for i in range(60)
)  # fmt: skip
"""A tuple of two tuples of two tuples ..., which is 2**60 long when it is walked."""


@pytest.mark.parametrize(
    "extra",
    [
        NESTED + b"K\x01s",
        b"X\x0c\x00\x00\x00class_to_idx}X\x01\x00\x00\x00a" + NESTED + b"ss",
        b"X\x07\x00\x00\x00classes](" + NESTED + NESTED + b"es",
        b"X\x0c\x00\x00\x00class_to_idx}" + NESTED + b"K\x00ss",
        b"X\x04\x00\x00\x00deep" + b"](" * 50_000 + b"e" * 50_000 + b"s",
        b"X\x04\x00\x00\x00dict}r\x00\x27\x00\x00(" + b"".join(
            b"X\x02\x00\x00\x00%02dj\x00\x27\x00\x00" % i for i in range(99)) + b"us",
        b"X\x04\x00\x00\x00many(" + NESTED + b"t\x85s",
        b"X\x04\x00\x00\x00long\x8b\xff\xff\xff\x7fs",
    ],
)  # fmt: skip
def test_hostile_pickles_end_soon(extra: bytes, tmp_path: Path) -> None:
    torch.save({"state_dict": state()}, tmp_path / "ok.pt")
    with zipfile.ZipFile(tmp_path / "ok.pt") as old, zipfile.ZipFile(tmp_path / "bad.pt", "w") as new:
        for entry in old.infolist():
            body = old.read(entry)
            new.writestr(entry.filename, body[:-1] + extra + b"." if entry.filename.endswith("data.pkl") else body)
    begin = time.monotonic()
    try:
        widened(tmp_path / "bad.pt", tmp_path / "wide.pt")
    except FormatError as error:
        assert (len(str(error)) < 2000 and "bad.pt" in str(error)) or "nested too deeply" in str(error)
    assert time.monotonic() - begin < 10
