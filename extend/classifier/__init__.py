"""The classifier: a backbone, a head, a memory and a recipe; saved, restored and measured."""

from extend.classifier import serialise
from extend.classifier.classifier import Classifier
from extend.classifier.comparison import Comparison, compare, since_learnt
from extend.classifier.evaluation import Evaluation, evaluate, evaluate_features, held_out_evaluation
from extend.classifier.history import Event
from extend.classifier.recipe import Recipe
from extend.classifier.serialise import load

__all__ = [
    "Classifier",
    "Comparison",
    "Evaluation",
    "Event",
    "Recipe",
    "compare",
    "evaluate",
    "evaluate_features",
    "held_out_evaluation",
    "load",
    "serialise",
    "since_learnt",
]
