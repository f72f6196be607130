"""What can be read opens under any name, and all else is refused in one true line: the content of a file tells."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sys
import tarfile
import types
import zipfile
import zlib
from pathlib import Path
from typing import Any

import flax.serialization
import joblib
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

import extend
from extend.core.errors import ExtendError, FormatError
from extend.formats.content import identify, identify_folder
from extend.formats.pmml import to_pmml
from extend.formats.scikit_learn import open as open_sklearn

X = np.eye(3).repeat(4, axis=0)
ESTIMATOR = LogisticRegression().fit(X, np.repeat(["a", "b", "c"], 4))
NET = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))


def zipped(**members: str) -> bytes:
    """An archive of these members; two underscores in a name stand for a slash, one for a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return buffer.getvalue()


def tarred(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def named(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> type:
    """A class that pickles under this name, of a library that need not be installed."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
    made = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 25605\n"
REFUSED: dict[str, tuple[bytes, str]] = {
    "lfs.h5": (LFS, "a pointer of git-LFS, not the file itself.*git lfs pull"),
    "lfs.onnx": (LFS, "a pointer of git-LFS"),
    "lfs.pt": (LFS, "a pointer of git-LFS"),
    "lfs.mat": (LFS, "a pointer of git-LFS"),
    "annex.pt": (b"/annex/objects/SHA256E-s1--00.pt\n", "a pointer of git-annex"),
    "page.keras": (b"\n<!DOCTYPE html><html><head>", "a web page"),
    "page.pmml": (b"<html lang='en'>", "a web page"),
    "denied.onnx": (b"<?xml version='1.0'?>\n<Error><Code>Denied</Code></Error>", "the error message of a server"),
    "missing.pt": (b'{"message": "Not Found", "status": "404"}', "the error message of a server"),
    "empty.onnx": (b"", "the file is empty"),
    "empty.pt": (b"", "the file is empty"),
    "blank.h5": (b" \n\n", "a file of blanks"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(30), "TensorFlow Lite.*tf2onnx"),
    "model.h5": (b"\x1c\0\0\0TFL3" + bytes(30), "TensorFlow Lite"),
    "model.pte": (b"\x1c\0\0\0ET12" + bytes(30), "ExecuTorch"),
    "model.gguf": (b"GGUF\3\0\0\0" + bytes(30), "GGUF.*llama.cpp"),
    "ggml.bin": (b"lmgg" + bytes(30), "GGML"),
    "j48.model": (b"\xac\xed\0\5sr\0\x1eweka.classifiers.trees.J48", "Java object.*Weka"),
    "model.cbm": (b"CBM1" + bytes(30), "CatBoost"),
    "model.ubj": (b"{L\0\0\0\0\0\0\0\7learner{" + bytes(30), "XGBoost"),
    "model.xgb": (b"binf" + bytes(30), "XGBoost"),
    "xgb.json": (b'{"learner":{"attributes":{}}}', "XGBoost.*leaves"),
    "lgb.json": (b'{"name":"tree","version":"v4","tree_info":[]}', "LightGBM.*leaves"),
    "lgb.txt": (b"tree\nversion=v4\nnum_class=3\n", "LightGBM.*leaves"),
    "net.json": (b'{"class_name": "Sequential", "config": {}}', "configuration, without weights"),
    "config.json": (b'{"architectures": ["BertModel"], "model_type": "bert"}', "open the folder"),
    "notes.ipynb": (b'{"cells": [{"cell_type": "code"}], "nbformat": 4}', "notebook"),
    "labels.json": (b'{"cat": 1}', "JSON that describes no known model"),
    "table.csv": (b"a,b\n1,2\n", "a table of text.*data"),
    "table.h5": (b"a,b\n1,2\n3,4\n5,6\n", "a table of text.*data"),
    "train.py": (b"import torch\n", "Python source"),
    "fasttext.bin": (b"\xba\x16\x4f\x2f\x0c\0\0\0" + bytes(30), "fastText"),
    "array.npy": (b"\x93NUMPY\1\0", "an array of NumPy"),
    "table.parquet": (b"PAR1" + bytes(30), "Parquet"),
    "frozen.pb": (b"\x0a\x30\x0a\5input" + bytes(50), "graph of TensorFlow.*tf2onnx"),
    "coreml.mlmodel": (b"\x08\4\x12\x10\x0a\5image" + bytes(30), "CoreML"),
    "coreml.onnx": (b"\x08\4\x12\x10\x0a\5image" + bytes(30), "CoreML"),
    "photo.pt": (picture("PNG"), r"a picture \(PNG\)"),
    "photo.onnx": (picture("JPEG"), r"a picture \(JPEG\)"),
    "photo.h5": (picture("GIF"), r"a picture \(GIF\)"),
    "photo.bin": (picture("BMP"), r"a picture \(BMP\)"),
    "photo.webp": (picture("WEBP"), r"a picture \(WebP\)"),
    "paper.pdf": (b"%PDF-1.7", "a document"),
    "all.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(30), "7z archive.*unpack"),
    "model.zst": (b"\x28\xb5\x2f\xfd" + bytes(30), "zstd.*unpack"),
    "converted_keras.zip": (zipped(keras_model_dot_h5="", labels_dot_txt="0 a"), "zip archive.*open 'keras_model.h5'"),
    "tm-my-image-model.zip": (zipped(model_dot_json="{}", metadata_dot_json="{}"), "TensorFlow.js: modelTopology is"),
    "mojo.zip": (zipped(model_dot_ini="", domains__d0_dot_txt=""), "MOJO of H2O.*leaves"),
    "dl4j.zip": (zipped(configuration_dot_json="{}", coefficients_dot_bin=""), "deeplearning4j"),
    "saved.zip": (zipped(m__saved_model_dot_pb=""), "archive of a SavedModel"),
    "paper.docx": (zipped(word__document_dot_xml="", **{"[Content_Types].xml": ""}), "office"),
    "some.zip": (zipped(readme_dot_txt=""), "zip archive of 'readme.txt'"),
    "script.pt": (zipped(m__data_dot_pkl="", m__constants_dot_pkl=""), "TorchScript.*torch.jit.load"),
    "cut.zip": (zipped(readme_dot_txt="")[:30], "damaged zip"),
    "model.tar": (tarred("m/saved_model.pb"), "a tar archive that begins with 'm/saved_model.pb'.*unpack"),
    "model.tar.gz": (gzip.compress(tarred("m/saved_model.pb")), "a tar archive.*compressed with gzip.*unpack"),
    "old.pth.tar": (tarred("sys_info"), "weights of PyTorch before 0.2"),
    "model.onnx.gz": (gzip.compress(b"GGUF" + bytes(30)), "GGUF, compressed with gzip"),
    "net.h5.gz": (gzip.compress(b"\x89HDF\r\n\x1a\n" + bytes(30)), "an HDF5 file, compressed with gzip.*unpack"),
    "net.h5.xz": (lzma.compress(b"\x89HDF\r\n\x1a\n" + bytes(30)), "an HDF5 file, compressed with xz.*unpack"),
    "net.h5.bz2": (bz2.compress(b"\x89HDF\r\n\x1a\n" + bytes(30)), "an HDF5 file, compressed with bzip2.*unpack"),
    "m.pkl": (pickle.dumps(ESTIMATOR), r"pickled model of scikit-learn.*import joblib, skops.io; .*skops.io.dump"),
    "m0.pickle": (pickle.dumps(ESTIMATOR, 0), "pickled model of scikit-learn.*skops"),
    "m2.sav": (pickle.dumps(ESTIMATOR, 2), "pickled model of scikit-learn.*skops"),
    "m.pt": (pickle.dumps(ESTIMATOR), "pickled model of scikit-learn.*skops"),
    "m.pkl.gz": (gzip.compress(pickle.dumps(ESTIMATOR)), "scikit-learn, compressed with gzip.*skops"),
    "m.z": (zlib.compress(pickle.dumps(ESTIMATOR)), "scikit-learn, compressed with zlib.*skops"),
    "own.pkl": (b"\x80\2cthing\nModel\n.", "a pickle of thing.Model.*never loaded"),
    "nothing.xyz": (b"\1\2\3\4\5", r"no known format.*\.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_true_line(name: str, tmp_path: Path) -> None:
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    for action in (extend.load, extend.inspect):
        with pytest.raises(FormatError, match=message) as caught:
            action(tmp_path / name)
        assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_joblib_files_are_told_however_they_are_compressed(compress: Any, tmp_path: Path) -> None:
    model = MLPClassifier((64,), max_iter=2).fit(X, np.repeat(["a", "b", "c"], 4))  # Its arrays are more than the head.
    joblib.dump(model, tmp_path / "m.joblib", compress=compress)
    with pytest.raises(FormatError, match=r"m\.joblib: .*skops|lzma|no known format"):
        extend.load(tmp_path / "m.joblib")


def test_the_three_lines_turn_a_pickle_into_what_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib.dump(ESTIMATOR, tmp_path / "m.sav")
    with pytest.raises(FormatError) as caught:
        extend.load(tmp_path / "m.sav")
    monkeypatch.chdir(tmp_path)
    exec(str(caught.value).partition("where you trust it: ")[2], {})
    assert extend.load("model.skops").classes == ("a", "b", "c")


def test_the_lines_for_torchscript_give_weights_that_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.jit.script(NET).save(str(tmp_path / "script.bin"))
    with pytest.raises(FormatError, match="TorchScript") as caught:
        extend.load(tmp_path / "script.bin")
    monkeypatch.chdir(tmp_path)
    exec(str(caught.value).partition("where you trust it: ")[2].partition("; then ")[0], {})
    clf = extend.load("weights.pt", model=NET, inputs=extend.Array((3,)))
    np.testing.assert_allclose(clf.decision_function(X), NET(torch.tensor(X).float()).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "module, name, message",
    [
        ("ultralytics.nn.tasks", "DetectionModel", r"a whole pickled YOLO model.*YOLO\('.*'\)\.model"),
        ("models.yolo", "Model", "a whole pickled YOLO model"),
        ("fastai.learner", "Learner", r"Learner of fastai.*load_learner\('.*'\)\.model; torch\.save"),
        ("xgboost.sklearn", "XGBClassifier", "XGBoost.*never loaded.*leaves"),
        ("lightgbm.sklearn", "LGBMClassifier", "LightGBM.*never loaded.*leaves"),
    ],
)
def test_pickled_objects_of_other_libraries_are_named(
    module: str, name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = named(monkeypatch, module, name)()
    torch.save({"model": made}, tmp_path / "export.pkl")
    torch.save({"model": made}, tmp_path / "best.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(made))
    for file in ("export.pkl", "plain.pkl"):
        with pytest.raises(FormatError, match=message) as caught:
            extend.load(tmp_path / file)
        assert "\n" not in str(caught.value)
    with pytest.raises(FormatError):
        extend.load(tmp_path / "best.pt", model=NET, inputs=extend.Array((3,)))


@pytest.mark.parametrize("name", ["weights.h5", "weights.dat", "weights", "weights.bin", "weights.zip"])
def test_weights_of_pytorch_open_under_any_name(name: str, tmp_path: Path) -> None:
    expected = NET(torch.tensor(X).float()).detach().numpy()
    torch.save(NET.state_dict(), tmp_path / "new")
    torch.save(NET.state_dict(), tmp_path / "old", _use_new_zipfile_serialization=False)
    save_file(NET.state_dict(), tmp_path / "safe")
    for file in ("new", "old", "safe"):
        (tmp_path / file).rename(tmp_path / name)
        clf = extend.load(tmp_path / name, model=NET, inputs=extend.Array((3,)))
        np.testing.assert_allclose(clf.decision_function(X), expected, atol=1e-6)


def test_other_models_open_under_any_name(tmp_path: Path) -> None:
    import skops.io
    from skl2onnx import to_onnx

    skops.io.dump(ESTIMATOR, tmp_path / "a.zip")
    (tmp_path / "b.h5").write_bytes(to_onnx(ESTIMATOR, X[:1].astype(np.float32)).SerializeToString())
    network = open_sklearn(ESTIMATOR).network
    assert network is not None
    to_pmml(network, tmp_path / "c.pmml")
    (tmp_path / "c.pmml").rename(tmp_path / "c.txt")
    for name in ("a.zip", "b.h5", "c.txt"):
        clf = extend.load(tmp_path / name)
        assert clf.classes == ("a", "b", "c"), name
        np.testing.assert_allclose(clf.predict_proba(X), ESTIMATOR.predict_proba(X), atol=1e-5)


@pytest.mark.needs("keras")
def test_keras_files_open_under_each_others_names(tmp_path: Path) -> None:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "softmax")])
    for suffix, other in ((".h5", "model.keras"), (".keras", "model.h5"), (".h5", "model.pt"), (".keras", "model.zip")):
        net.save(tmp_path / f"a{suffix}")
        (tmp_path / f"a{suffix}").rename(tmp_path / other)
        np.testing.assert_allclose(extend.load(tmp_path / other).predict_proba(X), np.asarray(net(X)), atol=1e-6)


def test_weights_of_flax_say_what_they_need(tmp_path: Path) -> None:
    (tmp_path / "flax_model.msgpack").write_bytes(flax.serialization.to_bytes({"params": {"w": np.eye(2)}}))
    np.savez(tmp_path / "w.npz", w=np.eye(2))
    for name in ("flax_model.msgpack", "w.npz"):
        with pytest.raises(FormatError, match=r"pass model= \(the Flax module\), classes=\[\.\.\.\] and inputs="):
            extend.load(tmp_path / name)


FOLDERS: dict[str, tuple[list[str], str]] = {
    "SavedModel": (["saved_model.pb", "variables/"], r"a SavedModel of TensorFlow.*save\('model.h5'\).*tf2onnx"),
    "mlpackage": (["Manifest.json", "Data/"], "CoreML"),
    "checkpoint of TensorFlow": (["checkpoint", "model.ckpt-5.index"], "a checkpoint of TensorFlow"),
    "adapter": (["adapter_config.json", "adapter_model.safetensors"], "an adapter of PEFT.*merge_and_unload"),
    "MLflow": (["MLmodel", "data/"], "MLflow"),
    "Spark": (["metadata/", "stages/"], "Spark ML.*PMML"),
    "download": (["keras_model.h5", "labels.txt"], "open 'keras_model.h5' in it"),
    "photos": (["cat/", "dog/"], "pass it as data"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_are_no_checkpoint_are_named(name: str, tmp_path: Path) -> None:
    for entry in FOLDERS[name][0]:
        (tmp_path / entry).mkdir() if entry.endswith("/") else (tmp_path / entry).write_bytes(b"x")
    for action in (extend.load, extend.inspect):
        with pytest.raises(ExtendError, match=FOLDERS[name][1]) as caught:
            action(tmp_path)
        assert "\n" not in str(caught.value)


def test_what_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    assert identify_folder(tmp_path) is None
    for content in (b"\0" * 50, b"\xff\xfe\xfd", bytes(range(256)), b"hello", json.dumps(3).encode()):
        (tmp_path / "some.xyz").write_bytes(content)
        assert identify(tmp_path / "some.xyz") is None


def test_a_list_of_very_many_members_is_not_read(tmp_path: Path) -> None:
    content = bytearray(zipped(readme_dot_txt=""))
    place = content.rfind(b"PK\5\6")
    content[place + 12 : place + 16] = (1 << 30).to_bytes(4, "little")
    (tmp_path / "many.zip").write_bytes(content)
    with pytest.raises(FormatError, match="very many files"):
        extend.load(tmp_path / "many.zip")


def test_weights_in_a_folder_of_hugging_face_point_at_the_folder(tmp_path: Path) -> None:
    save_file(NET.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FormatError, match=f"open the folder, {tmp_path}"):
        extend.load(tmp_path / "model.safetensors")
