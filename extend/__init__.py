"""extend: give an already trained classifier new classes, without its old data and without forgetting the old ones.

>>> import numpy as np, extend
>>> x = np.eye(3, dtype=np.float32).repeat(4, axis=0)
>>> clf = extend.wrap(lambda x: x, ["a", "b"], (x[:8], np.repeat([0, 1], 4)))
>>> clf, report = extend.add_classes(clf, {"c": x[8:]})
>>> clf.classes
('a', 'b', 'c')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extend import methods, models
    from extend.adapting import adapt, replace_head
    from extend.backbone import Backbone
    from extend.checkpoint import CheckpointError
    from extend.classifier import Classifier, Event, load
    from extend.data import Image
    from extend.evaluation import Evaluation, evaluate
    from extend.exporting import export
    from extend.extension import add_classes
    from extend.formats.model import FormatError
    from extend.head import LinearHead
    from extend.learning import Training
    from extend.memory import Memory
    from extend.opening import inspect, open
    from extend.removing import remove
    from extend.report import Report
    from extend.space import Tap, Width
    from extend.tuning import calibrate, retune
    from extend.wrapping import wrap
else:
    _WHERE = {
        "methods": None,
        "models": None,
        "Backbone": "backbone",
        "adapt": "adapting",
        "replace_head": "adapting",
        "Training": "learning",
        "CheckpointError": "checkpoint",
        "Classifier": "classifier",
        "Event": "classifier",
        "load": "classifier",
        "Image": "data",
        "Evaluation": "evaluation",
        "evaluate": "evaluation",
        "export": "exporting",
        "FormatError": "formats.model",
        "inspect": "opening",
        "open": "opening",
        "add_classes": "extension",
        "remove": "removing",
        "LinearHead": "head",
        "Memory": "memory",
        "Report": "report",
        "Tap": "space",
        "Width": "space",
        "calibrate": "tuning",
        "retune": "tuning",
        "wrap": "wrapping",
    }

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'extend' has no attribute {name!r}")
        where = _WHERE[name]
        return import_module(f"extend.{name}") if where is None else getattr(import_module(f"extend.{where}"), name)

    def __dir__() -> list[str]:
        return sorted([*globals(), *_WHERE])


def save(classifier: Classifier, path: Any) -> None:
    """Write a classifier to a checkpoint folder: ``classifier.save(path)``; `load` has the example."""
    classifier.save(path)


__version__ = "0.1.0"
__all__ = [
    "Backbone",
    "CheckpointError",
    "Classifier",
    "Evaluation",
    "Event",
    "FormatError",
    "Image",
    "LinearHead",
    "Memory",
    "Report",
    "Tap",
    "Training",
    "Width",
    "adapt",
    "add_classes",
    "calibrate",
    "evaluate",
    "export",
    "inspect",
    "load",
    "methods",
    "models",
    "open",
    "remove",
    "replace_head",
    "retune",
    "save",
    "wrap",
]
