"""What a user may call a method, and what is refused with the right spelling."""

import numpy as np
import pytest

import extend
from extend.methods import LDA, NAMED, SVM, Gaussian, Ridge, closed_form, named


def test_every_method_is_known_by_its_name() -> None:
    assert list(NAMED) == sorted(NAMED)
    for name, method in NAMED.items():
        assert named(name) is method and method.name == name
        assert named(name.upper()) is method and named(type(method)) == method and named(method) is method


@pytest.mark.parametrize(("given", "meant"), [("SVM", SVM()), ("Nearest Mean", NAMED["nearest_mean"]), ("LDA", LDA())])
def test_case_and_separators_do_not_matter(given: str, meant: object) -> None:
    assert named(given) == meant


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ldaa", "method 'ldaa' is unknown; there are auto, .*; did you mean 'lda'?"),
        ("fine_tuning", "did you mean 'fine_tune'?"),
        ("magic", "method 'magic' is unknown; there are auto, blend, fine_tune, gaussian"),
        ("", "method '' is unknown; there are auto, blend, fine_tune, gaussian"),
        (None, "method is None; expected one of auto, blend, fine_tune, gaussian"),
        (5, "method is 5; expected one of auto"),
        (int, "method is <class 'int'>; expected one of auto"),
        (np.zeros(2), "method is array.*; expected one of auto"),
        (["lda"], "method is .*; expected one of auto"),
    ],
)
def test_anything_else_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(extend.ArgumentError, match=message):
        named(wrong)


def test_a_class_that_needs_hyper_parameters() -> None:
    class Needy(Ridge):
        def __init__(self, strength: float) -> None:
            super().__init__(strength)

    with pytest.raises(extend.ArgumentError, match="Needy needs hyper-parameters: give an instance of it"):
        named(Needy)


def test_closed_forms_come_back_from_their_settings() -> None:
    for method in (LDA(0.3, "empirical"), Ridge(2.0, balanced=True), Gaussian(gamma=(0.5, 0.25))):
        again = closed_form(method.name, {**method.settings(), "was": [1.0, 2.0]})
        assert again is not None and again.settings() == method.settings()
    assert closed_form("svm", {}) is None and closed_form("own head", {}) is None
