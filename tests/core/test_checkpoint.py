"""Saving is all or nothing, and every damage is noticed."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from extend.core import checkpoint
from extend.core.errors import CheckpointError

TREE = {
    "a": {"b": np.arange(5.0), "key": np.arange(3, dtype=np.uint64) + np.uint64(2**63)},
    "none": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "small": np.float32([1.5]),
}


def test_a_tree_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", TREE, {"x": [1, "ä"]})
    tree, description = checkpoint.load(tmp_path / "c")
    assert description == {"x": [1, "ä"]} == checkpoint.describe(tmp_path / "c")
    for one, two in ((tree["a"]["b"], TREE["a"]["b"]), (tree["a"]["key"], TREE["a"]["key"])):
        assert one.dtype == two.dtype and np.array_equal(one, two)
    assert tree["none"].shape == (0, 3) and tree["none"].dtype == np.float32
    assert np.array_equal(tree["flags"], TREE["flags"]) and tree["flags"].dtype == bool


def test_saving_again_replaces_and_leaves_one_data_folder(tmp_path: Path) -> None:
    for number in range(3):
        checkpoint.save(tmp_path, {"n": np.array([number])}, {"n": number})
    assert checkpoint.load(tmp_path)[0]["n"].tolist() == [2]
    assert len(list(tmp_path.glob("data-*"))) == 1


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        checkpoint.load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no manifest"):
        checkpoint.load(tmp_path)


def test_truncated_and_changed_files_are_named(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "whole", TREE, {})
    for number, file in enumerate(files(tmp_path / "whole")):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "whole", copy)
        damaged = copy / file.relative_to(tmp_path / "whole")
        damaged.write_bytes(damaged.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match=file.name):
            checkpoint.load(copy)
        damaged.unlink()
        with pytest.raises(CheckpointError):
            checkpoint.load(copy)
    extra = next((tmp_path / "whole").glob("data-*")) / "more"
    extra.write_bytes(b"")
    with pytest.raises(CheckpointError, match="not part of this checkpoint"):
        checkpoint.load(tmp_path / "whole")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    import hashlib

    checkpoint.save(tmp_path, TREE, {})
    body = json.loads((tmp_path / "manifest").read_bytes().partition(b"\n")[2])
    newer = json.dumps({**body, "format": checkpoint.FORMAT + 1}).encode()
    (tmp_path / "manifest").write_bytes(hashlib.sha256(newer).hexdigest().encode() + b"\n" + newer)
    with pytest.raises(CheckpointError, match="newer than this version reads"):
        checkpoint.load(tmp_path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """1000 single-bit flips, spread at random over all bytes of all files (small files get their share)."""
    checkpoint.save(tmp_path, {**TREE, "big": np.random.default_rng(0).normal(size=2000)}, {"classes": ["a", "b"]})
    rng = random.Random(0)
    everything = files(tmp_path)
    noticed = 0
    for number in range(1000):
        file = everything[number % len(everything)] if number % 2 else rng.choice(everything)
        content = file.read_bytes()
        place, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        file.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            with pytest.raises(CheckpointError):
                checkpoint.load(tmp_path)
            noticed += 1
        finally:
            file.write_bytes(content)
    assert noticed == 1000
    checkpoint.load(tmp_path)


def test_out_of_room_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """The kernel refuses files beyond a size, as a full disk does."""
    checkpoint.save(tmp_path / "c", {"n": np.arange(3)}, {"n": "old"})
    script = """
        import resource, signal, sys
        import numpy as np
        from extend.core import checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            checkpoint.save(sys.argv[1], {"big": np.random.default_rng(0).normal(size=100_000)}, {"n": "new"})
        except checkpoint.CheckpointError as error:
            print(error)
    """
    done = run_python(script, tmp_path / "c")
    assert "could not be saved" in done.stdout and "unchanged" in done.stdout, done.stderr
    tree, description = checkpoint.load(tmp_path / "c")
    assert description == {"n": "old"} and tree["n"].tolist() == [0, 1, 2]
    assert len(list((tmp_path / "c").iterdir())) == 3  # manifest, lock, one data folder
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    import fcntl

    checkpoint.save(tmp_path, TREE, {})
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="another process is saving"):
            checkpoint.save(tmp_path, TREE, {})


def test_what_is_not_ours_is_never_touched(tmp_path: Path) -> None:
    """A folder of other things is refused, and beside a checkpoint only names that a save writes are removed."""
    (tmp_path / "data-train" / "cat").mkdir(parents=True)
    (tmp_path / "data-train" / "cat" / "1.jpg").write_bytes(b"the only copy")
    (tmp_path / "manifest-2024.json").write_text("mine")
    with pytest.raises(
        CheckpointError, match=r"holds other things than a checkpoint \(data-train, manifest-2024.json\)"
    ):
        checkpoint.save(tmp_path, TREE, {})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data-train", "manifest-2024.json"]
    checkpoint.save(tmp_path / "c", TREE, {"n": 1})
    shutil.copytree(tmp_path / "data-train", tmp_path / "c" / "data-train")
    (tmp_path / "c" / f"data-{32 * '0'}").mkdir()  # What an interrupted save leaves.
    checkpoint.save(tmp_path / "c", TREE, {"n": 2})
    assert (tmp_path / "c" / "data-train" / "cat" / "1.jpg").read_bytes() == b"the only copy"
    assert len(list((tmp_path / "c").glob("data-*"))) == 2 and checkpoint.describe(tmp_path / "c") == {"n": 2}


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match=r"is a file|is no folder that you may write to"):
            checkpoint.check_room(place)
    checkpoint.check_room(tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_that_changed_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, TREE, {"n": 0})
    read = checkpoint.identity(tmp_path)
    checkpoint.save(tmp_path, TREE, {"n": 1}, since=read)
    with pytest.raises(CheckpointError, match="changed by another process since it was read"):
        checkpoint.save(tmp_path, TREE, {"n": 2}, since=read)
    assert checkpoint.describe(tmp_path) == {"n": 1}


def test_a_manifest_with_a_right_sum_may_still_be_none(tmp_path: Path) -> None:
    import hashlib

    checkpoint.save(tmp_path / "c", TREE, {"n": 0})
    manifest = tmp_path / "c" / "manifest"
    good = json.loads(manifest.read_bytes().partition(b"\n")[2])
    bad: list[object] = [[], None, 3, "x", {}, *({k: v for k, v in good.items() if k != name} for name in good)]
    for name in good:
        bad += [good | {name: wrong} for wrong in (None, [], -1, "../x", {"a": 1}, [["x"]])]
    bad += [good | {"data": "data-../../x"}, good | {"files": {"_METADATA": 3}}, good | {"empty": {"x": [[1], "f4"]}}]
    bad += [good | {"empty": {'["n"]': [[0, -5], "object"]}}, good | {"files": {}}]
    refused = 0
    for content in bad:
        body = json.dumps(content).encode()
        manifest.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        try:
            checkpoint.load(tmp_path / "c")
        except CheckpointError:
            refused += 1
    harmless = 2  # {"a": 1} as description, which may be anything; -1 as format.
    assert refused >= len(bad) - harmless


def test_readers_beside_a_writer_see_the_old_or_the_new(tmp_path: Path) -> None:
    script = """
        import sys
        import numpy as np
        from extend.core import checkpoint
        for number in range(1, 10**6):
            checkpoint.save(sys.argv[1], {"g": {str(i): np.full(3000, number) for i in range(5)}}, {"number": number})
    """
    checkpoint.save(tmp_path / "c", {"g": {str(i): np.full(3000, 0) for i in range(5)}}, {"number": 0})
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "c")])
    try:
        seen = set()
        end = time.time() + 60
        while len(seen) < 15 and time.time() < end:
            tree, description = checkpoint.load(tmp_path / "c")
            assert all((tree["g"][str(i)] == description["number"]).all() for i in range(5))
            seen.add(description["number"])
        assert len(seen) >= 15 and writer.poll() is None
    finally:
        writer.kill()
        writer.wait()


@pytest.mark.slow
def test_killed_at_random_moments_of_a_save(tmp_path: Path) -> None:
    """SIGKILL at 50 random moments while an existing checkpoint is replaced: old or new restores, whole."""
    folder = tmp_path / "c"
    script = """
        import sys
        import numpy as np
        from extend.core import checkpoint
        checkpoint.save(sys.argv[2], {"warm": np.zeros(3)}, {})
        print("ready", flush=True)
        number = int(sys.argv[3])
        while True:
            number += 1
            tree = {str(i): np.full(20_000, number) for i in range(8)}
            checkpoint.save(sys.argv[1], tree, {"number": number})
            print(number, flush=True)
    """
    checkpoint.save(folder, {str(i): np.full(20_000, 0) for i in range(8)}, {"number": 0})
    rng, last, during = random.Random(0), 0, 0
    for _ in range(50):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(folder), str(tmp_path / "warm"), str(last)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.0, 0.3))
        os.kill(child.pid, signal.SIGKILL)
        reported = [int(line) for line in child.stdout.read().split("\n")[:-1] if line.isdigit()]
        child.wait()
        during += len(list(folder.glob("data-*"))) > 1 or len(list(folder.glob("manifest-*"))) > 0
        tree, description = checkpoint.load(folder)
        number = description["number"]
        finished = reported[-1] if reported else last
        assert finished <= number <= finished + 1, (finished, number)
        assert all((tree[str(i)] == number).all() for i in range(8))
        last = number
    assert during >= 10  # Many of the 50 moments really fell into a save.
    checkpoint.save(folder, {"n": np.zeros(1)}, {})
    assert len(list(folder.glob("data-*"))) == 1 and not list(folder.glob("manifest-*"))


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size)


def run_python(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
