"""The methods, one file each. A new one is a new file and one line here."""

from extend.methods.auto import Auto, Choice, Score
from extend.methods.base import Method
from extend.methods.fine_tune import FineTune
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.joint import Joint
from extend.methods.lda import LDA
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import ForgettingWarning, NewUnits
from extend.methods.ridge import Ridge
from extend.methods.svm import SVM

NAMED: dict[str, Method | FineTune | Joint] = {
    "auto": Auto(),
    "fine_tune": FineTune(),
    "gaussian": Gaussian(),
    "imprint": Imprint(),
    "joint": Joint(),
    "lda": LDA(),
    "nearest_mean": NearestMean(),
    "new_units": NewUnits(),
    "ridge": Ridge(),
    "svm": SVM(),
}

__all__ = [
    "LDA",
    "NAMED",
    "SVM",
    "Auto",
    "Choice",
    "FineTune",
    "ForgettingWarning",
    "Gaussian",
    "Imprint",
    "Joint",
    "Method",
    "NearestMean",
    "NewUnits",
    "Ridge",
    "Score",
]
