"""The methods, one file each. A new one is a new file and one line here."""

from extend.methods.auto import Auto
from extend.methods.base import Appending, ClosedForm, Method, OnFeatures
from extend.methods.choice import Choice, Score
from extend.methods.extended import Extended
from extend.methods.fine_tune import FineTune
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.joint import Joint
from extend.methods.lda import LDA
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import ForgettingWarning, NewUnits
from extend.methods.ridge import Ridge
from extend.methods.svm import SVM

_DEFAULTS: tuple[Method, ...] = (
    Auto(),
    FineTune(),
    Gaussian(),
    Imprint(),
    Joint(),
    LDA(),
    NearestMean(),
    NewUnits(),
    Ridge(),
    SVM(),
)
NAMED = {method.name: method for method in _DEFAULTS}
"""Every method under its name, with default hyper-parameters."""

__all__ = [
    "LDA",
    "NAMED",
    "SVM",
    "Appending",
    "Auto",
    "Choice",
    "ClosedForm",
    "Extended",
    "FineTune",
    "ForgettingWarning",
    "Gaussian",
    "Imprint",
    "Joint",
    "Method",
    "NearestMean",
    "NewUnits",
    "OnFeatures",
    "Ridge",
    "Score",
]
