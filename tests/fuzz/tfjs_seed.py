"""TensorFlow.js models for `tests.fuzz.run`: ``model.json`` changes beside its weights, and a whole zip does."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from extend.formats.tfjs.model import open

__all__ = ["open", "write"]

DATA = Path(__file__).parents[1] / "data" / "tfjs"


def write(folder: Path) -> list[Path]:
    """Teachable Machine's picture model, a text model that is quantized, and a zip archive that is not compressed."""
    files = []
    for name in ("picture", "converted"):
        document = json.loads((DATA / name / "model.json").read_text())
        for group in document["weightsManifest"]:
            for number, path in enumerate(group["paths"]):
                renamed = f"{name}-{Path(path).name}"
                (folder / renamed).write_bytes((DATA / name / path).read_bytes())
                group["paths"][number] = renamed
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(document))
    files.append(folder / "pose.zip")
    with zipfile.ZipFile(files[-1], "w") as archive:
        for file in sorted((DATA / "pose").iterdir()):
            archive.write(file, file.name)
    return files
