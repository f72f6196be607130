"""A head <-> named arrays and JSON, for a checkpoint; read back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from extend.core.errors import ArgumentError
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.linear import Block, LinearHead, Origin
from extend.heads.links import link_named
from extend.heads.quadratic import QUADRATIC, QuadraticHead

OriginOf = Callable[[np.ndarray, np.ndarray, int], Origin]
"""Says where a block of kernel, bias and start came from."""


def to_tree(head: Head) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a head's arrays, and the rest as JSON; `from_tree` reads them back.

    Raises
    ------
    ArgumentError
        A block of the head has no column.
    """
    arrays: dict[str, Any] = {}
    calibrated = isinstance(head, Calibrated)
    if isinstance(head, Calibrated):
        arrays["calibration"] = {"scale": head.scale, "offset": head.offset}
        arrays["calibration"]["temperature"] = np.asarray([head.temperature])
        head = head.head
    rest = {"activation": head.link.name, "calibrated": calibrated}
    if isinstance(head, QuadraticHead):
        arrays["head"] = {name: getattr(head, name) for name in QUADRATIC}
        return arrays, {"kind": "quadratic", "start": head.start, **rest}
    assert isinstance(head, LinearHead)
    if not all(block.kernel.size for block in head.blocks):
        raise ArgumentError("the head has a block without columns")
    arrays["head"] = {str(i): _arrays(block) for i, block in enumerate(head.blocks)}
    rest |= {"starts": [b.start for b in head.blocks], "origins": [b.origin for b in head.blocks]}
    return arrays, {"kind": "linear", **rest}


def from_tree(tree: Mapping[str, Any], saved: Mapping[str, Any], origin_of: OriginOf) -> Head:
    """Read back what `to_tree` gave.

    Parameters
    ----------
    tree, saved
        The arrays, and the rest.
    origin_of
        Says where a block came from, for checkpoints of the first edition, which do not tell.
    """
    head: LinearHead | QuadraticHead
    if saved.get("kind", "linear") == "quadratic":
        head = QuadraticHead(**tree["head"], start=saved["start"], link=link_named(saved["activation"]))
    else:
        arrays = [tree["head"][str(i)] for i in range(len(saved["starts"]))]
        parts = [(a["kernel"], a["bias"], start) for a, start in zip(arrays, saved["starts"], strict=True)]
        origins = saved.get("origins") or [origin_of(*part) for part in parts]
        found = zip(parts, origins, arrays, strict=True)
        blocks = tuple(Block(*part, origin, a.get("centre")) for part, origin, a in found)
        head = LinearHead(blocks, link_named(saved["activation"]))
    old = float(tree.get("temperature", [1.0])[0])  # Before heads were calibrated apart, a temperature was all.
    if saved.get("calibrated"):
        c = tree["calibration"]
        return Calibrated(head, c["scale"], c["offset"], np.float32(c["temperature"][0]))
    return head if old == 1 else replace(Calibrated.of(head), temperature=np.float32(old))


def _arrays(block: Block) -> dict[str, Any]:
    held = {} if block.centre is None else {"centre": block.centre}
    return {"kernel": block.kernel, "bias": block.bias, **held}
