"""Where benchmarks leave their figures: one Markdown file each, with the machine and the versions that gave them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import jax


def write(name: str, command: str, title: str, lines: list[str]) -> None:
    """Print a table and write it to ``results/<name>.md``, with the command that made it."""
    text = "\n".join(lines)
    print(text, flush=True)
    packages = ", ".join(f"{p} {version(p)}" for p in ("jax", "flax", "numpy", "scipy", "scikit-learn"))
    machine = f"{_processor()}, {os.cpu_count()} cores, {jax.default_backend()}; Python {platform.python_version()}"
    target = Path(__file__).parent / f"{name}.md"
    target.write_text(
        f"# {title}\n\n`python -m benchmarks.{command}`\n\n{text}\n\nMeasured on {machine}, {packages}.\n"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
