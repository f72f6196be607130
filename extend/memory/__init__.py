"""The memory: what a classifier keeps of the classes that it has seen."""

from extend.memory import serialise
from extend.memory.drift import Kind, Linear, Translation, fit_drift
from extend.memory.exemplars import Exemplars, exemplars_each
from extend.memory.fisher import Fisher
from extend.memory.herding import check_limit, exemplar_samples, in_turns, with_exemplars
from extend.memory.inverse import Inverse
from extend.memory.keep import Keep, check_bytes
from extend.memory.memory import Memory
from extend.memory.regroup import regrouped
from extend.memory.removal import without_samples
from extend.memory.rows import FEWEST, MOST, among, choosing, held_out_rows, with_label
from extend.memory.statistics import Statistics, full
from extend.memory.strengths import gcv, held_centre, moments, spreads, unit_scatter, wide_feature
from extend.memory.views import TrainingRows

__all__ = [
    "FEWEST",
    "MOST",
    "Exemplars",
    "Fisher",
    "Inverse",
    "Keep",
    "Kind",
    "Linear",
    "Memory",
    "Statistics",
    "TrainingRows",
    "Translation",
    "among",
    "check_bytes",
    "check_limit",
    "choosing",
    "exemplar_samples",
    "exemplars_each",
    "fit_drift",
    "full",
    "gcv",
    "held_centre",
    "held_out_rows",
    "in_turns",
    "moments",
    "regrouped",
    "serialise",
    "spreads",
    "unit_scatter",
    "wide_feature",
    "with_exemplars",
    "with_label",
    "without_samples",
]
