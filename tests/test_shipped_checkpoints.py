"""The CIFAR-10 checkpoint learns cat, then dog, from real images and from the shell."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from extend.cli import main as cli

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cifar10-8"


@pytest.fixture(scope="module")
def photos(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cats/cat and dogs/dog with 1,000 training images each, test/<class> with 200 test images of each class."""
    root = tmp_path_factory.mktemp("cifar")
    with tarfile.open(data_folder / "cifar10" / "cifar10-jpeg.tar.xz") as archive:
        for member in archive:
            part, _, rest = member.name.removeprefix("./").partition("/")
            name, _, file = rest.partition("/")
            number = int(file.removesuffix(".jpg") or -1) if file.endswith(".jpg") else -1
            if part == "test" and 0 <= number <= 200:
                target = root / "test" / name / file
            elif part == "train" and name in ("cat", "dog") and 0 <= number <= 1000:
                target = root / f"{name}s" / name / file
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    return root


@pytest.mark.slow
def test_cats_then_dogs_from_the_shell(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = CHECKPOINT
    for number, folder in enumerate(("cats", "dogs")):
        target = tmp_path / str(number)
        arguments = ["--new", photos / folder, "--out", target, "--json"]
        assert cli.main(["add", str(source), *map(str, arguments)]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["measured_on"] == "held-out features" and report["forgetting"] < 0.06
        source = target
    assert cli.main(["evaluate", str(source), str(photos / "test"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] >= 1900 and found["accuracy"] > 0.78
    assert np.mean([found["by_class"]["cat"], found["by_class"]["dog"]]) > 0.4


def test_its_size() -> None:
    assert sum(file.stat().st_size for file in CHECKPOINT.rglob("*")) < 8_000_000
