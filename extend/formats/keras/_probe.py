"""An HDF5 file is read once by another process, under limits of time and memory, before this one reads it.

A flipped byte in a heap or a tree of an HDF5 file can make libhdf5 loop for ever or crash, where no exception comes and
Ctrl-C does not help. The other process reads what this one will: every name, attribute and array that is not plain
bytes. It takes a third of a second, most of which passes while Keras is imported.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from extend.core.errors import FormatError, MissingExtraError

SECONDS = 3
"""Processor time for every 100 MB of a file, begun or whole."""

PROGRAM = """
import io, os, sys
try:
    import resource
    for limit, most in ((resource.RLIMIT_CPU, int(sys.argv[1])), (resource.RLIMIT_AS, int(sys.argv[2]))):
        resource.setrlimit(limit, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    pass
sys.path[:0] = sys.argv[3].split(os.pathsep)
import h5py
file = h5py.File(io.BytesIO(sys.stdin.buffer.read()), "r")
def look(item):
    for name in item.attrs:
        item.attrs[name]
    if isinstance(item, h5py.Dataset) and item.chunks is not None and item.nbytes < int(sys.argv[2]) // 4:
        item[()]
look(file)
file.visititems(lambda name, item: look(item))
"""

_passed: set[bytes] = set()
"""SHA-256 of what was read to its end, or written here."""


def noted(content: bytes) -> bytes:
    """Note the content of an HDF5 file that was written here, and return it."""
    _passed.add(hashlib.sha256(content).digest())
    return content


def probe(content: bytes) -> None:
    """Read an HDF5 file in another process.

    Raises
    ------
    FormatError
        If that process does not end in time, or crashes. An error of libhdf5 in it is left for the caller to meet.
    """
    digest = hashlib.sha256(content).digest()
    if digest in _passed:
        return
    try:
        import h5py
        import numpy as np
    except ImportError as error:
        raise MissingExtraError("Keras", "keras", error) from error
    seconds = SECONDS * (1 + len(content) // (100 << 20))
    folders = os.pathsep.join({str(Path(str(module.__file__)).parents[1]) for module in (h5py, np)})
    command = [sys.executable, "-I", "-S", "-c", PROGRAM, str(seconds), str((2 << 30) + 4 * len(content)), folders]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=10 * seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise FormatError(f"the HDF5 file is damaged: reading it does not end within {seconds} s") from error
    if done.returncode < 0:
        raise FormatError(
            f"the HDF5 file is damaged: reading it crashes, or does not end within {seconds} s of processor time"
        )
    _passed.add(digest)
