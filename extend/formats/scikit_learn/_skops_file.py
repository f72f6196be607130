"""skops files: scikit-learn's objects without pickle, as a zip of a JSON description and arrays.

Only types that skops trusts, and the few named here, are made from a file.
Source: https://skops.readthedocs.io/en/stable/persistence.html
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from extend.core.errors import FormatError, MissingExtraError
from extend.formats.base import read_bytes, replace_file

TRUSTED = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "numpy.dtype",
)
"""Types beside those that skops trusts: they hold numbers, or are functions that nothing calls here."""

SCHEMA, SMALL, RATIO, NODES, PASSES = 16 << 20, 256 << 20, 20, 2_000_000, 20
"""Limits of a file: its JSON; what it may unpack to in any case; and, beyond that, times its own size; its objects,
which count as often as they are referred to."""


def read(path: str | os.PathLike[str], *, trust: bool = False) -> Any:
    """Return the object in a skops file.

    Raises
    ------
    FormatError
        If the file is a pickle, not a skops file, damaged or too large, or holds types that are not trusted: they are
        named, and made all the same if `trust` is true.
    MissingExtraError
        If skops is not installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder, "some.skops"), {"answer": 42})
    ...     read(Path(folder, "some.skops"))
    {'answer': 42}
    """
    if Path(path).suffix.lower() in (".pkl", ".pickle", ".joblib"):
        raise FormatError(_unpickle(path))
    content, skops = read_bytes(path), _skops()
    if content[:1] == b"\x80" or content[:2] == b"\x78\x9c":
        raise FormatError(_unpickle(path))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries if entry.filename == "schema.json") > SCHEMA:
                raise FormatError(f"{path}: its schema.json unpacks to more than {SCHEMA} bytes")
            described = json.loads(archive.read("schema.json"))
            schema = json.dumps(described)
        if _expanded(described) > NODES:
            raise FormatError(f"{path}: its objects hold each other, which comes to more than {NODES} of them")
    except FormatError:
        raise
    except Exception as error:  # zipfile and json raise errors of many kinds for damaged files.
        raise FormatError(f"{path}: not a skops file (a zip archive with a schema.json): {error!r}") from error
    # An array is read each time that it is named.
    size = sum(entry.file_size * max(1, schema.count(json.dumps(entry.filename))) for entry in entries)
    if size > max(SMALL, RATIO * len(content)):
        raise FormatError(f"{path}: it unpacks to {size} bytes; the file has {len(content)}")
    try:
        unknown = sorted(set(skops.get_untrusted_types(data=content)) - set(TRUSTED))
    except Exception as error:  # skops raises whatever a damaged description leads to.
        raise FormatError(f"{path}: skops cannot read it: {error!r}") from error
    if unknown and not trust:
        raise FormatError(
            f"{path}: it holds objects of types that are not trusted: {', '.join(unknown)}; "
            "if the file is yours and these are your own, pass trust=True"
        )
    try:
        return skops.loads(content, trusted=[*TRUSTED, *unknown])
    except Exception as error:  # As above.
        raise FormatError(f"{path}: skops cannot read it: {error!r}") from error


def _expanded(described: Any) -> int:
    """The number of objects where each reference (an ``__id__`` that stood before) counts as all that it refers to."""
    sizes: dict[Any, int] = {}

    def size(node: Any) -> int:
        if isinstance(node, list):
            return sum(map(size, node))
        if not isinstance(node, dict):
            return 1
        total = 1 + sum(map(size, node.values()))
        identity = node.get("__id__")
        if isinstance(identity, int | str):
            total = sizes[identity] = max(total, sizes.get(identity, 0))
        return total

    found = -1
    for _ in range(PASSES):  # What stands after a reference may be what it refers to.
        if not found < (total := size(described)) <= NODES:
            return total
        found = total
    return NODES + 1


def write(path: Path, value: Any) -> None:
    """Write an object as a skops file that `read` can read.

    Raises
    ------
    FormatError
        If skops does not know a type in the object.
    MissingExtraError
        If skops is not installed.
    """
    skops = _skops()
    try:
        content = skops.dumps(value)
        # It writes lambdas that it cannot read.
        skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    except Exception as error:  # Functions and classes that skops does not know raise errors of their own.
        raise FormatError(f"{path}: skops cannot write this estimator: {error}") from error
    replace_file(path, content)


def _skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingExtraError("a .skops file", "sklearn", error) from error
    return skops.io


def _unpickle(path: Any) -> str:
    return (
        f"{path}: a pickle runs code when it is read, so it is not opened here; where you trust the file, convert it: "
        f"import joblib, skops.io; skops.io.dump(joblib.load({str(path)!r}), 'model.skops')"
    )
