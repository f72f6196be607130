"""What an operation did, in words, numbers and pictures."""

from extend.report.figures import draw, draw_confusion
from extend.report.notes import fine_tuning_advice, held_out_words, measured_on, wide_feature_note
from extend.report.overlap import copies, hardly_told_apart, twice_named
from extend.report.report import Action, Report

__all__ = [
    "Action",
    "Report",
    "copies",
    "draw",
    "draw_confusion",
    "fine_tuning_advice",
    "hardly_told_apart",
    "held_out_words",
    "measured_on",
    "twice_named",
    "wide_feature_note",
]
