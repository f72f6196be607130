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
    from extend.backbone.base import Backbone
    from extend.backbone.feature_space import Tap, Width
    from extend.backbone.file import FileBackbone
    from extend.backbone.flax import FlaxBackbone
    from extend.backbone.function import FunctionBackbone
    from extend.classifier.classifier import Classifier
    from extend.classifier.evaluation import Evaluation
    from extend.classifier.history import Event
    from extend.core.errors import ArgumentError, CheckpointError, DataError, ExtendError, FormatError
    from extend.data.images import Image
    from extend.data.input_spec import Array, Tree
    from extend.heads.linear import LinearHead
    from extend.memory.keep import Keep
    from extend.memory.memory import Memory
    from extend.operations.adapt import adapt, replace_head
    from extend.operations.add import add_classes
    from extend.operations.calibrate import calibrate
    from extend.operations.evaluate import evaluate
    from extend.operations.inspect import inspect
    from extend.operations.load_any import load
    from extend.operations.remove import remove_classes
    from extend.operations.remove_samples import remove_samples
    from extend.operations.rename import merge_classes, rename_classes
    from extend.operations.retune import retune
    from extend.operations.save import save
    from extend.operations.split import split_class
    from extend.operations.undo import undo
    from extend.operations.update import update_classes
    from extend.operations.wrap import wrap
    from extend.report.report import Report
    from extend.training.settings import Training
else:
    _WHERE = {
        "methods": None,
        "models": None,
        "Backbone": "backbone.base",
        "FileBackbone": "backbone.file",
        "FlaxBackbone": "backbone.flax",
        "FunctionBackbone": "backbone.function",
        "Tap": "backbone.feature_space",
        "Width": "backbone.feature_space",
        "Classifier": "classifier.classifier",
        "Evaluation": "classifier.evaluation",
        "Event": "classifier.history",
        "ArgumentError": "core.errors",
        "CheckpointError": "core.errors",
        "DataError": "core.errors",
        "ExtendError": "core.errors",
        "Array": "data.input_spec",
        "Image": "data.images",
        "Keep": "memory.keep",
        "Tree": "data.input_spec",
        "FormatError": "core.errors",
        "LinearHead": "heads.linear",
        "Memory": "memory.memory",
        "adapt": "operations.adapt",
        "replace_head": "operations.adapt",
        "add_classes": "operations.add",
        "calibrate": "operations.calibrate",
        "evaluate": "operations.evaluate",
        "inspect": "operations.inspect",
        "load": "operations.load_any",
        "remove_classes": "operations.remove",
        "remove_samples": "operations.remove_samples",
        "merge_classes": "operations.rename",
        "rename_classes": "operations.rename",
        "retune": "operations.retune",
        "save": "operations.save",
        "split_class": "operations.split",
        "undo": "operations.undo",
        "update_classes": "operations.update",
        "wrap": "operations.wrap",
        "Report": "report.report",
        "Training": "training.settings",
    }

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'extend' has no attribute {name!r}")
        where = _WHERE[name]
        return import_module(f"extend.{name}") if where is None else getattr(import_module(f"extend.{where}"), name)

    def __dir__() -> list[str]:
        return sorted(__all__)


__version__ = "0.1.0"
__all__ = [
    "ArgumentError",
    "Array",
    "Backbone",
    "CheckpointError",
    "Classifier",
    "DataError",
    "Evaluation",
    "Event",
    "ExtendError",
    "FileBackbone",
    "FlaxBackbone",
    "FormatError",
    "FunctionBackbone",
    "Image",
    "Keep",
    "LinearHead",
    "Memory",
    "Report",
    "Tap",
    "Training",
    "Tree",
    "Width",
    "adapt",
    "add_classes",
    "calibrate",
    "evaluate",
    "inspect",
    "load",
    "merge_classes",
    "methods",
    "models",
    "remove_classes",
    "remove_samples",
    "rename_classes",
    "replace_head",
    "retune",
    "save",
    "split_class",
    "undo",
    "update_classes",
    "wrap",
]
