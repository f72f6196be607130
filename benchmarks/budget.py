"""The forgetting budget by simulation: does the risk on fresh data stay within what was asked?

``python -m benchmarks.budget [--splits N]``. Each split of scikit-learn's digits draws eight old classes and a new one;
40 % of every class are statistics, 30 % of the old classes are held out, 30 % are fresh test rows. Features are
random ReLU units on the pixels, so nothing was trained on any row; 500 of them, and 50 for a weaker classifier.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import jax
import numpy as np
from scipy.stats import betabinom
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import extend
from benchmarks import results
from benchmarks.results import FOLDER, Row
from extend import data
from extend.backbone import Backbone, FunctionBackbone, extract
from extend.classifier import Classifier
from extend.data import Features
from extend.heads.trade_off import trade_off
from extend.memory import Memory
from extend.memory.strengths import oas
from extend.methods import LDA

BUDGETS = (0.01, 0.02, 0.05)
CASES = ((500, "lda"), (50, "lda"), (50, "new_units"))
"""How many features, and the method: LDA moves old columns a little, new_units does not."""
OLD = 8
SHARES = (0.4, 0.7)
"""Statistics up to the first, held out up to the second, test above."""


def simulate(split: int, method: str, backbone: Backbone, x: np.ndarray, y: np.ndarray) -> list[Row]:
    """One row a budget: what the method gives within it on fresh rows, beside the best offset in hindsight."""
    rng = np.random.default_rng(split)
    digits = rng.permutation(10)[: OLD + 1]
    parts: list[list[np.ndarray]] = [[], [], []]
    for digit in digits:
        rows = rng.permutation(np.flatnonzero(y == digit))
        edges = [int(share * len(rows)) for share in SHARES]
        for part, some in zip(parts, np.split(rows, edges), strict=True):
            part.append(some)
    place = np.full(10, -1)
    place[digits] = np.arange(OLD + 1)
    place = place[y]
    seen, held = (np.concatenate(part[:OLD]) for part in parts[:2])
    test = np.concatenate(parts[2])
    clf = based(backbone, tuple(map(str, digits[:OLD])), x, place, seen, held)
    fresh = {str(digits[OLD]): x[parts[0][OLD]]}
    plain, _ = extend.add_classes(clf, fresh, method=method)
    features, labels = clf.transform(x[test]), place[test]
    ours = labels < OLD
    was_right = clf.head.scores(features[ours]).argmax(axis=1) == labels[ours]
    scores = plain.head.scores(features)
    curve = trade_off(scores[ours], labels[ours], was_right, scores[~ours], labels[~ours], OLD)
    alone = scores.argmax(axis=1) == labels
    found = []
    for budget in BUDGETS:
        new, report = extend.add_classes(clf, fresh, method=method, max_forgetting=budget, spend=True)
        said = report.budget
        assert said is not None
        right = new.head.scores(features).argmax(axis=1) == labels
        risk = turned(was_right, right[ours], labels[ours])
        within = np.flatnonzero(curve.forgetting <= budget + 1e-12)
        row: Row = {
            "case": [backbone.feature_dim, method],
            "split": split,
            "budget": budget,
            "risk": risk,
            "recall": float(right[~ours].mean()),
        }
        row |= {"best": float(curve.new[within].max()) if len(within) else None}
        row |= {"plain": float(alone[~ours].mean()), "plain_risk": turned(was_right, alone[ours], labels[ours])}
        row |= {"told": said.forgetting, "guaranteed": said.guaranteed, "upper": said.upper, "met": said.met}
        found.append(row | {"effective": said.effective, "method": report.method, "test_rows": int(ours.sum())})
    return found


def turned(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows that were right before and are wrong after, averaged over the old classes."""
    lost = before & ~after
    return float(np.mean([lost[labels == label].mean() for label in range(OLD)]))


def based(
    backbone: Backbone, classes: tuple[str, ...], x: np.ndarray, place: np.ndarray, seen: np.ndarray, held: np.ndarray
) -> Classifier:
    """LDA on the old classes, all rows in the statistics and `held` held out: `extend.wrap` with the method fixed."""

    def rows_of(rows: np.ndarray) -> Features:
        samples = data.read((x[rows], np.asarray(classes)[place[rows]]), backbone.inputs, names=classes)
        return extract(backbone, samples)

    rows, kept = rows_of(seen), rows_of(held)
    memory = Memory.of(Features(rows.features, rows.labels, classes, rows.keys), offset=backbone.offset)
    memory = memory.with_held_out(kept.features, kept.labels, kept.keys)
    memory = replace(memory, shrinkage=oas(memory.statistics))
    return Classifier(backbone, LDA().fit(memory), classes, memory)


def lines(rows: list[Row]) -> list[str]:
    """The tables, one a width, one row a budget."""
    out = [
        f"{len({row['split'] for row in rows})} random splits, ± standard errors. Risk: the share of old test rows",
        "that were right before and are wrong after, averaged over classes. Told: the same on the held-out rows",
        "that chose the offset. Guaranteed: the share of splits whose report gives a guarantee, and the mean risk",
        "of these. Recall: of the new class; in hindsight: at the largest offset whose risk on the test rows is",
        "within the budget (splits without one left out of both). Bound holds: the share of splits whose risk on",
        "test rows, some 50 a class, is below the report's 95 % bound; test rows vary themselves, so if exact: how",
        "often it would be for a bound that is.",
    ]
    for case in CASES:
        out += ["", f"## {case[0]} features, {case[1]}", ""]
        out += _table([row for row in rows if tuple(row["case"]) == case])
    return out


def _table(rows: list[Row]) -> list[str]:
    out = [
        "| budget | mean risk | told | guaranteed | risk of these | recall | in hindsight | bound holds | if exact |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for budget in BUDGETS:
        some = [row for row in rows if row["budget"] == budget]
        sure = [row for row in some if row["guaranteed"] is not None]
        known = [row for row in some if row["best"] is not None]
        recall, best = (100 * np.mean([row[key] for row in known]) if known else np.nan for key in ("recall", "best"))
        bounded = [row for row in some if row["upper"] is not None]
        holds = np.mean([row["risk"] <= row["upper"] for row in bounded])
        exact = np.mean([expected(row) for row in bounded])
        cells = [f"{100 * budget:g} %", _risk(some), f"{100 * np.mean([row['told'] for row in some]):.2f} %"]
        cells += [f"{100 * len(sure) / len(some):.1f} %", _risk(sure), f"{recall:.2f} %", f"{best:.2f} %"]
        out.append(f"| {' | '.join([*cells, f'{100 * holds:.1f} %', f'{100 * exact:.1f} %'])} |")
    first = [row for row in rows if row["budget"] == BUDGETS[0]]
    plain, lost = (100 * np.mean([row[key] for row in first]) for key in ("plain", "plain_risk"))
    few, many = (pick(row["effective"] for row in first) for pick in (min, max))
    counted = f"{few} to {many} held-out rows, classes counted equally"
    appended = [row["budget"] for row in rows if row["method"] != row["case"][1]]
    out += ["", f"Without a budget: risk {lost:.2f} %, recall {plain:.2f} %. {counted}."]
    if appended:
        counts = ", ".join(f"{100 * b:g} %: {appended.count(b)}" for b in BUDGETS if b in appended)
        out += [f"Splits in which new columns were appended to the old head instead: {counts}."]
    return out


def _risk(rows: list[Row]) -> str:
    """The mean risk on test rows and its standard error."""
    if len(rows) < 2:
        return ""
    risk = 100 * np.asarray([row["risk"] for row in rows])
    return f"{risk.mean():.2f} ± {risk.std(ddof=1) / np.sqrt(len(risk)):.2f} %"


def expected(row: Row) -> float:
    """How often the risk on so many test rows is below a 95 % bound that is exact.

    The true risk at the offset of the m-th of n rows has the beta distribution that the bound is taken from.
    """
    n, tests = row["effective"], row["test_rows"]
    wrong = min(n - 1, int(np.ceil(row["told"] * n - 1e-9)))
    return float(betabinom.cdf(np.floor(row["upper"] * tests), tests, wrong + 1, n - wrong))


def plot(rows: list[Row]) -> None:
    """The risk of every split beside its budget, and the mean with its 95 % interval."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(CASES), 2, figsize=(9, 3.4 * len(CASES)))
    rng = np.random.default_rng(0)
    for case, (left, right) in zip(CASES, axes, strict=True):
        for place, budget in enumerate(BUDGETS):
            some = [row for row in rows if (tuple(row["case"]), row["budget"]) == (case, budget)]
            risk = 100 * np.asarray([row["risk"] for row in some])
            left.scatter(place + rng.uniform(-0.2, 0.2, len(risk)), risk, s=4, color="#9ab8d8")
            error = 1.96 * risk.std(ddof=1) / np.sqrt(len(risk)) if len(risk) > 1 else 0.0
            left.errorbar(place, risk.mean(), error, fmt="o", color="#204870", capsize=4)
            left.hlines(100 * budget, place - 0.35, place + 0.35, color="#c04030", linestyle="--")
            for shift, key, colour in ((-0.2, "recall", "#3070b0"), (0.2, "best", "#999999")):
                right.bar(
                    place + shift,
                    100 * np.mean([row[key] for row in some if row["best"] is not None]),
                    0.38,
                    color=colour,
                )
        for axis in (left, right):
            axis.set_xticks(range(len(BUDGETS)), [f"{100 * budget:g} %" for budget in BUDGETS])
            axis.set_xlabel("budget")
        left.set(ylabel="old test rows turned wrong, %", title=f"{case[0]} features, {case[1]}; mean, budget (dashed)")
        right.set(ylabel="recall of the new class, %", ylim=(0, 100), title="taken (blue), best in hindsight (grey)")
    figure.tight_layout()
    figure.savefig(FOLDER / "budget.png", dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=200, help="how many random splits")
    options = parser.parse_args()
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    spec = jax.ShapeDtypeStruct((64,), np.float32)
    rows: list[Row] = []
    with threadpool_limits(1, user_api="blas"):
        for width, method in CASES:
            backbone = FunctionBackbone.of(lambda rows: rows, spec, width=width)
            for split in range(options.splits):
                rows += simulate(split, method, backbone, x, y)
                if split % 20 == 19:
                    print(f"{width} features, {method}: {split + 1} splits", flush=True)
    results.write_json("budget", "budget", rows, seeds="each split: its number; random layer: 0")
    results.write("budget", "budget", "The forgetting budget: risk on fresh data against what was asked", lines(rows))
    plot(rows)


if __name__ == "__main__":
    main()
