"""TODO"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extend.core import checkpoint
from extend.formats.base import Foreign
from extend.formats.registry import read
from extend.operations.export import memory_folder
from extend.operations.load_any import _names


def inspect(source: Any, **options: Any) -> dict[str, Any]:
    """What is in a file of another framework, in words: backbone, head, classes, input, memory, what will work."""
    opened = read(source, **options)
    beside = _beside(source)
    names = tuple(checkpoint.describe(beside)["classes"]) if beside is not None else _names(opened, None)
    d, k = opened.head.kernel.shape
    found = {
        "format": opened.format,
        "classes": list(names),
        "named": opened.classes is not None or beside is not None,
        "input": _words(opened),
        "features": d,
        "activation": opened.head.activation,
        **opened.describe(),
        "memory": f"in {beside.name}" if beside is not None else "none",
    }
    found["works"] = (
        "every linear method (auto, lda, ridge, nearest_mean, svm, new_units, imprint)"
        if beside is not None
        else f"imprint, as nothing is known of its {k} classes; every linear method with samples of them (--old, data=)"
    )
    return found


def _beside(source: Any) -> Path | None:
    """The folder that `export` wrote beside a file, if there is one."""
    folder = memory_folder(source) if isinstance(source, str | os.PathLike) else None
    return folder if folder is not None and checkpoint.is_ours(folder) else None


def _words(opened: Foreign) -> str:
    parts = opened.input if isinstance(opened.input, Mapping) else {"": opened.input}
    shown = {name: ", ".join("?" if axis is None else str(axis) for axis in part.shape) for name, part in parts.items()}
    return ", ".join(f"{name} [{shown[name]}] {part.dtype}".strip() for name, part in parts.items())
