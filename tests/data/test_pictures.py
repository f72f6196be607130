"""Pictures: every kind of file has the pixels that were stored, or is refused; arrays are what they say they are."""

from __future__ import annotations

import io
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

import extend
from extend.data import Image, read, sizes_of, spec_from_dict
from tests.data.make_pictures import COLOUR, SPEC, Kind, Tree, folders, oriented, pictures, put, red, saved
from tests.data.make_pictures import STORED as STORED_AS

MARKED = [
    pytest.param(kind, id=kind.name, marks=[pytest.mark.needs(kind.needs)] if kind.needs else []) for kind in pictures()
]


@pytest.mark.parametrize("kind", MARKED)
def test_a_picture_has_the_pixels_that_were_stored_or_is_refused(kind: Kind) -> None:
    content = kind.make()
    if isinstance(kind.expected, str):
        with pytest.raises(OSError, match=re.escape(kind.expected) or None) as caught:
            SPEC.read(content)
        assert "\n" not in str(caught.value)
        return
    found = SPEC.read(content)
    assert found.dtype == np.uint8 and found.shape == SPEC.shape
    assert np.abs(found - np.asarray(kind.expected, np.float64)).max() <= kind.within
    grey = Image(*SPEC.shape[:2], 1).read(content)
    luma = np.asarray(kind.expected, np.float64) @ (0.299, 0.587, 0.114)
    assert np.abs(grey[..., 0] - luma).max() <= kind.within + 1


@pytest.mark.parametrize("tree", folders(), ids=lambda tree: tree.name)
def test_a_folder_is_read_by_the_rule_or_refused(tree: Tree, tmp_path: Path) -> None:
    put(tree.files, tmp_path)
    if isinstance(tree.expected, str):
        with pytest.raises(extend.DataError, match=re.escape(tree.expected)):
            read(tmp_path, SPEC)
        return
    found = read(tmp_path, SPEC)
    assert dict(zip(found.classes, found.counts.tolist(), strict=True)) == tree.expected
    assert tree.notes in " ".join(found.notes) and bool(tree.notes) == bool(found.notes)


def test_the_page_lists_every_kind() -> None:
    lines = Path(__file__).with_name("pictures.md").read_text(encoding="utf-8").splitlines()
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines if line.startswith("| "))
    listed = [*pictures(), *folders()]
    assert {kind.name for kind in listed} == set(rows) - {"picture", "folder"} and len(listed) >= 50
    for kind in listed:
        assert rows[kind.name].startswith("refused: " if isinstance(kind.expected, str) else "read"), kind.name


def test_heic_without_its_extra_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Picture.OPEN, "HEIF", raising=False)
    with pytest.raises(OSError, match=r"need pillow-heif: pip install 'class-extend\[heif\]'"):
        SPEC.read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    put({"a/1.jpg": saved(STORED_AS[6](COLOUR), "JPEG", exif=oriented(6)), "a/2.png": saved(COLOUR, "PNG")}, tmp_path)
    assert sizes_of(tmp_path, 9) == [COLOUR.shape[:2]] * 2


@pytest.mark.parametrize("resize", ["bilinear", "bicubic", "lanczos", "box", "nearest"])
def test_a_large_jpeg_is_as_if_decoded_in_full(resize: str) -> None:
    y, x = np.mgrid[:1200, :1600]
    rng = np.random.default_rng(0)
    waves = np.stack([np.sin(x / 9 + y / 20), np.sin(x / 3), np.cos(y / 5 + x / 50)], axis=-1) * 60 + 128
    content = saved((waves + rng.normal(0, 10, waves.shape)).clip(0, 255).astype(np.uint8), "JPEG", quality=90)
    whole = Picture.open(io.BytesIO(content)).resize((64, 48), Picture.Resampling[resize.upper()])
    off = np.abs(Image(48, 64, resize=resize).read(content) - np.asarray(whole, np.float64))
    assert off.mean() < (1 if resize in ("bilinear", "bicubic", "lanczos") else 1e-9)


NORMAL = Image(16, 24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
PIXELS = np.stack([COLOUR, COLOUR[::-1]])


def taken(spec: Image, given: Any) -> np.ndarray:
    """What the backbone is given."""
    return np.asarray(spec.prepare(spec.check(given, "the inputs")))


EXPECTED = (PIXELS / 255.0 - NORMAL.mean) / NORMAL.std


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64"])
def test_integers_of_any_dtype_are_pixels(dtype: str) -> None:
    given = PIXELS // 2 if dtype == "int8" else PIXELS
    expected = (given / 255.0 - NORMAL.mean) / NORMAL.std
    for values in (None, "unit", "normalised", "pixels"):
        spec = extend.Image(16, 24, mean=NORMAL.mean, std=NORMAL.std, values=values)  # type: ignore[arg-type]
        np.testing.assert_allclose(taken(spec, given.astype(dtype)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        (PIXELS.tolist(), None),
        (PIXELS.astype(np.float16), None),
        (PIXELS.astype(np.float64), "pixels"),
        (PIXELS / 255.0, "unit"),
        ((PIXELS / 255.0).astype(np.float32).tolist(), "unit"),
        (EXPECTED, "normalised"),
        ([Picture.fromarray(one) for one in PIXELS], None),
        (tuple(Picture.fromarray(one) for one in PIXELS), "unit"),
    ],
)
def test_floats_lists_and_pictures_are_what_the_input_says(given: Any, values: Any) -> None:
    spec = extend.Image(16, 24, mean=NORMAL.mean, std=NORMAL.std, values=values)
    np.testing.assert_allclose(taken(spec, given), EXPECTED, atol=2e-5)


def test_fractions_of_pixels_are_kept() -> None:
    given = PIXELS * 0.99 + 0.3
    np.testing.assert_allclose(taken(NORMAL, given), (given / 255 - NORMAL.mean) / NORMAL.std, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "values", "said"),
    [
        (
            PIXELS / 255.0,
            None,
            r"give \(255 \* x\).round\(\).astype\('uint8'\); or .* inputs=extend.Image\(16, 24, values='unit'\)",
        ),
        (PIXELS / 127.5 - 1, None, r"floats of -1 to 1 given.* inputs=extend.Image\(16, 24, values='normalised'\)"),
        (PIXELS / 16.0, None, "none is above 16"),
        (PIXELS > 99, None, "floats of 0 to 1 given"),
        (PIXELS * 2.0, None, "floats of 0 to 510 given"),
        (PIXELS.astype(np.uint16) * 257, None, "integers of 0 to 65535 given"),
        (PIXELS.astype(int) - 128, None, "integers of -128 to 127 given"),
        (PIXELS.astype(int) - 128, "normalised", "integers of -128 to 127 given"),
        (PIXELS * 1.0, "unit", "floats of 0 to 255 given; values='unit' means 0 to 1"),
        (PIXELS / 127.5 - 1, "pixels", "floats of -1 to 1 given; values='pixels' means 0 to 255"),
        (np.where(PIXELS > 9, PIXELS, np.nan), None, "2 samples hold NaN"),
        ([Picture.fromarray(COLOUR), COLOUR], None, "the pictures are of several kinds"),
        (np.asarray(["a.png", "b.png"]), None, r"number 0 \(a.png\) cannot be read"),
    ],
)
def test_what_may_be_misread_is_refused(given: Any, values: Any, said: str) -> None:
    with pytest.raises(extend.DataError, match=said):
        Image(16, 24, values=values).check(given, "the inputs")


def test_classes_that_are_given_in_several_ways_are_one_kind_of_array(tmp_path: Path) -> None:
    put({"1.png": saved(COLOUR, "PNG")}, tmp_path)
    spec = extend.Image(16, 24, mean=NORMAL.mean, std=NORMAL.std, values="normalised")
    for given in (
        {"a": PIXELS, "b": EXPECTED},
        {"a": tmp_path, "b": EXPECTED[1:]},
        {"a": EXPECTED[:1], "b": [tmp_path / "1.png"]},
    ):
        found = read(given, spec)
        expected = EXPECTED[[0, 0] if isinstance(given["b"], list) else [0, 1, 0, 1] if len(found) == 4 else [0, 1]]
        np.testing.assert_allclose(found.batch(0, 9, spec), expected, atol=2e-5)


def test_values_are_one_of_three() -> None:
    with pytest.raises(extend.ArgumentError, match="expected one of 'pixels', 'unit', 'normalised'"):
        Image(8, 8, values="0..1")  # type: ignore[arg-type]


def test_old_specs_are_read_and_new_ones_restored() -> None:
    assert "values" not in NORMAL.to_dict()["image"] and spec_from_dict(NORMAL.to_dict()) == NORMAL
    unit = Image(8, 8, values="unit")
    assert spec_from_dict(unit.to_dict()) == unit


def flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


@pytest.fixture(scope="module")
def clf() -> extend.Classifier:
    """Two classes of pictures of 4 x 6 pixels: red and blue ones."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 90, (40, 4, 6, 3), np.uint8)
    x[:20, ..., 0] += 150
    x[20:, ..., 2] += 150
    return extend.wrap(flat, ["red", "blue"], (x, np.repeat([0, 1], 20)), inputs=extend.Image(4, 6))


def test_predict_takes_pictures_in_every_form(clf: extend.Classifier, tmp_path: Path) -> None:
    blue = Picture.new("RGB", (30, 20), (20, 30, 200))
    put({"in/1.png": saved(red(), "PNG"), "in/b/2.jpg": saved(blue, "JPEG")}, tmp_path)
    folder, first = tmp_path / "in", tmp_path / "in" / "1.png"
    arrays = np.stack([clf.backbone.inputs.as_image().fitted(one) for one in (red(), blue)])  # type: ignore[union-attr]
    np.save(tmp_path / "both.npy", arrays)
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in (first, folder / "b" / "2.jpg"):
            archive.write(file, file.relative_to(folder))
    both = ["red", "blue"]
    for given in (
        folder,
        str(folder),
        tmp_path / "in.zip",
        [first, str(folder / "b" / "2.jpg")],
        np.asarray([str(first), str(folder / "b" / "2.jpg")]),
        [red(), blue],
        [first, tmp_path / "in" / "b"],
        tmp_path / "both.npy",
        arrays,
        arrays.tolist(),
    ):
        assert clf.predict(given).tolist() == both, given
    for given in (first, str(first), red(), arrays[0], arrays[:1], arrays[0].tolist()):
        assert clf.predict(given).tolist() == ["red"]
        assert clf.predict_proba(given).shape == clf.decision_function(given).shape == (1, 2)
        assert clf.transform(given).shape == (1, 72)
    assert clf.score([first, folder / "b" / "2.jpg"], both) == clf.score([red(), blue], both) == 1
    assert np.array_equal(clf.decision_function(arrays), clf.decision_function([red(), blue]))


def test_no_inputs_have_no_predictions(clf: extend.Classifier) -> None:
    for given in ([], (), np.zeros((0, 4, 6, 3)), np.zeros((0, 4, 6, 3), np.uint8)):
        assert clf.predict(given).shape == (0,) and clf.predict(given).dtype.kind == "U"
        assert clf.predict_proba(given).shape == clf.decision_function(given).shape == (0, 2)
        assert clf.transform(given).shape == (0, 72)
    with pytest.raises(extend.DataError, match="no samples given"):
        clf.predict(np.zeros((0, 5, 6, 3)))
    with pytest.raises(extend.DataError, match="no samples"):
        extend.add_classes(clf, {"new": []})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.png", None, "No such file"),
        ("bad.png", b"text, and no picture at all, of any kind", "it is none of JPEG"),
        ("cut.jpg", saved(COLOUR, "JPEG")[:300], "(?i)truncated"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    clf: extend.Classifier, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    for given in (tmp_path / name, [tmp_path / name]):
        with pytest.raises(extend.DataError, match=said) as caught:
            clf.predict(given)
        assert name in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(extend.DataError, match=said):
        clf.score([tmp_path / name], ["red"])


def test_inputs_that_are_no_pictures(plain: extend.Classifier, tmp_path: Path) -> None:
    vector = np.arange(5.0)
    one = plain.decision_function(vector[None])
    np.save(tmp_path / "one.npy", vector)
    for given in (vector, vector.tolist(), tuple(vector), tmp_path / "one.npy", [str(tmp_path / "one.npy")]):
        assert np.array_equal(plain.decision_function(given), one)
    for nothing in ([], np.zeros((0, 5)), np.zeros(0)):
        assert plain.predict(nothing).shape == (0,) and plain.predict_proba(nothing).shape == (0, 3)
    with pytest.raises(extend.DataError, match="images were given, but this classifier's inputs are arrays"):
        plain.predict(tmp_path / "a.png")
    with pytest.raises(extend.DataError, match="texts given"):
        plain.predict(["some text"])
    with pytest.raises(extend.DataError, match=r"shape \[4\] given"):
        plain.predict(vector[:4])


def test_one_input_and_none_of_several_arrays() -> None:
    def function(x: dict[str, Any]) -> Any:
        return x["a"] + x["b"][:, :1]

    x = {"a": np.arange(40.0).reshape(20, 2), "b": np.ones((20, 3))}
    parts = {"a": extend.Array((2,)), "b": extend.Array((3,))}
    clf = extend.wrap(function, ["low", "high"], (x, np.repeat([0, 1], 10)), inputs=parts)
    assert clf.predict({"a": x["a"][0], "b": x["b"][0]}).tolist() == ["low"]
    assert clf.predict({"a": x["a"][:0], "b": x["b"][:0]}).shape == (0,)


def test_what_floats_are_is_said_when_a_checkpoint_is_loaded(clf: extend.Classifier, tmp_path: Path) -> None:
    extend.save(clf, tmp_path / "clf")
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    unit = extend.load(tmp_path / "clf", flat, inputs=extend.Image(4, 6, values="unit"))
    assert np.array_equal(unit.decision_function(x / 255.0), clf.decision_function(x))
    extend.save(unit, tmp_path / "unit")
    assert extend.load(tmp_path / "unit", flat).backbone.inputs == extend.Image(4, 6, values="unit")
    with pytest.raises(
        extend.ArgumentError, match=r"whose inputs are images \[4, 6, 3\] float32: inputs= does not apply"
    ):
        extend.load(tmp_path / "clf", flat, inputs=extend.Image(8, 8))
