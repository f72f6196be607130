"""Make ``converted/``: the model of ``text/`` as TensorFlow's converter writes it, quantized, in several files.

``python convert.py``, then ``make.mjs``, which computes what it answers. The config lies in ``model_config`` with a
``training_config`` beside it, recurrent weights have the name of their cell, some weights are stored as uint8, uint16
or float16, and the files of the second group lie in a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
SHARD = 700


def quantized(array: np.ndarray, kind: str) -> tuple[dict[str, Any], bytes]:
    """The entry and the bytes of an array, with zero among the numbers that can be stored."""
    if kind == "float16":
        return {"dtype": kind, "original_dtype": "float32"}, array.astype("<f2").tobytes()
    low, high = min(float(array.min()), 0.0), max(float(array.max()), 0.0)
    scale = (high - low) / np.iinfo(kind).max or 1.0
    low = -round(-low / scale) * scale
    stored = np.clip(np.round((array - low) / scale), 0, np.iinfo(kind).max).astype(f"<{np.dtype(kind).str[1:]}")
    return {"dtype": kind, "min": low, "scale": scale, "original_dtype": "float32"}, stored.tobytes()


def main() -> None:
    """Write the folder."""
    source, target = HERE / "text", HERE / "converted"
    document = json.loads((source / "model.json").read_text())
    (manifest,) = document["weightsManifest"]
    content = (source / "weights.bin").read_bytes()
    groups: list[tuple[list[dict[str, Any]], bytes]] = [([], b""), ([], b"")]
    for number, entry in enumerate(manifest["weights"]):
        size = 4 * int(np.prod(entry["shape"]))
        array, content = np.frombuffer(content[:size], "<f4").reshape(entry["shape"]), content[size:]
        layer, *inner, last = entry["name"].split("/")
        name = "/".join([layer, *inner, *(["lstm_cell"] if layer == "both" else []), last])
        made = {"name": name, "shape": entry["shape"], "dtype": "float32"}
        data = array.tobytes()
        if number % 4:
            made["quantization"], data = quantized(array, ("uint8", "uint16", "float16")[number % 4 - 1])
        group = int(layer in ("logits", "both"))
        groups[group] = ([*groups[group][0], made], groups[group][1] + data)
    (target / "more").mkdir(parents=True, exist_ok=True)
    written = []
    for number, (entries, data) in enumerate(groups, 1):
        pieces = [data[start : start + SHARD] for start in range(0, len(data), SHARD)]
        folder = "" if number == 1 else "more/"
        paths = [f"{folder}group{number}-shard{i}of{len(pieces)}.bin" for i in range(1, len(pieces) + 1)]
        for path, piece in zip(paths, pieces, strict=True):
            (target / path).write_bytes(piece)
        written.append({"paths": paths, "weights": entries})
    config = {key: document["modelTopology"][key] for key in ("class_name", "config")}
    training = {"loss": "categorical_crossentropy", "metrics": ["acc"], "optimizer_config": {"class_name": "Adam"}}
    topology = {"keras_version": "2.15.0", "backend": "tensorflow", "model_config": config, "training_config": training}
    made = {"format": "layers-model", "generatedBy": "keras v2.15.0", "convertedBy": "TensorFlow.js Converter v4.22.0"}
    made |= {"userDefinedMetadata": {"author": "someone"}, "modelTopology": topology, "weightsManifest": written}
    (target / "model.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
