"""Folders, archives and tables of pictures: what is a class, what is passed over, and what is refused."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

import extend
from extend.data import Image, Samples, read, read_into

SPEC = Image(8, 8)


def picture(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    Picture.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def put(folder: Path, *names: str) -> Path:
    """Write a picture, of another content each, under each of these names."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(number))
    return folder


def counted(samples: Samples) -> dict[str, int]:
    return dict(zip(samples.classes, samples.counts.tolist(), strict=True))


def test_a_class_is_a_folder_and_its_sub_folders_belong_to_it(tmp_path: Path) -> None:
    put(tmp_path, "frog/1.png", "frog/close/2.png", "frog/close/very/3.png", "toad/1.png")
    found = read(tmp_path, SPEC)
    assert counted(found) == {"frog": 3, "toad": 1}
    assert found.files == ("frog/1.png", "frog/close/2.png", "frog/close/very/3.png", "toad/1.png")
    assert found.notes == ("2 pictures lie in sub-folders, which belong to their class: frog/close, frog/close/very",)
    assert found.take(found.labels == 1).files == ("toad/1.png",)


def test_what_is_no_picture_is_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, "frog/1.png", "toad/1.png", "toad/without suffix", "toad/photo.unknown")
    for name in ("frog/notes.txt", "frog/more.txt", "toad/film.mov"):
        (tmp_path / name).write_text("text")
    for name in (".DS_Store", "frog/._1.png", "frog/.ipynb_checkpoints/1.png", "__MACOSX/frog/1.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"hidden")
    found = read(tmp_path, SPEC)
    assert counted(found) == {"frog": 1, "toad": 3}
    assert found.notes == (
        "3 files are no picture and left out: 2 .txt, such as frog/more.txt, 1 .mov, such as toad/film.mov",
    )


@pytest.mark.parametrize(
    ("names", "others", "said"),
    [
        (["1.png", "2.png"], [], r"2 pictures lie in it directly, and a class is a folder: give its parent"),
        (["a/1.png", "2.png"], [], r"1 picture lies beside the class folders \(2.png\)"),
        (["a/1.png"], ["b/film.mov"], r"class folder 'b' holds no picture \(1 .mov, such as b/film.mov\)"),
        (["a/1.png"], ["b/"], r"class folder 'b' is empty"),
        ([], ["a/film.mov"], r"no images found \(1 .mov, such as a/film.mov\)"),
        (["in/a/1.png", "in/b/1.png", "out/a/2.png"], [], r"holds in, out, which hold the same folders \(a\)"),
        (["a/1.png", "test/a/2.png"], [], r"two folders are called 'a' \(a and test/a\)"),
        (["photos/a/1.png", "photos/b/1.png"], [], r"holds one folder, photos, whose pictures lie in a, b"),
    ],
)
def test_what_can_be_meant_in_two_ways_is_asked_about(
    tmp_path: Path, names: list[str], others: list[str], said: str
) -> None:
    put(tmp_path, *names)
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).write_text("text")
    with pytest.raises(extend.DataError, match=said):
        read(tmp_path, SPEC)


def test_a_folder_of_one_class_is_named(tmp_path: Path) -> None:
    put(tmp_path, "flat/1.png", "flat/deep/2.png", "toads/1.png")
    assert counted(read({"frog": tmp_path / "flat"}, SPEC)) == {"frog": 2}
    both = read(
        {"frog": tmp_path / "flat", "toad": str(tmp_path / "toads"), "newt": np.zeros((2, 8, 8, 3), "u1")}, SPEC
    )
    assert counted(both) == {"frog": 2, "toad": 1, "newt": 2}


def test_links_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "1.png", "2.png")
    put(tmp_path / "data", "cat/1.png")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "elsewhere")
    for number in range(3):
        (tmp_path / "data" / "cat" / f"up{number}").symlink_to("..")
    os.mkfifo(tmp_path / "data" / "cat" / "pipe.jpg")
    (tmp_path / "data" / "cat" / "broken.jpg").symlink_to("nowhere")
    assert counted(read(tmp_path / "data", SPEC)) == {"cat": 1, "dog": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_does_not_vanish(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "dog").chmod(0)
    try:
        with pytest.raises(extend.DataError, match="dog"):
            read(tmp_path, SPEC)
    finally:
        (tmp_path / "dog").chmod(0o700)


FILES = [(f"{name}/{i}.png", picture(10 * n + i)) for n, name in enumerate(("cat", "dog")) for i in range(5)]


def tar(path: Path, mode: str = "w", files: list[tuple[str, bytes]] = FILES) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, body in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return path


def zipped(path: Path, files: list[tuple[str, bytes]] = FILES) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files:
            archive.writestr(name, body)
    return path


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "tar.bz2", "zip"])
def test_archives_hold_what_folders_hold(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "folder")
    for name, body in FILES:
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(body)
    mode = "w" if kind == "tar" else f"w:{kind.partition('.')[2]}"
    packed = [(f"photos/{name}", body) for name, body in reversed(FILES)]
    path = tmp_path / f"archive.{kind}"
    archive = zipped(path, packed) if kind == "zip" else tar(path, mode, packed)
    one, two = read(tmp_path / "folder", SPEC), read(archive, SPEC)
    assert one.classes == two.classes == ("cat", "dog") and np.array_equal(one.keys, two.keys)
    assert np.array_equal(one.inputs, two.inputs) and np.array_equal(one.labels, two.labels)


def test_of_a_file_that_is_there_twice_the_last_counts(tmp_path: Path) -> None:
    found = read(tar(tmp_path / "twice.tar", files=[*FILES, (FILES[0][0], picture(99))]), SPEC)
    assert counted(found) == {"cat": 5, "dog": 5}
    assert np.array_equal(found.inputs[0], SPEC.read(picture(99)))


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    whole, packed = tar(tmp_path / "whole.tar"), tar(tmp_path / "whole.tar.gz", "w:gz")
    zip_ = zipped(tmp_path / "whole.zip")
    bad: dict[str, bytes] = {}
    body = whole.read_bytes()
    bad["cut.tar"] = body[: 7 * 1024 + 200]
    bad["cut at a header.tar"] = body[: 2 * 1024]
    for name, source in (("gz", packed), ("zip", zip_)):
        content = bytearray(source.read_bytes())
        content[len(content) // 2] ^= 16
        bad[f"flipped.{name}"] = bytes(content)
        bad[f"cut.{name}"] = source.read_bytes()[: len(content) // 2]
    bad["cut.tar.xz"] = tar(tmp_path / "whole.tar.xz", "w:xz").read_bytes()[:2000]
    bad["wrong sum.tar.gz"] = packed.read_bytes()[:-8] + b"\x00" * 8
    bad["text.zip"] = b"this is no archive"
    bad["zeros.tar.gz"] = gzip.compress(body[:512] + bytes(100))
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(extend.DataError, match=name.split(".")[0]) as caught:
            read(tmp_path / name, SPEC)
        assert "\n" not in str(caught.value)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(tmp_path / "x.zip").read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(mark, at + 4)
    (tmp_path / "locked.zip").write_bytes(bytes(content))
    with pytest.raises(extend.DataError, match="encrypted"):
        read(tmp_path / "locked.zip", SPEC)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("cat/huge.png")
    entry.size = 100 << 30
    with (tmp_path / "huge.tar").open("wb") as file:
        file.write(entry.tobuf())
        file.truncate(entry.size + 2048)  # Sparse: it takes no room.
    with pytest.raises(extend.DataError, match="is no picture; a file may have"):
        read(tmp_path / "huge.tar", SPEC)


def test_a_table_of_paths_and_labels(tmp_path: Path) -> None:
    put(tmp_path, "all/1.png", "all/2.png", "all/3.png")
    (tmp_path / "head.csv").write_text('label,path\n"big, green",all/1.png\ntoad,all/2.png\n')
    found = read(tmp_path / "head.csv", SPEC)
    assert counted(found) == {"big, green": 1, "toad": 1} and found.files == ("all/1.png", "all/2.png")
    (tmp_path / "bare.tsv").write_text("all/1.png\tfrog\nall/3.png\tfrog\n\n")
    assert counted(read(tmp_path / "bare.tsv", SPEC)) == {"frog": 2}
    assert read_into(("toad", "frog"), tmp_path / "bare.tsv", SPEC, "data").labels.tolist() == [1, 1]
    for text, said in (
        ("path,label\nall/9.png,frog\n", "row 1: no such file: all/9.png"),
        ("path,label\nall/1.png,\n", "row 1 has no label"),
        ("path,label\nall/1.png,a\nall/1.png,b\n", "two labels, 'a' and 'b'"),
        ("path,label\n", "no rows"),
        ("", "no rows"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(extend.DataError, match=said):
            read(tmp_path / "bad.csv", SPEC)


def test_names_that_are_almost_the_same_are_asked_about() -> None:
    x = np.eye(4, dtype=np.float32).repeat(4, axis=0)
    clf = extend.wrap(lambda x: x, ["red fox", "b"], (x[:8], np.repeat([0, 1], 4)))
    for name in ("Red Fox", "red_fox", "redfox "):
        with pytest.raises(extend.ArgumentError, match="called almost as 'red fox' is"):
            extend.add_classes(clf, {name: x[8:12]})
    assert extend.add_classes(clf, {"Red Fox": x[8:12]}, similar_names=True)[0].classes[-1] == "Red Fox"
    assert extend.add_classes(clf, {"B": x[8:12]})[0].classes[-1] == "B"  # Letters differ in case.
    with pytest.raises(extend.ArgumentError, match="called almost as 'new' is"):
        extend.add_classes(clf, {"new": x[8:12], "New": x[12:]})


def test_copies_are_counted(tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32).repeat(4, axis=0)
    clf = extend.wrap(lambda x: x, ["a", "b"], (x[:8], np.repeat([0, 1], 4)))
    _, report = extend.add_classes(clf, {"c": x[8:12]})
    assert any("3 of 4 samples of 'c' are copies" in note for note in report.notes)
