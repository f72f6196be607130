"""TODO"""

from __future__ import annotations

from typing import Any

from extend.backbone.file import column_names, inputs_in_words
from extend.core import checkpoint
from extend.formats.registry import read
from extend.operations.load_any import folder_beside


def inspect(source: Any, **options: Any) -> dict[str, Any]:
    """What is in a file of another framework, in words: backbone, head, classes, input, memory, what will work."""
    opened = read(source, **options)
    beside = folder_beside(source)
    names = tuple(checkpoint.describe(beside)["classes"]) if beside is not None else column_names(opened)
    d, k = opened.head.kernel.shape
    found = {
        "format": opened.format,
        "classes": list(names),
        "named": opened.classes is not None or beside is not None,
        "input": inputs_in_words(opened),
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
