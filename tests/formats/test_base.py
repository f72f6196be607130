"""What formats have in common."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import (
    DenseHead,
    Input,
    check_replacement,
    digest,
    read_bytes,
    replace_file,
    same_columns,
)


def test_a_head_that_does_not_fit() -> None:
    with pytest.raises(FormatError, match=r"kernel \[3, 2\] and bias \[3\]"):
        DenseHead(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(FormatError, match="NaN"):
        DenseHead(np.full((3, 2), np.inf), np.zeros(2))
    with pytest.raises(FormatError, match="NaN"):  # A number too large for float16.
        DenseHead(np.full((3, 2), 1e6), np.zeros(2)).astype(np.float16)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_single_unit_is_two_columns_and_comes_back(dtype: str) -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(5, 1)).astype(dtype), rng.normal(size=1).astype(dtype)
    head = DenseHead.from_single_unit(kernel, bias)
    assert head.kernel.dtype == head.bias.dtype == dtype and head.num_classes == 2 and head.num_features == 5
    x = rng.normal(size=(7, 5))
    z = x @ kernel.astype(np.float64) + bias.astype(np.float64)
    probable = softmax(x @ head.kernel.astype(np.float64) + head.bias.astype(np.float64), axis=1)
    np.testing.assert_allclose(probable[:, 1], expit(z)[:, 0], rtol=1e-12)
    back = head.single_unit()
    assert back is not None and np.array_equal(back[0], kernel) and np.array_equal(back[1], bias)


def test_what_is_no_single_unit() -> None:
    head = DenseHead.from_single_unit(np.ones((3, 1)), np.ones(1))
    others = [
        DenseHead(head.kernel, head.bias, "sigmoid"),
        DenseHead(head.kernel, head.bias + 1),
        DenseHead(head.kernel[:, ::-1], head.bias),
        DenseHead(np.zeros((3, 3)), np.zeros(3)),
    ]
    assert [other.single_unit() for other in others] == [None] * 4
    assert head.equals(head) and not any(head.equals(other) for other in others)


def test_what_may_take_the_place_of_a_head() -> None:
    own, new = DenseHead(np.eye(4, 2), np.zeros(2)), DenseHead(np.eye(4, 3), np.zeros(3))
    check_replacement(new, own, ("a", "b", "c"), fewest=2, where="model.x")
    for head, names, message in [
        (DenseHead(np.eye(5, 3), np.zeros(3)), ("a", "b", "c"), "^model.x: the new head reads 5 features; .* gives 4$"),
        (new, ("a", "b"), "^model.x: 2 classes are named; the head has 3 columns$"),
        (new, ("a", "b", "a"), "^model.x: two classes have the name 'a'$"),
        (DenseHead(np.eye(4, 1), np.zeros(1)), ("a",), "^model.x: .* 'a'; this format needs 2 or more$"),
    ]:
        with pytest.raises(FormatError, match=message):
            check_replacement(head, own, names, fewest=2, where=Path("model.x"))
    with pytest.raises(FormatError, match="reads 5 features"):
        same_columns(own, DenseHead(np.eye(5, 3), np.zeros(3)))


def test_importing_the_formats_imports_no_framework() -> None:
    frameworks = ("flax", "torch", "keras", "h5py", "onnx", "onnxruntime", "sklearn", "skops", "transformers")
    code = f"import sys, extend.formats; print([name for name in {frameworks} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pictures() -> None:
    dtype = np.dtype("float32")
    assert Input((3, 8, 9), dtype, channels_first=True).picture == (8, 9, 3)
    assert Input((8, None, 1), dtype).picture == (8, None, 1)
    assert Input((8, 9, 5), dtype).picture is None and Input((8,), dtype).picture is None


def test_a_digest_sees_names_shapes_types_and_bytes() -> None:
    x = np.arange(6.0)
    parts = [("a", x), ("b", x), ("a", x.reshape(2, 3)), ("a", x.astype(np.float32)), ("a", x + 1)]
    assert len({digest([part]) for part in parts}) == len(parts)


def test_the_extra_is_named() -> None:
    error = MissingExtraError("ONNX", "onnx", ImportError(name="onnxruntime"))
    assert "onnxruntime" in str(error) and "class-extend[onnx]" in str(error)
    assert isinstance(error, FormatError) and isinstance(error, ImportError)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"12345")
    for name, words in (("none", "no such file"), (".", "no such file"), ("empty", "no bytes"), ("large", "5 bytes")):
        with pytest.raises(FormatError, match=words):
            read_bytes(tmp_path / name, most=4)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.bin"
    replace_file(file, b"old")

    def fail(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FormatError, match=r"cannot be written \(no room\); what was there is unchanged"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]
