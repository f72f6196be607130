"""Find a method by what a user calls it: a name in any case, a class of `extend.methods`, or an instance."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from extend.core.errors import ArgumentError
from extend.methods.auto import Auto
from extend.methods.base import ClosedForm, Method
from extend.methods.blend import Blend
from extend.methods.fine_tune import FineTune
from extend.methods.gaussian import Gaussian
from extend.methods.imprint import Imprint
from extend.methods.joint import Joint
from extend.methods.lda import LDA
from extend.methods.logistic import Logistic
from extend.methods.nearest_mean import NearestMean
from extend.methods.new_units import NewUnits
from extend.methods.ridge import Ridge
from extend.methods.svm import SVM

_DEFAULTS: tuple[Method, ...] = (
    Auto(),
    Blend(),
    FineTune(),
    Gaussian(),
    Imprint(),
    Joint(),
    LDA(),
    Logistic(),
    NearestMean(),
    NewUnits(),
    Ridge(),
    SVM(),
)
NAMED = {method.name: method for method in _DEFAULTS}
"""Every method under its name, with default hyper-parameters."""


def named(method: Any) -> Method:
    """Return the method that a user means.

    Parameters
    ----------
    method
        A name such as ``"lda"`` or ``"LDA"``; a class such as ``methods.LDA``, for its default hyper-parameters; or an
        instance.

    Raises
    ------
    ArgumentError
        Nothing of the kind is known; the message has the nearest name, or all of them.

    Examples
    --------
    >>> from extend.methods import LDA
    >>> named("LDA") == named(LDA) == named(LDA())
    True
    """
    if isinstance(method, str):
        return _spelt(method)
    if not hasattr(method, "extend") or not hasattr(method, "name"):
        raise ArgumentError(
            f"method is {method!r}; expected one of {', '.join(NAMED)}, or one of extend.methods with "
            "hyper-parameters of its own, such as extend.methods.LDA(shrinkage=0.1)"
        )
    try:
        made: Method = method() if isinstance(method, type) else method
    except TypeError as error:
        raise ArgumentError(f"{method.__name__} needs hyper-parameters: give an instance of it ({error})") from None
    return made


def closed_form(name: str, settings: Mapping[str, Any]) -> ClosedForm | None:
    """Return the closed form of a name, with those of these settings that are its hyper-parameters.

    None if no closed form has that name.

    Examples
    --------
    >>> closed_form("lda", {"shrinkage": 0.5, "tried": []}).shrinkage
    0.5
    """
    known = NAMED.get(name)
    if known is None or not known.closed_form:
        return None
    kind: Any = type(known)
    own = {field.name for field in fields(kind)}
    made: ClosedForm = kind(**{key: value for key, value in settings.items() if key in own})
    return made


def _spelt(name: str) -> Method:
    """The method of a name, in whichever case, with hyphens or spaces for underscores."""
    plain = {known.replace("_", ""): known for known in NAMED}
    wanted = "".join(part for part in name.lower() if part not in "_- ")
    if wanted in plain:
        return NAMED[plain[wanted]]
    near = difflib.get_close_matches(wanted, plain, 1)
    hint = f"; did you mean {plain[near[0]]!r}?" if near else ""
    raise ArgumentError(f"method {name!r} is unknown; there are {', '.join(NAMED)}{hint}")
