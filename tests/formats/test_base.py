"""What formats have in common."""

import os
from pathlib import Path

import numpy as np
import pytest

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import DenseHead, Input, digest, read_bytes, replace_file


def test_a_head_that_does_not_fit() -> None:
    with pytest.raises(FormatError, match=r"kernel \[3, 2\] and bias \[3\]"):
        DenseHead(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(FormatError, match="NaN"):
        DenseHead(np.full((3, 2), np.inf), np.zeros(2))
    with pytest.raises(FormatError, match="NaN"):  # A number too large for float16.
        DenseHead(np.full((3, 2), 1e6), np.zeros(2)).astype(np.float16)


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
    with pytest.raises(OSError, match="no room"):
        replace_file(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]
