"""What a user does to a classifier, one file for each verb."""

from extend.operations.adapt import adapt, replace_head
from extend.operations.add import add_classes
from extend.operations.calibrate import calibrate
from extend.operations.evaluate import evaluate
from extend.operations.inspect import CHECKPOINT, inspect
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

__all__ = [
    "CHECKPOINT",
    "adapt",
    "add_classes",
    "calibrate",
    "evaluate",
    "inspect",
    "load",
    "merge_classes",
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
