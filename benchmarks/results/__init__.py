"""Where benchmarks leave their figures: Markdown and JSON, with the machine and the versions that gave them."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

FOLDER = Path(__file__).parent
PACKAGES = ("jax", "flax", "numpy", "scipy", "scikit-learn")

Row = dict[str, Any]


def write(name: str, command: str, title: str, lines: list[str]) -> None:
    """Print a table and write it to ``results/<name>.md``, with the command that made it."""
    text = "\n".join(lines)
    print(text, flush=True)
    packages = ", ".join(f"{p} {version(p)}" for p in PACKAGES)
    (FOLDER / f"{name}.md").write_text(
        f"# {title}\n\n`python -m benchmarks.{command}`\n\n{text}\n\nMeasured on {machine()}, {packages}.\n"
    )


def write_json(name: str, command: str, rows: list[Row], **more: Any) -> None:
    """Write ``results/<name>.json`` in one step, one row a line: what is there is the old file or the new one."""
    head: Row = {"command": f"python -m benchmarks.{command}", "machine": machine()}
    head |= {"versions": {p: version(p) for p in PACKAGES}, **more}
    text = json.dumps(head, indent=1).removesuffix("\n}")
    partial = FOLDER / f"{name}.{os.getpid()}.json"
    partial.write_text(f'{text},\n "rows": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n")
    os.replace(partial, FOLDER / f"{name}.json")


def read_json(name: str) -> list[Row]:
    """The rows of ``results/<name>.json``; none if there is no such file."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text())["rows"] if file.exists() else []


def machine() -> str:
    """The processor, its cores, what JAX computes on and Python's version."""
    kind = jax.devices()[0].device_kind
    return f"{_processor()}, {os.cpu_count()} cores, {kind}; Python {platform.python_version()}"


def device() -> str:
    """What JAX computes on: the accelerator, or the processor and its cores."""
    kind = jax.devices()[0].device_kind
    return f"{_processor()}, {os.cpu_count()} cores" if kind == "cpu" else kind


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
