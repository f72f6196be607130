"""Weights files of PyTorch in every container, and parts of a Hugging Face folder."""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from extend.formats.torch import model as format
from extend.formats.transformers import model as transformers

PARTS = {".json": "config.json", ".weights": "model.safetensors", ".image": "preprocessor_config.json"}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def write(folder: Path) -> list[Path]:
    """A zip archive, its pickle alone (else the check sums catch mutants first), the old format, safetensors; a folder.

    Of the Hugging Face folder: configuration, preprocessor, weights.
    """
    state = network().state_dict()
    beside = {"args": argparse.Namespace(lr=0.1, steps=[1, 2]), "best": np.float64(0.9), "key": {("a", ("b", 1)): ()}}
    shared = ((1,), (1,))
    content = {"state_dict": state, "classes": ["a", "b", "c"], **beside, "shared": (shared, shared)}
    torch.save(content | {"ema": {"shadow": state}}, folder / "net.pt")
    torch.save(state, folder / "net.th", _use_new_zipfile_serialization=False)
    save_file(state, folder / "net.safetensors", {"format": "pt"})
    with zipfile.ZipFile(folder / "net.pt") as archive:
        (folder / "net.record").write_bytes(archive.read("net/data.pkl"))
    vit = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        image_size=8,
        patch_size=4,
        id2label={0: "cat", 1: "dog", 2: "owl"},
        label2id={"cat": 0, "dog": 1, "owl": 2},
    )
    hub = folder / "hub"
    ViTForImageClassification(vit).save_pretrained(hub)
    shutil.copy(hub / "config.json", folder / "hub.json")
    shutil.copy(hub / "model.safetensors", folder / "hub.weights")
    (folder / "hub.image").write_text(
        '{"size": {"height": 8, "width": 8}, "resample": 2, "do_rescale": true, "rescale_factor": 0.00392,'
        ' "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    names = ("net.pt", "net.record", "net.th", "net.safetensors", "hub.json", "hub.weights", "hub.image")
    return [folder / name for name in names]


def open(path: Path) -> None:
    """Open a file, or put it into its archive or folder first, and run it."""
    if path.suffix not in (".record", *PARTS):
        format.open(path, model=network, input=(4,)).features([[1.0, 2.0, 3.0, 4.0]])
        return
    with tempfile.TemporaryDirectory() as place:
        if path.suffix == ".record":
            whole = Path(place, "net.pt")
            whole.write_bytes(_with_pickle((path.parent / "net.pt").read_bytes(), path.read_bytes()))
            format.open(whole, model=network, input=(4,)).features([[1.0, 2.0, 3.0, 4.0]])
            return
        for part, name in PARTS.items():
            shutil.copy(path if path.suffix == part else path.parent / f"hub{part}", Path(place, name))
        opened = transformers.open(place)
        opened.features(torch.zeros(1, *opened.input.shape).numpy())


def _with_pickle(archive: bytes, content: bytes) -> bytes:
    """The archive with another ``data.pkl``, check sums right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, content if entry.filename.endswith("data.pkl") else old.read(entry))
    return made.getvalue()
