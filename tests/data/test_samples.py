"""Reading what users hand in, and refusing what cannot be used."""

import hashlib
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from extend import data
from extend.core.errors import ArgumentError, DataError
from extend.data import Image
from tests.conftest import spec

SMALL = Image(6, 8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of three pictures 12 x 16."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Picture.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def test_arrays_by_name() -> None:
    read = data.read({"a": np.ones((2, 3)), "b": np.zeros((1, 3))}, spec(3))
    assert read.classes == ("a", "b") and read.labels.tolist() == [0, 0, 1]
    assert read.inputs.dtype == np.float32
    assert int(read.keys[0]) == int.from_bytes(hashlib.sha256(np.ones(3, np.float32).tobytes()).digest()[:8], "big")


def test_arrays_with_labels() -> None:
    x = np.zeros((3, 2), np.float32)
    assert data.read((x, ["b", "a", "b"]), spec(2)).classes == ("b", "a")
    assert data.read((x, [1, 0, 1], ["a", "b"]), spec(2)).labels.tolist() == [1, 0, 1]
    assert data.read((x, np.array([1, 0, 1])), spec(2), names=("a", "b")).classes == ("a", "b")


def test_trees_of_inputs() -> None:
    wanted = data.Tree({"ids": data.Array((4,), np.dtype(np.int32)), "mask": spec(4)})
    inputs = {"ids": np.ones((2, 4), int), "mask": np.ones((2, 4))}
    read = data.read((inputs, ["a", "b"]), wanted)
    assert read.inputs["ids"].dtype == np.int32 and len(read.take(np.array([1]))) == 1


def test_npz_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", eight=np.ones((4, 3), np.float32))
    assert data.read(str(tmp_path / "new.npz"), spec(3)).classes == ("eight",)


def test_images_are_resized_and_normalised(photos: Path) -> None:
    read = data.read(photos, SMALL)
    assert read.inputs.shape == (6, 6, 8, 3) and read.inputs.dtype == np.uint8
    expected = Picture.open(photos / "cat" / "0.png").resize((8, 6), Picture.Resampling.BILINEAR)
    assert np.array_equal(read.inputs[0], np.asarray(expected))
    batch = read.batch(0, 2, SMALL)
    reference = (read.inputs[:2].astype(np.float64) / 255 - SMALL.mean) / SMALL.std
    assert batch.dtype == np.float32 and np.allclose(batch, reference, atol=1e-5)
    content = (photos / "cat" / "0.png").read_bytes()
    assert int(read.keys[0]) == int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


@pytest.mark.parametrize("kind", ["tar", "tar.xz", "zip"])
def test_archives_read_as_their_folder(photos: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"photos.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            for file in photos.rglob("*.png"):
                made.write(file, f"train/{file.parent.name}/{file.name}")
    else:
        with tarfile.open(archive, "w:xz" if kind.endswith("xz") else "w") as made:
            made.add(photos, "train")
    read, folder = data.read(archive, SMALL), data.read(photos, SMALL)
    assert read.classes == folder.classes
    assert np.array_equal(read.inputs, folder.inputs) and np.array_equal(read.keys, folder.keys)


def test_links_are_followed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "kitten").symlink_to(photos / "cat")
    assert data.read(tmp_path / "links", SMALL).classes == ("kitten",)


def test_grey_images(photos: Path) -> None:
    assert data.read(photos, Image(6, 8, 1)).inputs.shape == (6, 6, 8, 1)


def test_a_broken_image_is_named_and_can_be_skipped(photos: Path) -> None:
    whole = (photos / "cat" / "1.png").read_bytes()
    (photos / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cat/1.png cannot be read as an image .*--skip-broken"):
        data.read(photos, SMALL)
    read = data.read(photos, SMALL, skip_broken=True)
    assert read.skipped == ("cat/1.png",) and read.labels.tolist() == [0, 0, 1, 1, 1]


def test_two_folders_of_one_name_are_not_mixed(photos: Path) -> None:
    (photos / "test" / "cat").mkdir(parents=True)
    Picture.new("RGB", (8, 6)).save(photos / "test" / "cat" / "x.png")
    with pytest.raises(ValueError, match="two folders are called 'cat'"):
        data.read(photos, SMALL)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no classes given"),
        ({"a": np.zeros((0, 3))}, "no samples given"),
        ({"a": []}, "no samples given"),
        ({"a": np.zeros((2, 4))}, r"shape \[2, 4\] given; expected \[n, 3\]"),
        ({"a": np.zeros(3)}, "add a leading axis"),
        ({"a": [[1, 2, 3], [1, 2]]}, r"different shapes; expected \[n, 3\]; bring them to one shape first: cut or pad"),
        ({"a": np.array([["x", "y", "z"]])}, "texts given .dtype <U1 given; expected float32.; .* pass token ids"),
        ({"a": ["hello", "you"]}, "class 'a': texts given .*pass token ids"),
        ({"a": np.array(["hello", "you"], object)}, "class 'a': texts given .*pass token ids"),
        ({"a": np.array([[0, np.nan, 0], [1, 1, 1]])}, "1 samples hold NaN or infinity, the first at row 0"),
        ({"a": np.array([[0, 0, 0], [1, np.inf, 1]])}, "the first at row 1"),
        ((np.zeros((2, 3)), [0, 1]), "integer labels without names"),
        ((np.zeros((2, 3)), ["a"]), r"labels have shape \[1\]; expected one a sample, \[2\]"),
        ((np.zeros((2, 3)), [0, 2], ["a", "b"]), "labels run from 0 to 2, but there are 2 names"),
        ((np.zeros((2, 3)), [0.5, 1.0]), "labels are float64"),
        ((np.zeros((2, 3)), [0, 1], ["a", "a"]), "'a' is named twice"),
        ("no/such/folder", "no such folder or archive"),
        (42, "data is a int"),
    ],
)
def test_bad_input_is_named(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read(given, spec(3), skip_broken=False) if given != "no/such/folder" else data.read(given, SMALL)


@pytest.mark.parametrize("wanted", [spec(3), data.Array((3,), np.dtype(np.int32)), data.Tree({"x": spec(3)})])
def test_masked_values_are_refused_with_their_rows(wanted: data.InputSpec) -> None:
    masked = np.ma.MaskedArray(np.ones((4, 3), int), np.zeros((4, 3), bool))
    if isinstance(wanted, data.Array):
        assert data.read({"a": masked}, wanted).inputs.tolist() == np.ones((4, 3)).tolist()
    masked.mask[1, 2] = masked.mask[3] = True
    for given in (masked, list(masked)):
        if isinstance(given, list) and isinstance(wanted, data.Tree):
            continue  # A list is four arrays there.
        with pytest.raises(DataError, match="class 'a': 2 samples hold masked values, at rows 1, 3: fill them"):
            data.read({"a": given}, wanted)
    with pytest.raises(DataError, match="the inputs: 1 sample holds masked values, at row 0"):
        data.unlabelled(masked[1:2], wanted)


def test_masked_pictures_are_refused() -> None:
    pictures = np.ma.MaskedArray(np.zeros((2, 6, 8, 3), np.uint8), np.zeros((2, 6, 8, 3), bool))
    pictures.mask[1, 0, 0, 0] = True
    with pytest.raises(DataError, match="1 sample holds masked values, at row 1"):
        data.read({"a": pictures}, SMALL)


def test_what_an_example_cannot_say() -> None:
    for signals in ([np.zeros(16), np.zeros(9)], [np.zeros((16, 40)), np.zeros((9, 40))], [[1, 2, 3], [1, 2]]):
        with pytest.raises(ArgumentError, match="inputs are of different shapes; bring them to one shape first"):
            data.input_spec(signals)
    assert data.input_spec([np.zeros(16), np.zeros(16)]) == spec(16)
    assert isinstance(data.input_spec([np.zeros((2, 16)), np.zeros((2, 9))]), data.Tree)
    for texts in (np.array(["hi", "you"]), np.array(["hi", "you"], object)):
        with pytest.raises(ArgumentError, match=r"inputs are texts; .* pass token ids, or features of the texts"):
            data.input_spec(texts)


def test_images_for_a_classifier_of_arrays(photos: Path) -> None:
    with pytest.raises(ValueError, match=r"this classifier's inputs are arrays \[3\] float32"):
        data.read(photos, spec(3))


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="no images found; expected one folder of images"):
        data.read(tmp_path, SMALL)


def test_a_file_that_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"not a tar")
    with pytest.raises(ValueError, match="neither a folder nor an archive"):
        data.read(tmp_path / "x.tar", SMALL)


def test_floats_for_integer_inputs() -> None:
    with pytest.raises(ValueError, match="dtype float64 given; expected int32"):
        data.read({"a": np.zeros((2, 3))}, data.Array((3,), np.dtype(np.int32)))
