"""What a pickle holds, read off the names in it; nothing of it is ever loaded."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Sequence

from extend.formats.content._base import NOT_LOADED, TO_SKOPS, TO_STATE, TREES, Content

MOST_OPERATIONS = 20_000
TORCH_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which PyTorch before 1.6 began its files, as a pickle writes it."""
TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING", "STRING")
WEIGHTS = "then extend.load('weights.pt', model=net, classes=[...])"
BOOSTED = {"xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost"}


def looks_pickled(head: bytes) -> bool:
    """Whether a file begins as a pickle does: of protocol 2 to 5, or as the text of protocol 0."""
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return True
    return head[:1] in (b"(", b"c", b"]", b"}") and bool(pickled_names(head[:4096]))


def pickled_names(head: bytes) -> list[str]:
    """Return the full names of the functions and classes that the start of a pickle asks for, in their order.

    Examples
    --------
    >>> import collections, pickle
    >>> pickled_names(pickle.dumps(collections.OrderedDict()))
    ['collections.OrderedDict']
    """
    names: list[str] = []
    texts: list[str] = []
    memo: list[object] = []
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(io.BytesIO(head))):
            if number > MOST_OPERATIONS:
                break
            if operation.name in TEXTS:
                texts.append(str(argument))
            elif operation.name == "MEMOIZE":
                memo.append(texts[-1] if texts else None)
            elif operation.name in ("BINGET", "LONG_BINGET") and isinstance(argument, int):
                texts += [str(memo[argument])] if argument < len(memo) else []
            elif operation.name in ("GLOBAL", "INST"):
                names.append(str(argument).replace(" ", "."))
            elif operation.name == "STACK_GLOBAL" and len(texts) > 1:
                names.append(f"{texts[-2]}.{texts[-1]}")
    except (
        Exception
    ):  # The head is cut off, or holds raw bytes as joblib's do: pickletools raises errors of many kinds.
        pass
    return names


def of_pickle(head: bytes, suffix: str) -> Content:
    """Return what a pickle is, by the names in it."""
    if TORCH_MAGIC in head[:64]:
        return Content("weights of PyTorch, as it wrote them before 1.6", "torch")
    names = pickled_names(head)
    return known_objects(names) or _other(names, suffix)


def known_objects(names: Sequence[str]) -> Content | None:
    """Return what objects of these names are, if they are of a library whose models are known and never loaded."""
    packages = [name.partition(".")[0] for name in names]
    if "fastai" in packages:
        load = "fastai.learner.load_learner({path!r}).model"
        state = f"import fastai.learner, torch; net = {load}; torch.save(net.state_dict(), 'weights.pt')"
        return Content("a pickled Learner of fastai", advice=f"{NOT_LOADED}; where you trust it: {state}; {WEIGHTS}")
    if "ultralytics" in packages or any(name.startswith("models.yolo") for name in names):
        state = "from ultralytics import YOLO; import torch; net = YOLO({path!r}).model; "
        state += "torch.save(net.state_dict(), 'weights.pt')"
        return Content(
            "a whole pickled YOLO model",
            advice=f"{NOT_LOADED}; if it classifies (yolo...-cls) and you trust it: {state}; {WEIGHTS}",
        )
    if boosted := next((BOOSTED[package] for package in packages if package in BOOSTED), None):
        return Content(f"a pickled model of {boosted}", advice=f"{NOT_LOADED}, and {TREES}")
    if "sklearn" in packages or "imblearn" in packages:
        return Content("a pickled model of scikit-learn", advice=f"{NOT_LOADED}; where you trust it: {TO_SKOPS}")
    if packages and packages[0] in ("keras", "tensorflow", "tf_keras"):
        saved = "import pickle; model = pickle.load(open({path!r}, 'rb')); model.save('model.keras')"
        return Content("a pickled model of Keras", advice=f"{NOT_LOADED}; where you trust it: {saved}")
    if packages and packages[0] == "pandas":
        return Content("a pickled table of pandas", advice="it is data, not a model")
    return None


def _other(names: Sequence[str], suffix: str) -> Content:
    """What a pickle of no known library is: theanets' networks are read, and PyTorch says what it does not take."""
    packages = {name.partition(".")[0] for name in names}
    if packages & {"theanets", "theano"}:
        return Content("a pickled network of theanets", "theanets")
    own = [name for name in names if name.partition(".")[0] not in ("numpy", "copyreg", "copy_reg", "_codecs")]
    if packages & {"torch"} and suffix not in (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar"):
        state = TO_STATE.replace("{load}", "torch.load({path!r}, weights_only=False)")
        return Content("a pickle of PyTorch's objects", advice=f"{NOT_LOADED}; where you trust it: {state}; {WEIGHTS}")
    if suffix in (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar"):
        return Content("a pickle", "torch")
    if own and not own[0].startswith(("builtins", "__builtin__", "collections")):
        what = f"a pickle of {own[0][:100]}"
        return Content(what, advice=f"{NOT_LOADED}; where you trust it and it is of scikit-learn: {TO_SKOPS}")
    return Content("a pickle", "theanets")
