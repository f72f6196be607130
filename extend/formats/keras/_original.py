"""A file of Keras 2 written back: its own configuration and arrays, with another head.

What a file holds that Keras 3 has no word for stays in it this way, and no weight but the head's passes through
Keras.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from extend.formats.keras import _archive as archive
from extend.formats.keras import _legacy as legacy
from extend.formats.keras import _weights as weights
from extend.formats.keras._place import Columns, Place, put
from extend.formats.keras._probe import noted


@dataclass(frozen=True, eq=False)
class Original:
    """A file of Keras 2 as it was opened.

    Parameters
    ----------
    suffix
        ``.h5`` or ``.keras``.
    content
        Its bytes.
    config
        The model's config, as it is in the file.
    paths
        The path of each variable's array, by the variable's id.
    turned
        The paths of kernels that are flipped in the file, as Keras on Theano wrote it.
    """

    suffix: str
    content: bytes = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    paths: Mapping[int, str] = field(repr=False)
    turned: frozenset[str] = frozenset()

    def written(self, place: Place, columns: Columns, classes: tuple[str, ...]) -> bytes:
        """Return the bytes of the file with these columns as its head; optimizer, loss and metrics are left out."""
        config = copy.deepcopy(self.config)
        config.pop("compile_config", None)
        put(config, place, columns)
        kernel, layer = self.paths[id(place.layer.kernel)], place.layer
        bias = self.paths[id(layer.bias)] if layer.use_bias else None
        if self.suffix == ".keras":
            return self._zip(config, kernel, bias, columns, classes)
        return self._h5(config, kernel, bias, columns, classes)

    def _h5(
        self, config: dict[str, Any], kernel: str, bias: str | None, columns: Columns, classes: tuple[str, ...]
    ) -> bytes:
        import h5py

        replaced = {kernel: columns.kernel}
        if bias is not None and columns.bias is not None:
            replaced[bias] = columns.bias
        written: legacy.Weights = []
        with h5py.File(io.BytesIO(self.content), "r") as file:
            group = file["model_weights"]
            for name in archive.attributes(group, "layer_names"):
                own = group[name]
                values: list[tuple[str, np.ndarray]] = []
                for weight in archive.attributes(own, "weight_names"):
                    path = own[weight].name
                    value = replaced[path] if path in replaced else np.asarray(own[weight][()])
                    values.append((weight, weights.turn(value) if path in self.turned else value))
                    if path == kernel and bias is None and columns.bias is not None:
                        values.append((_beside(weight), columns.bias))
                written.append((name, values))
        return legacy.file_of(legacy.for_both(config), written, classes)

    def _zip(
        self, config: dict[str, Any], kernel: str, bias: str | None, columns: Columns, classes: tuple[str, ...]
    ) -> bytes:
        import h5py

        result = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(self.content)) as source, zipfile.ZipFile(result, "w") as target:
            arrays = io.BytesIO()
            with h5py.File(io.BytesIO(source.read(archive.WEIGHTS))) as old, h5py.File(arrays, "w") as new:
                for name in old:
                    if name not in ("optimizer", "metrics"):
                        old.copy(name, new)
                folder = new[kernel].parent
                for place, value in enumerate((columns.kernel, columns.bias)):
                    if str(place) in folder:
                        del folder[str(place)]
                    if value is not None:
                        folder[str(place)] = value
            target.writestr("metadata.json", source.read("metadata.json"))
            target.writestr("config.json", json.dumps(config))
            target.writestr(archive.WEIGHTS, noted(arrays.getvalue()))
            target.writestr("classes.json", json.dumps(list(classes)))
        return result.getvalue()


def _beside(kernel: str) -> str:
    """The name of the bias beside a kernel of this name."""
    folder, slash, last = kernel.rpartition("/")
    return folder + slash + (last.replace("kernel", "bias", 1) if "kernel" in last else f"bias_of_{last}")
