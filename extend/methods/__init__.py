"""The methods, one file each. A new one is a new file, and one line in `extend.methods.names`."""

from extend.methods.auto import Auto, pick
from extend.methods.base import Appending, ClosedForm, Method, OnFeatures, settings_of
from extend.methods.blend import Blend
from extend.methods.budget import extend_within
from extend.methods.choice import Choice, Chosen, Score
from extend.methods.extended import Extended
from extend.methods.fine_tune import FineTune
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.joint import Joint, retrain
from extend.methods.lda import LDA
from extend.methods.logistic import Logistic, fit_logistic, training_of
from extend.methods.moved_backbone import checked_head, covers
from extend.methods.names import NAMED, closed_form, named
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import ForgettingWarning, NewUnits
from extend.methods.refit import heated, refit, refitted
from extend.methods.ridge import Ridge
from extend.methods.svm import SVM

__all__ = [
    "LDA",
    "NAMED",
    "SVM",
    "Appending",
    "Auto",
    "Blend",
    "Choice",
    "Chosen",
    "ClosedForm",
    "Extended",
    "FineTune",
    "ForgettingWarning",
    "Gaussian",
    "Imprint",
    "Joint",
    "Logistic",
    "Method",
    "NearestMean",
    "NewUnits",
    "OnFeatures",
    "Ridge",
    "Score",
    "checked_head",
    "closed_form",
    "covers",
    "extend_within",
    "fit_logistic",
    "heated",
    "named",
    "pick",
    "refit",
    "refitted",
    "retrain",
    "settings_of",
    "training_of",
]
