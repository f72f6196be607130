"""Checkpoints of the first edition, one of each kind, made by its last commit: they open and predict as they did."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extend
from extend.core.errors import CheckpointError

FOLDER = Path(__file__).parents[1] / "data" / "first_edition"
EXPECTED = dict(np.load(FOLDER / "expected.npz"))


def feats(x: Any) -> Any:
    """The function whose features the checkpoints "function", "gaussian", "calibrated" and "budgeted" are of."""
    return x


MODELS: dict[str, Callable[..., Any] | None] = {
    "function": feats,
    "gaussian": feats,
    "calibrated": feats,
    "budgeted": feats,
    "network": None,
    "new_units": None,
    "unmeasured": None,
    "moved": None,
    "pooled": None,
    "sigmoid": None,
    "tree": lambda tree: tree["x"],
    "image": lambda pictures: pictures.reshape(pictures.shape[0], -1),
}


def inputs(name: str) -> Any:
    """The inputs whose scores are kept for this checkpoint."""
    return {"tree": {"x": EXPECTED["probe"]}, "image": EXPECTED["pictures"]}.get(name, EXPECTED["probe"])


@pytest.mark.parametrize("name", MODELS)
def test_it_opens_and_predicts_as_it_did(name: str, tmp_path: Path) -> None:
    clf = extend.load(FOLDER / name, MODELS[name])
    found = clf.decision_function(inputs(name))  # The first edition multiplied on the device.
    assert np.allclose(found, EXPECTED[name], rtol=1e-5, atol=1e-5)
    clf.save(tmp_path / "again")
    again = extend.load(tmp_path / "again", MODELS[name])
    assert np.array_equal(again.decision_function(inputs(name)), found)
    assert again.recipe == clf.recipe and again.history == clf.history


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_another_class(name: str) -> None:
    clf = extend.load(FOLDER / name, MODELS[name])
    given = inputs(name)
    new = {"x": given["x"][:12] + 5} if name == "tree" else given[:12] + given.dtype.type(5)
    wider, _ = extend.add_classes(clf, {"new": new}, method="imprint" if clf.memory is None else "auto")
    assert wider.classes == (*clf.classes, "new")
    assert wider.recipe.newest == ("new",) and wider.recipe.learnt.keys() >= clf.recipe.learnt.keys()


def test_the_recipe_is_read_off_the_history() -> None:
    recipe = extend.load(FOLDER / "calibrated", feats).recipe
    assert recipe.method == "lda" and recipe.newest == ("d",) and recipe.forgetting_total is None
    assert set(recipe.learnt) == set("abcd") and recipe.fisher_classes == ("a", "b", "c")
    assert extend.load(FOLDER / "budgeted", feats).recipe.forgetting_total == pytest.approx(1 / 9)
    moved = extend.load(FOLDER / "moved").recipe
    assert moved.method == "fine_tune" and moved.closed_form[0] == "ridge" and moved.may_be_in_fisher("d")


def test_a_file_and_the_memory_beside_it(tmp_path: Path) -> None:
    clf = extend.load(FOLDER / "foreign.skops")
    probe = EXPECTED["probe"].astype(np.float64)
    assert np.allclose(clf.decision_function(probe), EXPECTED["foreign"], rtol=1e-5, atol=1e-5)
    wider, _ = extend.add_classes(clf, {"new": probe[:12] + 5}, method="new_units")
    extend.save(wider, tmp_path / "wider.skops")
    again = extend.load(tmp_path / "wider.skops")
    assert again.classes == wider.classes and again.memory is not None
    np.testing.assert_allclose(again.predict_proba(probe), wider.predict_proba(probe), atol=1e-6)


def test_a_checkpoint_of_a_future_format_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "network", tmp_path / "future")
    manifest = tmp_path / "future" / "manifest"
    content = json.loads(manifest.read_bytes().partition(b"\n")[2])
    body = json.dumps({**content, "format": 99}).encode()
    manifest.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(CheckpointError, match="format 99 is newer than this version reads"):
        extend.load(tmp_path / "future")
