"""A memory <-> named arrays and JSON, for a checkpoint; read back bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.core.linalg import pack, unpack
from extend.memory.exemplars import Exemplars
from extend.memory.fisher import Fisher
from extend.memory.inverse import Inverse
from extend.memory.memory import Memory
from extend.memory.statistics import Statistics

HELD = {"features": "features", "label": "labels", "key": "keys", "seen": "trained_on"}
SETTINGS = {
    "offset": "offset",
    "most": "max_held_out",
    "shrinkage": "shrinkage",
    "ridge": "ridge",
    "spent": "held_out_used",
}
"""Names in a checkpoint, which stay as they are, and the attributes of a `Memory` that they stand for."""
EXEMPLARS = {"exemplar_label": "labels", "exemplar_key": "keys", "exemplar_rank": "ranks"}


def to_tree(memory: Memory) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, and the rest as JSON; `from_tree` reads them back bit for bit."""
    core, d = memory.core, memory.dim
    arrays = {"count": core.count, "mean": core.mean, "within": pack(core.within)}
    arrays |= {name: getattr(memory, attribute) for name, attribute in HELD.items()}
    if core.scatters is not None:
        packed = [s for s in core.scatters if s.ndim == 1]
        factors = [s for s in core.scatters if s.ndim == 2]
        arrays["rank"] = np.asarray([len(s) if s.ndim == 2 else -1 for s in core.scatters])
        arrays["packed"] = np.stack(packed) if packed else np.zeros((0, d * (d + 1) // 2))
        arrays["factors"] = np.concatenate([np.zeros((0, d)), *factors])
    if memory.inverses:
        arrays["inverse"] = np.stack([pack(inverse.matrix) for inverse in memory.inverses])
        arrays["product"] = np.stack([inverse.product for inverse in memory.inverses])
    rest = {
        "classes": list(memory.classes),
        **{name: getattr(memory, attribute) for name, attribute in SETTINGS.items()},
    }
    rest |= {"strengths": [inverse.strength for inverse in memory.inverses], "carried": list(memory.transported)}
    if memory.exemplars is not None:
        kept = memory.exemplars
        rest["exemplars"] = {"limit": kept.limit, "leaves": None if kept.leaves is None else len(kept.leaves)}
        arrays |= {name: getattr(kept, attribute) for name, attribute in EXEMPLARS.items()}
        arrays |= {f"exemplar.{i}": leaf for i, leaf in enumerate(kept.leaves or ())}
    if memory.fisher is not None:
        rest["fisher"] = memory.fisher.count
        arrays |= {f"fisher.{name}": value for name, value in memory.fisher.values.items()}
    return arrays, rest


def from_tree(arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> Memory:
    """Read back what `to_tree` gave."""
    scatters = None
    if "rank" in arrays:
        packed, factors, rows = iter(arrays["packed"]), arrays["factors"], 0
        scatters = []
        for rank in arrays["rank"].tolist():
            scatters.append(next(packed) if rank < 0 else factors[rows : rows + rank])
            rows += max(rank, 0)
    core = Statistics(
        arrays["count"], arrays["mean"], unpack(arrays["within"]), None if scatters is None else tuple(scatters)
    )
    inverses = tuple(
        Inverse(strength, unpack(arrays["inverse"][i]), arrays["product"][i])
        for i, strength in enumerate(rest.get("strengths", ()))
    )
    exemplars: Exemplars | None = None
    fisher: Fisher | None = None
    if (kept := rest.get("exemplars")) is not None:
        leaves = None if kept["leaves"] is None else tuple(arrays[f"exemplar.{i}"] for i in range(kept["leaves"]))
        exemplars = Exemplars(kept["limit"], leaves, *(arrays[name] for name in EXEMPLARS))
    if (count := rest.get("fisher")) is not None:
        named = {name.partition(".")[2]: value for name, value in arrays.items() if name.startswith("fisher.")}
        fisher = Fisher(count, named)
    known: dict[str, Any] = {attribute: arrays[name] for name, attribute in HELD.items()}
    known |= {attribute: rest[name] for name, attribute in SETTINGS.items() if name in rest}
    return Memory(
        tuple(rest["classes"]),
        core,
        **known,
        inverses=inverses,
        transported=tuple(rest.get("carried", ())),
        exemplars=exemplars,
        fisher=fisher,
    )
