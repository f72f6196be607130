"""Files that theanets itself wrote (see theanets/README.md) against what theanets answered; hostile pickles."""

from __future__ import annotations

import gzip
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from extend.core.errors import FormatError
from extend.formats import pickles
from extend.formats.base import DenseHead
from extend.formats.theanets import model as theanets
from tests.fuzz.run import fuzz

FILES = Path(__file__).parent / "theanets"
NETWORKS = sorted(path.name for path in FILES.glob("0.*.pkl.gz"))


def widened(head: DenseHead) -> DenseHead:
    rng = np.random.default_rng(0)
    new = rng.normal(size=(head.kernel.shape[0], 2)).astype(head.kernel.dtype)
    return DenseHead(np.hstack([head.kernel, new]), np.append(head.bias, np.float32([0.5, -1])), head.activation)


def test_files_of_every_version_are_there() -> None:
    assert len(NETWORKS) == 9


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_are_those_of_theanets(name: str) -> None:
    opened = theanets.open(FILES / name)
    with np.load(FILES / name.replace(".pkl.gz", ".npz")) as answers:
        x, p = answers["x"], answers["p"]
    np.testing.assert_allclose(opened.network.outputs(x), p, atol=2e-7)
    scores = opened.features(x) @ opened.head.kernel + opened.head.bias
    np.testing.assert_allclose(np.exp(scores) / np.exp(scores).sum(1, keepdims=True), p, atol=2e-7)
    assert opened.head.kernel.dtype == np.float32
    assert opened.input.shape == (4,)


@pytest.mark.parametrize("suffix", [".pkl", ".pkl.gz"])
@pytest.mark.parametrize("name", NETWORKS)
def test_save_keeps_every_bit_of_the_old_network(tmp_path: Path, name: str, suffix: str) -> None:
    opened = theanets.open(FILES / name)
    head = widened(opened.head)
    path = tmp_path / f"wide{suffix}"
    opened.save(path, head, ("a", "b", "c", "d", "e"))
    again = theanets.open(path)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == (suffix == ".pkl.gz")
    assert again.fingerprint == opened.fingerprint
    assert again.head.kernel.tobytes() == head.kernel.tobytes()
    assert again.head.bias.tobytes() == head.bias.tobytes()
    assert again.protocol == opened.protocol
    opened.save(path, opened.head, ("a", "b", "c"))
    assert theanets.open(path).head.kernel.tobytes() == opened.head.kernel.tobytes()


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("name", ["0.3.0-python2", "0.5.3-python2", "0.5.3-python3"])
def test_what_is_written_is_the_same_to_python(tmp_path: Path, name: str) -> None:
    opened = theanets.open(FILES / f"{name}.pkl.gz")
    opened.save(tmp_path / "same.pkl", opened.head, ("a", "b", "c"))

    class Names(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            return type(name, (), {}) if module.startswith("theanets") else super().find_class(module, name)

    with gzip.open(FILES / f"{name}.pkl.gz") as file:
        before = Names(file, encoding="latin1").load()
    with (tmp_path / "same.pkl").open("rb") as file:
        after = Names(file, encoding="latin1").load()
    assert before.keys() == after.keys()
    assert before["kwargs"] == after["kwargs"]
    arrays = [key for key in before if key.endswith("values") or key in ("weights", "biases")]
    assert arrays
    for key in arrays:
        assert [a.tobytes() for a in before[key]] == [a.tobytes() for a in after[key]]


def test_sizes_in_the_file_follow_the_head(tmp_path: Path) -> None:
    for name, place in (("0.5.3-python3", None), ("0.7.3-python2", 0)):
        opened = theanets.open(FILES / f"{name}.pkl.gz")
        opened.save(tmp_path / "wide.pkl", widened(opened.head), tuple("abcde"))
        state, _ = pickles.read((tmp_path / "wide.pkl").read_bytes())
        size = state["kwargs"]["layers"][-1] if place is None else state.state[place][-1].get("size")
        assert size == 5


class Call:
    """Pickles as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, eval, np.fromfile, np.load, np.zeros, getattr, __import__])
def test_hostile_calls_are_refused_and_not_made(tmp_path: Path, protocol: int, function: object) -> None:
    mark = tmp_path / "was-here"
    path = tmp_path / "net.pkl"
    call = Call(function, f"touch {mark}")
    state = {"weights": [call], "biases": [], "kwargs": {"layers": (2, 3)}}
    path.write_bytes(pickle.dumps(state, protocol))
    with pytest.raises(FormatError, match=r"net\.pkl"):
        theanets.open(path)
    assert not mark.exists()


def test_hostile_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(Call(os.system, "true"), 2))
    with pytest.raises(FormatError, match=r"posix\.system"):
        theanets.open(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo index of 2**31
        b"\x80\x02" + b"(" * 200_000 + b".",
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",  # nested lists
        b"\x80\x02)" + b"2\x86" * 10_000 + b".",  # tuples that double
        b"\x80\x02}K\x00)\x85" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",  # a key that takes for ever to hash
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab.",  # a string of 2**63 bytes
        b"\x80\x02cnumpy\ndtype\n(X\x02\x00\x00\x00f4K\x00K\x01tRX",
        b"\x80\x02Pabc\n.",  # a persistent id
        b"",
        b"\0",
        gzip.compress(b"\0" * (300 << 20), 1),  # a bomb
    ],
)
def test_hostile_pickles_end_soon(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pkl.gz"
    path.write_bytes(content)
    begin = time.monotonic()
    with pytest.raises(FormatError, match=r"net\.pkl\.gz"):
        theanets.open(path)
    assert time.monotonic() - begin < 10


def test_damage_is_a_format_error(tmp_path: Path) -> None:
    whole = (FILES / "0.7.3-python3.pkl.gz").read_bytes()
    for end in (1, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "net.pkl.gz").write_bytes(whole[:end])
        with pytest.raises(FormatError):
            theanets.open(tmp_path / "net.pkl.gz")
    with pytest.raises(FormatError, match="no such file"):
        theanets.open(tmp_path / "none.pkl")


def numbers(state: dict[str, object], path: Path) -> Path:
    path.write_bytes(pickle.dumps(state, 2))
    return path


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"hidden_activation": "softplus"}, "hid1.*softplus"),
        ({"decode_from": 2}, "decode_from"),
        ({"tied_weights": True}, "tied_weights"),
        ({"output_activation": "tanh"}, "the last layer is of tanh"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, kwargs: dict[str, object], text: str) -> None:
    arrays = {"weights": [np.ones((2, 4)), np.ones((4, 3))], "biases": [np.ones(4), np.ones(3)]}
    plain = {"layers": (2, 4, 3), "output_activation": "softmax"}
    path = numbers(arrays | {"kwargs": plain | kwargs}, tmp_path / "net.pkl")
    with pytest.raises(FormatError, match=text):
        theanets.open(path)


def test_layers_and_shapes_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = {"kwargs": {"layers": [4, ("rnn", 5), 3]}, "rnn1-values": [np.ones((4, 5)), np.ones(5)]}
    with pytest.raises(FormatError, match="rnn"):
        theanets.open(numbers(state, tmp_path / "net.pkl"))
    lists = {"weights": [np.ones((2, 3))], "biases": [np.ones(4)], "kwargs": {"layers": (2, 3)}}
    with pytest.raises(FormatError, match="layer 'out'"):
        theanets.open(numbers(lists, tmp_path / "net.pkl"))


def test_save_refuses_another_suffix_and_head(tmp_path: Path) -> None:
    opened = theanets.open(FILES / NETWORKS[0])
    with pytest.raises(FormatError, match=r"\.pkl"):
        opened.save(tmp_path / "net.h5", opened.head, ("a", "b", "c"))
    with pytest.raises(FormatError, match="sigmoid"):
        opened.save(tmp_path / "net.pkl", DenseHead(opened.head.kernel, opened.head.bias, "sigmoid"), ("a", "b", "c"))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_fuzz() -> None:
    counts, wrong = fuzz("theanets", 30)
    assert not wrong, counts
