"""What a folder is, by the names in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from extend.formats.content._archives import MODELS
from extend.formats.content._base import ORIGINAL, TREES, Content

SAVED_MODEL = (
    "in TensorFlow 2.15 or before: import tensorflow as tf; tf.keras.models.load_model({path!r}).save('model.h5'); "
    "or: python -m tf2onnx.convert --saved-model {path!r} --output model.onnx"
)
MARKS: tuple[tuple[str, Content], ...] = (
    ("saved_model.pb", Content("a SavedModel of TensorFlow", advice=SAVED_MODEL)),
    ("saved_model.pbtxt", Content("a SavedModel of TensorFlow", advice=SAVED_MODEL)),
    ("com.apple.CoreML/", Content("a model of CoreML", advice=ORIGINAL)),
    ("coremldata.bin", Content("a compiled model of CoreML", advice=ORIGINAL)),
    ("model_index.json", Content("a pipeline of diffusers", advice="it makes pictures, and is no classifier")),
    ("adapter_config.json", Content(
        "an adapter of PEFT, without its model",
        advice="merge it first: AutoPeftModelForSequenceClassification.from_pretrained({path!r}).merge_and_unload()"
        ".save_pretrained('merged')",
    )),
    ("MLmodel", Content("a model of MLflow", advice="open the model file in it, such as data/model.keras")),
    ("model_head.pkl", Content("a model of SetFit", advice="pass a function from texts to embeddings to extend.wrap")),
    ("predictor.pkl", Content("a predictor of AutoGluon", advice=TREES)),
    ("learner.pkl", Content("a predictor of AutoGluon", advice=TREES)),
    ("modules.json", Content(
        "a model of sentence-transformers",
        advice="it has no classes: pass SentenceTransformer({path!r}).encode as a function to extend.wrap",
    )),
)  # fmt: skip
CHECKPOINT = "build the model in TensorFlow, load the checkpoint into it, and save it as .keras"


def of_folder(names: Sequence[str], held: str) -> Content | None:
    """Return what a folder of these names is (folders end in a slash; `held` says them in words), or None."""
    for mark, found in MARKS:
        if mark in names:
            return found
    if "Manifest.json" in names and "Data/" in names:
        return Content("a model of CoreML (.mlpackage)", advice=ORIGINAL)
    if {"metadata/", "stages/"} <= set(names) or {"metadata/", "data/"} <= set(names):
        return Content("a model of Spark ML", advice="export its pipeline as PMML with jpmml-sparkml")
    if any(name.endswith(".index") for name in names):
        return Content("a checkpoint of TensorFlow", advice=CHECKPOINT)
    models = [name for suffix in MODELS for name in names if name.lower().endswith(suffix)]
    models = ["model.json"] * ("model.json" in names) + models
    if models:
        return Content("a folder with a model in it", advice=f"open {models[0][:100]!r} in it")
    if len(names) > 1 and all(
        name.endswith("/") and not re.search(r"\d$|^data-|_\d+/$|^\d+/$", name) for name in names
    ):
        return Content(f"a folder of folders ({held})", advice="if they hold pictures, it is data: pass it as data")
    return None
