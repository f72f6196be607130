"""Heads: from features to one score for each class, their corrections, and the forgetting budget's arithmetic."""

from extend.heads import serialise
from extend.heads.base import Head
from extend.heads.calibrated import Calibrated
from extend.heads.calibration import align_weights, bias_correction, class_weights, temperature
from extend.heads.forgetting import Budget, BudgetDict
from extend.heads.linear import LinearHead, Origin
from extend.heads.links import Activation, Link, host_probabilities, link_named
from extend.heads.quadratic import QuadraticHead
from extend.heads.scoring import head_scores
from extend.heads.trade_off import checked_limit, conformal, effective_rows, lower_bound, place, upper_bound

__all__ = [
    "Activation",
    "Budget",
    "BudgetDict",
    "Calibrated",
    "Head",
    "LinearHead",
    "Link",
    "Origin",
    "QuadraticHead",
    "align_weights",
    "bias_correction",
    "checked_limit",
    "class_weights",
    "conformal",
    "effective_rows",
    "head_scores",
    "host_probabilities",
    "link_named",
    "lower_bound",
    "place",
    "serialise",
    "temperature",
    "upper_bound",
]
