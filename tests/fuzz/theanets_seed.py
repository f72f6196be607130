"""Files that theanets wrote, for `tests.fuzz.run`; unzipped too, as gzip's checksum stops most changes."""

from __future__ import annotations

import gzip
from pathlib import Path

from extend.formats.theanets import model as format

FILES = Path(__file__).parents[1] / "formats" / "theanets"


def write(folder: Path) -> list[Path]:
    """Networks of theanets 0.3, 0.5 and 0.7, from Python 2 and 3."""
    files = []
    for name in ("0.3.0-python2", "0.5.3-python3", "0.7.3-python2", "0.7.3-python3"):
        content = (FILES / f"{name}.pkl.gz").read_bytes()
        for path, data in ((folder / f"{name}.pkl.gz", content), (folder / f"{name}.pkl", gzip.decompress(content))):
            path.write_bytes(data)
            files.append(path)
    return files


def open(path: Path) -> object:
    """The function under test."""
    return format.open(path)
