"""What a recipe keeps of earlier steps, and that it is what the history says."""

from dataclasses import replace

import numpy as np

import extend
from extend.classifier import Classifier, Event, Recipe
from tests.conftest import blobs

WRAP = Event("wrap", ("a", "b"), "own head", 20, {"a": 1.0, "b": 0.5})


def test_a_history_is_read_step_by_step() -> None:
    history = [
        WRAP,
        Event("add", ("c",), "lda", 10, {"c": 0.9}, {"shrinkage": 0.1}, 0.01),
        Event("calibrate", (), "temperature", 0, {}),
        Event("update", ("c",), "ridge", 5, {}, {"strength": None}),
        Event(
            "add", ("d",), "fine_tune", 10, {"d": 0.8}, {"head": {"name": "lda", "settings": {"shrinkage": 0.2}}}, 0.02
        ),
        Event("add", ("e",), "new_units", 10, {}),
        Event("remove", (), "dropping its column", 0, {}),
    ]
    recipe = Recipe.of_history(history)
    assert recipe.method == "new_units" and recipe.newest == ("e",)
    assert recipe.forgetting_total == 0.03 and recipe.learnt == {"a": 1.0, "b": 0.5, "c": 0.9, "d": 0.8}
    assert recipe.fisher_classes == ("a", "b", "c", "d") and not recipe.may_be_in_fisher("e")
    assert Recipe.of_history(history[:5]).closed_form == ("lda", {"shrinkage": 0.2})
    assert Recipe.of_history(history[:3]).closed_form == ("lda", {"shrinkage": 0.1})


def test_what_a_class_left_behind_goes_with_it() -> None:
    recipe = Recipe.of_history([WRAP]).after_adding("lda", {}, {"c": 1.0, "d": 1.0}, ("c", "d"), 0.01)
    recipe = recipe.after_adding("lda", {}, {"e": 1.0}, ("e",), 0.02)
    assert recipe.without("e").newest == ("c", "d") and recipe.without("e").forgetting_total == 0.01
    assert recipe.without("c").additions[0].classes == ("d",) and "c" not in recipe.without("c").learnt
    assert recipe.without("a").fisher_classes == ("b",)


def test_nothing_is_known_without_a_history() -> None:
    assert Recipe.of_history(()) == Recipe() and Recipe().may_be_in_fisher("a") and Recipe().newest == ()


def test_it_comes_back_from_json() -> None:
    recipe = Recipe.of_history([WRAP]).after_adding("lda", {"gamma": [1, 2]}, {"c": 1.0}, ("c",), 0.01)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict(Recipe().to_dict()) == Recipe()


def test_every_operation_keeps_what_its_history_would_say(plain: Classifier, fourth: np.ndarray) -> None:
    wider, _ = extend.add_classes(plain, {"new": fourth}, method="lda", max_forgetting=0.2)
    x, y = blobs(4, 40, 5, seed=1)
    steps = [plain, wider, extend.calibrate(wider)[0], extend.retune(wider)[0]]
    steps.append(extend.add_classes(wider, {"new": x[y == 3]}, on_existing="update")[0])
    steps.append(extend.remove_classes(steps[-1], "class 1")[0])
    for clf in steps:
        assert plainly(clf.recipe) == plainly(Recipe.of_history(clf.history)), clf.history[-1]


def plainly(recipe: Recipe) -> Recipe:
    """The recipe without what no history tells: what was chosen, and what was in force before each step."""
    return replace(recipe, chosen=None, additions=tuple(replace(step, before=None) for step in recipe.additions))
