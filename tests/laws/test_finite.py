"""No NaN ever leaves a head, whatever the samples: one sample, constant features, fewer samples than features."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extend.data import Features
from extend.memory import Memory
from extend.methods import LDA, Auto, ClosedForm, Gaussian, NearestMean, Ridge
from tests.laws.strategies import Labelled, labelled

METHODS = [
    Auto(),
    LDA(),
    LDA(0.0),
    LDA(1.0),
    LDA(priors="empirical"),
    Ridge(),
    Ridge(0.0),
    Ridge(balanced=True),
    Ridge(intercept=False),
    NearestMean(),
    NearestMean("cosine"),
    NearestMean(shrinkage=0.0),
    Gaussian(),
    Gaussian("fecam"),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
@settings(max_examples=15)
@given(labelled(), st.sampled_from(["as drawn", "zero", "constant", "one column constant", "huge", "tiny", "copies"]))
def test_scores_are_finite(method: ClosedForm, data: Labelled, kind: str) -> None:
    x = data.x.copy()
    if kind == "zero":
        x[:] = 0
    elif kind == "constant":
        x[:] = 7
    elif kind == "one column constant":
        x[:, 0] = 3
    elif kind == "huge":
        x *= 1e6
    elif kind == "tiny":
        x *= 1e-6
    elif kind == "copies":
        x[:] = x[np.unique(data.y, return_index=True)[1]][data.y]
    memory = Memory.of(Features(x, data.y, data.names, data.keys))
    head = method.fit(memory)
    assert np.isfinite(head.scores(x)).all() and np.isfinite(np.asarray(head.logits(x))).all()
