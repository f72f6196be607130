"""A memory <-> named arrays and JSON, for a checkpoint; read back bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from extend.core.linalg import pack, unpack
from extend.memory.exemplars import Exemplars
from extend.memory.fisher import Fisher
from extend.memory.inverse import Inverse
from extend.memory.memory import Memory
from extend.memory.rows import MOST, Rows, decode, encode
from extend.memory.statistics import Scatters, Statistics

SETTINGS = {
    "offset": "offset",
    "most": "max_held_out",
    "rows": "max_rows",
    "dtype": "dtype",
    "shrinkage": "shrinkage",
    "ridge": "ridge",
    "spent": "held_out_used",
    "most_bytes": "most_bytes",
}
"""Names in a checkpoint, which stay as they are, and the attributes of a `Memory` that they stand for."""
EXEMPLARS = {"exemplar_label": "labels", "exemplar_key": "keys", "exemplar_rank": "ranks"}


def to_tree(memory: Memory) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays, and the rest as JSON; `from_tree` reads them back bit for bit."""
    arrays = _rows_tree(memory) | _core_tree(memory)
    if memory.summed is not None and memory.summed.pooled is not None:
        arrays["summed"] = pack(memory.summed.pooled)
    if memory.inverses:
        arrays["inverse"] = np.stack([pack(inverse.matrix) for inverse in memory.inverses])
        arrays["product"] = np.stack([inverse.product for inverse in memory.inverses])
    rest = {
        "classes": list(memory.classes),
        "dim": memory.dim,
        "scatter": memory.scatter_mode,
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


def _rows_tree(memory: Memory) -> dict[str, np.ndarray]:
    """The rows: how many there are of each class, and what is not the same for all."""
    rows = memory.rows
    values, power = encode(rows.features, memory.dtype)
    several, given = np.flatnonzero(rows.copies != 1), np.flatnonzero(rows.given)
    arrays = {
        "row_counts": np.bincount(rows.labels, minlength=len(memory.classes)),
        "row_features": values,
        "key": rows.keys,
        "seen": memory.trained_on,
    }
    if memory.dtype != "float32":
        arrays["row_power"] = power
    if len(several):
        arrays |= {"row_several": several.astype(np.int32), "row_copies": rows.copies[several]}
    return arrays | ({"row_given": given.astype(np.int32)} if len(given) else {})


def _core_tree(memory: Memory) -> dict[str, np.ndarray]:
    """The statistics of the classes that have samples which are not kept as rows."""
    core, d, folded = memory.core, memory.dim, np.flatnonzero(memory.core.count)
    if not len(folded):
        return {}
    arrays = {"folded": folded, "count": core.count[folded], "mean": core.mean[folded], "within": pack(core.within)}
    if core.scatters is not None:
        scatters = [core.scatters[i] for i in folded.tolist()]
        packed = [s for s in scatters if s.ndim == 1]
        arrays["rank"] = np.asarray([len(s) if s.ndim == 2 else -1 for s in scatters])
        arrays["packed"] = np.stack(packed) if packed else np.zeros((0, d * (d + 1) // 2))
        arrays["factors"] = np.concatenate([np.zeros((0, d)), *(s for s in scatters if s.ndim == 2)])
    return arrays


def from_tree(arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> Memory:
    """Read back what `to_tree` gave.

    Raises
    ------
    ValueError
        It holds NaN or infinity.
    """
    for name, values in arrays.items():
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise ValueError(f"the memory's {name} holds NaN or infinity")
    first_edition = "row_counts" not in arrays
    rows = _first_rows(arrays, rest) if first_edition else _rows_of(arrays)
    core = _core_of(arrays, rest)
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
    settings: dict[str, Any] = {attribute: rest[name] for name, attribute in SETTINGS.items() if name in rest}
    memory = Memory(
        tuple(rest["classes"]),
        core,
        rows,
        arrays["seen"],
        **settings,
        inverses=inverses,
        transported=tuple(rest.get("carried", ())),
        exemplars=exemplars,
        fisher=fisher,
    )
    return memory.with_sum(unpack(arrays["summed"])) if "summed" in arrays else memory


def _rows_of(arrays: dict[str, np.ndarray]) -> Rows:
    counts, values = arrays["row_counts"], arrays["row_features"]
    labels, n = np.repeat(np.arange(len(counts)), counts), len(values)
    copies, given = np.ones(n, np.int64), np.zeros(n, bool)
    if "row_several" in arrays:
        copies[arrays["row_several"]] = arrays["row_copies"]
    if "row_given" in arrays:
        given[arrays["row_given"]] = True
    power = arrays.get("row_power", np.zeros(n, np.int16))
    return Rows((decode(values, power),), labels, arrays["key"], copies, given)


def _first_rows(arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> Rows:
    """The rows of a checkpoint of the first edition, which marked those that a user gave by their number alone."""
    given = rest.get("most", MOST) > MOST
    return Rows.of(arrays["features"], arrays["label"], arrays["key"], given=given)


def _core_of(arrays: dict[str, np.ndarray], rest: dict[str, Any]) -> Statistics:
    k = len(rest["classes"])
    if "count" not in arrays:
        return Statistics.empty(k, rest["dim"], rest["scatter"])
    folded, d = arrays.get("folded", np.arange(k)), arrays["mean"].shape[1]
    count, mean = np.zeros(k, np.int64), np.zeros((k, d))
    count[folded], mean[folded] = arrays["count"], arrays["mean"]
    scatters = None
    if "rank" in arrays:
        packed, factors, start = iter(arrays["packed"]), arrays["factors"], 0
        scatters = [np.zeros((0, d))] * k
        for label, rank in zip(folded.tolist(), arrays["rank"].tolist(), strict=True):
            scatters[label] = next(packed) if rank < 0 else factors[start : start + rank]
            start += max(rank, 0)
    return Statistics(count, mean, unpack(arrays["within"]), None if scatters is None else Scatters(scatters, d))
