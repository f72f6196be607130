"""What a text file is: an error page, a pointer of git, XML, JSON, or one of the models that are written as text."""

from __future__ import annotations

import re

from extend.formats.content._base import TREES, Content

LFS = "fetch the file itself with 'git lfs pull', or from the page's download link"
DATA = "it is data, not a model"
STARTS = (
    ("version https://git-lfs.github.com/spec", Content("a pointer of git-LFS, not the file itself", advice=LFS)),
    ("tree\nversion=", Content("a model of LightGBM", advice=TREES)),
    ("svm_type ", Content("a model of LIBSVM", advice=TREES)),
    ("solver_type ", Content("a model of LIBLINEAR", advice="open it in scikit-learn, and pass the estimator on")),
    ("7767517", Content("a model of ncnn", advice="open the model that it was converted from")),
    ("model_checkpoint_path:", Content("the index of TensorFlow's checkpoints", advice="")),
    ("[net]", Content("a configuration of Darknet", advice="it has no weights; convert both to ONNX")),
)
JSONS = (
    (
        r'"modelTopology"|"format"\s*:\s*"(layers|graph)-model"',
        Content("a model of TensorFlow.js", "tfjs", "open the Keras model that it was made from"),
    ),
    (r'^\{\s*"learner"\s*:', Content("a model of XGBoost", advice=TREES)),
    (r'"tree_info"\s*:', Content("a model of LightGBM", advice=TREES)),
    (r'"oblivious_trees"\s*:', Content("a model of CatBoost", advice=TREES)),
    (r'"nbformat"|"cell_type"', Content("a Jupyter notebook", advice="run it, and give the model file that it saves")),
    (
        r'"(architectures|model_type)"\s*:',
        Content("the configuration of a Hugging Face model", advice="open the folder that it lies in"),
    ),
    (
        r'"class_name"\s*:\s*"(Sequential|Functional|Model)"',
        Content(
            "a Keras model's configuration, without weights",
            advice="in Keras: model = keras.models.model_from_json(text); model.load_weights(...); "
            "model.save('model.keras')",
        ),
    ),
    (r'"(message|error)"\s*:', Content("the error message of a server", advice="download the file again")),
)
TABLE = Content("a table of text", advice=DATA)
SUFFIXES = {
    **dict.fromkeys((".csv", ".tsv", ".arff", ".data"), TABLE),
    ".py": Content("Python source", advice="run it, and pass the model that it makes to extend.wrap"),
    ".prototxt": Content("a network of Caffe, without weights", advice="convert it with its .caffemodel to ONNX"),
}
"""Texts that nothing but their suffix tells."""
CHECKPOINT = "build the model in TensorFlow, load the checkpoint into it, and save it as .keras"


def of_text(head: bytes, suffix: str) -> Content | None:
    """Return what a text is, or None if these bytes are none, or one that is not known."""
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    lower = start[:2000].lower()
    if lower.startswith(("<!doctype html", "<html", "<head")):
        return Content("a web page (HTML) that was saved as a file", advice="download the file itself again")
    for beginning, found in STARTS:
        if start.startswith(beginning):
            return found if found.advice else Content(found.what, advice=CHECKPOINT)
    if re.match(r"[^\n]*/annex/objects/", start):
        return Content("a pointer of git-annex, not the file itself", advice="fetch the file with 'git annex get'")
    if start.startswith("<"):
        return _of_xml(start)
    if start.startswith(("{", "[")) and not start.startswith("[net]"):
        pairs = ((pattern, found) for pattern, found in JSONS if re.search(pattern, start))
        return next((found for _, found in pairs), Content("JSON that describes no known model", advice=DATA))
    if not start:
        return Content("a file of blanks", advice="download or save the file again")
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    rows = [line.count(",") for line in start.splitlines()[:4]]
    return Content("a table of text (CSV)", advice=DATA) if len(rows) > 2 and rows[0] and len(set(rows)) == 1 else None


def _decoded(head: bytes) -> str | None:
    """The text of these bytes, the last of which may be cut in two."""
    if b"\0" in head:
        return None
    try:
        return head.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        return head[: error.start].decode("utf-8") if error.start > max(0, len(head) - 4) else None


def _of_xml(start: str) -> Content | None:
    """What an XML document is, by its first elements."""
    if re.search(r"<(\w+:)?PMML\b", start):
        return Content("a PMML document", "pmml")
    if re.search(r"<Error>|<ListBucketResult", start):
        return Content("the error message of a server", advice="download the file again")
    if re.search(r"<net\s[^>]*name=", start):
        return Content("a model of OpenVINO", advice="open the ONNX model that it was made from")
    return None
