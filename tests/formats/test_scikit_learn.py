"""scikit-learn models widened: scikit-learn itself reads and runs what was written."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skops.io
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier

import extend
from extend.core.errors import DataError, FormatError
from extend.formats.base import DenseHead
from extend.formats.scikit_learn import model as format
from extend.formats.scikit_learn._skops_file import TRUSTED
from tests.fuzz.run import fuzz

X, Y = load_digits(return_X_y=True)
X = X / 16

ESTIMATORS: dict[str, Any] = {
    "logistic": LogisticRegression(max_iter=300),
    "liblinear": LogisticRegression(solver="liblinear"),
    "logistic-cv": LogisticRegressionCV(cv=2, Cs=2, max_iter=300, use_legacy_attributes=True, l1_ratios=(0,)),
    "svc": LinearSVC(random_state=0),
    "svc-no-intercept": LinearSVC(random_state=0, fit_intercept=False),
    "hinge": SGDClassifier(random_state=0),
    "log-loss": SGDClassifier(loss="log_loss", average=True, random_state=0),
    "huber": SGDClassifier(loss="modified_huber", random_state=0),
    "ridge": RidgeClassifier(),
    "ridge-cv": RidgeClassifierCV(),
    "perceptron": Perceptron(random_state=0),
    "mlp": MLPClassifier((32, 16), max_iter=60, random_state=0),
    "mlp-sgd": MLPClassifier((16,), "tanh", solver="sgd", max_iter=60, learning_rate_init=0.05, random_state=0),
    "mlp-lbfgs": MLPClassifier((16,), "logistic", solver="lbfgs", max_iter=60, random_state=0),
    "mlp-linear": MLPClassifier((), max_iter=40, random_state=0),
    "pipeline": make_pipeline(StandardScaler(), PCA(20, random_state=0), LogisticRegression(max_iter=300)),
    "columns": make_pipeline(
        FunctionTransformer(np.sqrt),
        ColumnTransformer([("scaled", StandardScaler(), slice(0, 32))], remainder="passthrough"),
        make_pipeline(SelectKBest(k=30), MLPClassifier((16,), max_iter=80, random_state=0)),
    ),
}


def fitted(name: str, old: int, labels: Any = Y) -> Any:
    estimator, rows = clone(ESTIMATORS[name]), Y < old
    if name == "liblinear" and old > 2:
        estimator = LogisticRegression(max_iter=300)  # liblinear knows two classes alone.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(X[rows], np.asarray(labels)[rows])


def widen(model: format.Sklearn, new: int) -> DenseHead:
    """A column for the class of that number, which wins by the spread of the scores where it should."""
    features = np.c_[model.features(X), np.ones(len(X))]
    best = (model.features(X) @ model.head.kernel + model.head.bias).max(axis=1)
    wanted = best + np.where(new == Y, 1, -1) * best.std()
    weight = np.where(new == Y, new, 1) * (new >= Y)
    solved = np.linalg.lstsq(features * weight[:, None], wanted * weight, rcond=1e-6)[0]
    solved = solved.astype(model.head.kernel.dtype)
    kernel = np.concatenate([model.head.kernel, solved[:-1, None]], axis=1)
    return DenseHead(kernel, np.concatenate([model.head.bias, solved[-1:]]))


def raw(estimator: Any, x: np.ndarray) -> np.ndarray:
    """What scikit-learn computes before softmax, up to a number a row; a binary model's is of the second class."""
    last = format._steps(estimator)[-1]
    if isinstance(last, MLPClassifier):
        p = estimator.predict_proba(x)
        return np.log(p[:, 1] / p[:, 0]) if p.shape[1] == 2 else np.log(p)
    return estimator.decision_function(x)


@pytest.mark.parametrize("old", [2, 4])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_widened_estimator_keeps_old_scores_and_knows_the_new_class(name: str, old: int, tmp_path: Path) -> None:
    estimator = fitted(name, old)
    before, x = raw(estimator, X), X[old >= Y]
    state = pickle.dumps(estimator)
    model = format.open(estimator)
    model.save(tmp_path / "wide.skops", widen(model, old), (*model.classes, str(old)))
    assert pickle.dumps(estimator) == state  # The user's own was not touched.
    wide = skops.io.load(tmp_path / "wide.skops", trusted=TRUSTED)
    after = raw(wide, X)
    assert after.shape == (len(X), old + 1)
    if old == 2:
        assert np.allclose(after[:, 1] - after[:, 0], before, rtol=0, atol=1e-9 * np.abs(before).max())
    elif "mlp" in name or name == "columns":
        spread = (after[:, :old] - after[:, :1]) - (before - before[:, :1])
        assert np.abs(spread).max() < 1e-9 * np.abs(before).max()
    else:
        assert np.allclose(after[:, :old], before, rtol=0, atol=1e-12 * np.abs(before).max())
    predicted = wide.predict(x)
    assert predicted.dtype.kind == "i" and wide.classes_.tolist() == list(range(old + 1))
    assert (predicted[Y[old >= Y] == old] == old).mean() > 0.8
    assert (predicted == Y[old >= Y]).mean() > 0.8
    if hasattr(wide, "predict_proba"):
        proba = wide.predict_proba(x)
        assert np.allclose(proba.sum(axis=1), 1)
        assert np.array_equal(proba[np.arange(len(x)), predicted], proba.max(axis=1))  # Clipped ones may be equal.
    again = format.open(tmp_path / "wide.skops")
    assert again.fingerprint == model.fingerprint and again.classes == (*model.classes, str(old))
    scores = again.features(x) @ again.head.kernel + again.head.bias
    assert np.array_equal(scores.argmax(axis=1), predicted)


@pytest.mark.parametrize("name", ["logistic", "liblinear", "log-loss", "mlp"])
def test_binary_probabilities_are_the_softmax_of_two_columns(name: str) -> None:
    estimator = fitted(name, 2)
    model = format.open(estimator)
    scores = model.features(X) @ model.head.kernel + model.head.bias
    assert not model.head.kernel[:, 0].any() and not model.head.bias[0]
    assert np.allclose(1 / (1 + np.exp(scores[:, 0] - scores[:, 1])), estimator.predict_proba(X)[:, 1], atol=1e-12)


@pytest.mark.parametrize("name", ["logistic", "liblinear", "mlp", "mlp-lbfgs"])
def test_softmax_between_old_classes_is_what_it_was(name: str) -> None:
    for old in (2, 3):
        estimator = fitted(name, old)
        model = format.open(estimator)
        wide = model.widened(widen(model, old), (*model.classes, str(old)))
        proba = wide.predict_proba(X)[:, :old]
        assert np.allclose(proba / proba.sum(axis=1, keepdims=True), estimator.predict_proba(X), atol=1e-9)


def test_a_model_with_plain_scalers_is_a_dense_network() -> None:
    rows = Y < 3
    for steps in ([StandardScaler()], [MinMaxScaler((-1, 2)), StandardScaler(with_std=False)], []):
        for last in (MLPClassifier((8,), max_iter=30, random_state=0), LogisticRegression(max_iter=300)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                pipeline = make_pipeline(*steps, clone(last)).fit(X[rows], Y[rows])
            network = format.open(pipeline).network
            assert network is not None and network.classes == ("0", "1", "2")
            assert np.allclose(network.outputs(X), pipeline.predict_proba(X), atol=1e-12)
    svc = format.open(fitted("svc", 3)).network
    assert svc is not None and np.allclose(svc.outputs(X), fitted("svc", 3).decision_function(X))
    assert format.open(fitted("pipeline", 3)).network is None  # PCA is neither a scaler nor a layer.


def test_classes_are_sorted_with_their_columns_and_open_gives_the_order_back(tmp_path: Path) -> None:
    words = np.asarray(["cow", "dog", "emu", "ant"])[np.minimum(Y, 3)]
    model = format.open(fitted("logistic", 3, words))
    model.save(tmp_path / "wide.skops", widen(model, 3), (*model.classes, "ant"))
    wide = skops.io.load(tmp_path / "wide.skops")
    assert wide.classes_.tolist() == ["ant", "cow", "dog", "emu"]
    rows = Y < 4
    assert wide.score(X[rows], words[rows]) > 0.9
    assert log_loss(words[rows], wide.predict_proba(X[rows])) < 1  # It takes columns to be in sorted order.
    again = format.open(tmp_path / "wide.skops")
    assert again.classes == ("cow", "dog", "emu", "ant")
    assert np.array_equal(again.head.kernel[:, :3], model.head.kernel)
    again.save(tmp_path / "two.skops", DenseHead(again.head.kernel[:, 2:], again.head.bias[2:]), ("emu", "ant"))
    assert skops.io.load(tmp_path / "two.skops").classes_.tolist() == ["ant", "emu"]
    two = format.open(tmp_path / "two.skops")
    scores = two.features(X) @ two.head.kernel + two.head.bias
    expected = again.features(X) @ again.head.kernel[:, 2:] + again.head.bias[2:]
    assert two.classes == ("emu", "ant") and np.allclose(np.diff(scores), np.diff(expected))


def test_labels_stay_integers_where_the_new_names_are_some() -> None:
    model = format.open(fitted("logistic", 3))
    head = widen(model, 3)
    assert model.widened(head, ("0", "1", "2", "10")).classes_.tolist() == [0, 1, 2, 10]
    assert model.widened(head, ("0", "1", "2", "03")).classes_.tolist() == ["0", "03", "1", "2"]
    named = format.open(fitted("logistic", 3), classes=["zero", "one", "two"])
    assert named.widened(head, ("zero", "one", "two", "three")).classes_.tolist() == ["one", "three", "two", "zero"]
    floats = format.open(fitted("logistic", 3, Y * 1.0))
    assert floats.classes == ("0.0", "1.0", "2.0")
    assert floats.widened(head, (*floats.classes, "3.0")).classes_.dtype == np.float64


def test_fewer_classes_are_written_too(tmp_path: Path) -> None:
    for name in ("svc", "mlp", "ridge"):
        estimator = fitted(name, 3)
        model = format.open(estimator)
        for kept in ([2, 0], [1, 2, 0]):
            head = DenseHead(model.head.kernel[:, kept], model.head.bias[kept])
            model.save(tmp_path / "less.skops", head, tuple(model.classes[i] for i in kept))
            less = skops.io.load(tmp_path / "less.skops", trusted=TRUSTED)
            order = sorted(kept)
            scores = raw(estimator, X)[:, order]
            assert np.array_equal(less.predict(X), np.asarray(order)[scores.argmax(axis=1)])
        with pytest.raises(FormatError, match="needs 2 or more"):
            model.save(tmp_path / "one.skops", DenseHead(head.kernel[:, :1], head.bias[:1]), ("0",))
    assert not (tmp_path / "one.skops").exists()


@pytest.mark.parametrize("name", ["hinge", "log-loss", "perceptron", "mlp", "mlp-sgd"])
@pytest.mark.parametrize("old", [2, 4])
def test_training_goes_on(name: str, old: int) -> None:
    model = format.open(fitted(name, old))
    wide = model.widened(widen(model, old), (*model.classes, str(old)))
    rows = old >= Y
    for _ in range(5):
        wide.partial_fit(X[rows], Y[rows])
    assert wide.score(X[rows], Y[rows]) > 0.9


def test_warm_start_goes_on_from_the_widened_model() -> None:
    rows = Y < 4
    for name in ("logistic", "mlp"):
        model = format.open(fitted(name, 3).set_params(warm_start=True))
        wide = model.widened(widen(model, 3), (*model.classes, "3"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            wide.set_params(max_iter=3).fit(X[rows], Y[rows])
        assert wide.score(X[rows], Y[rows]) > 0.95


def test_what_is_not_supported_is_said() -> None:
    rows = Y < 3
    several = MLPClassifier((4,), max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        several.fit(X[rows], np.eye(3, dtype=int)[Y[rows]])
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [1]}, cv=2).fit(X[rows], Y[rows])
    for estimator, message in (
        (SVC(), "SVC has no linear head to widen"),
        (search, "best_estimator_"),
        (LogisticRegression(), "LogisticRegression is not fitted"),
        (MLPClassifier(), "MLPClassifier is not fitted"),
        (several, "one class a sample"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "not fitted"),
        ("a text", "no such file"),
        (7, "int is not supported"),
    ):
        with pytest.raises(FormatError, match=message):
            format.open(estimator)
    model = format.open(fitted("logistic", 3))
    with pytest.raises(FormatError, match="2 classes are named; the head has 3"):
        format.open(fitted("logistic", 3), classes=["a", "b"])
    with pytest.raises(FormatError, match=r"\[n, 64\]"):
        model.features(np.zeros((2, 3)))
    with pytest.raises(FormatError, match=r"\.skops"):
        model.save(Path("model.pkl"), model.head, model.classes or ())


class Hostile:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was executed",))


def test_pickles_are_not_read(tmp_path: Path) -> None:
    for suffix in (".pkl", ".joblib", ".skops"):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(pickle.dumps(Hostile()))
        with pytest.raises(FormatError, match=r"skops\.io\.dump"):
            format.open(path)


class Own(StandardScaler):
    """A transformer that scikit-learn does not know."""


def test_types_of_others_need_trust(tmp_path: Path) -> None:
    rows = Y < 3
    pipeline = make_pipeline(Own(), LogisticRegression(max_iter=300)).fit(X[rows], Y[rows])
    skops.io.dump(pipeline, tmp_path / "own.skops")
    with pytest.raises(FormatError, match=r"not trusted: .*test_scikit_learn\.Own"):
        format.open(tmp_path / "own.skops")
    model = format.open(tmp_path / "own.skops", trust=True)
    assert np.allclose(model.features(X), pipeline[0].transform(X))
    lambdas = make_pipeline(FunctionTransformer(lambda x: x), pipeline[1]).fit(X[rows], Y[rows])
    with pytest.raises(FormatError, match="skops cannot write"):
        format.open(lambdas).save(tmp_path / "lambda.skops", model.head, model.classes or ())
    assert not (tmp_path / "lambda.skops").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(fitted("logistic", 3), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])

    def rewritten(changed: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(tmp_path / "bad.skops", "w", compression) as archive:
            for name, content in {**members, **changed}.items():
                archive.writestr(name, content)
        return tmp_path / "bad.skops"

    def refused(message: str, changed: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
        with pytest.raises(FormatError, match=message):
            format.open(rewritten(changed, compression))

    format.open(rewritten({}))
    refused("not a skops file", {"schema.json": b"[" * 100_000})
    refused("skops cannot read", {"schema.json": b"[]"})
    refused("skops cannot read", {"schema.json": json.dumps({**schema, "protocol": 99}).encode()})
    refused(
        "not trusted: os.system",
        {"schema.json": json.dumps({**schema, "__class__": "system", "__module__": "os"}).encode()},
    )
    refused("unpacks to", {"bomb": bytes(300 << 20)}, zipfile.ZIP_DEFLATED)
    refused("unpacks to", {"schema.json": b" " * (17 << 20)}, zipfile.ZIP_DEFLATED)
    attributes = schema["content"]["content"]
    array = attributes["coef_"]["file"]
    often = {**schema, "content": {**schema["content"], "content": {**attributes, "more": [array] * 300}}}
    refused("unpacks to", {"schema.json": json.dumps(often).encode(), array: bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    for gone in ("coef_", "classes_", "intercept_", "n_features_in_"):
        left = {key: value for key, value in attributes.items() if key != gone}
        broken = {**schema, "content": {**schema["content"], "content": left}}
        refused("LogisticRegression|expected", {"schema.json": json.dumps(broken).encode()})
    (tmp_path / "text.skops").write_text("no zip at all")
    with pytest.raises(FormatError, match="zip archive"):
        format.open(tmp_path / "text.skops")


@pytest.mark.slow
def test_fuzz() -> None:
    counts, wrong = fuzz("scikit_learn", 30)
    assert not wrong and counts["FormatError"] > 10


TEXTS = np.array(
    ["good fine nice", "bad poor awful", "so so average", "good nice", "bad awful", "average so"] * 15, object
)
MOODS = np.array(["good", "bad", "so", "good", "bad", "so"] * 15)
FRAME = pd.DataFrame({
    "age": np.tile([20.0, 40, 60, 21, 41, 61], 15), "city": np.tile(list("xyzxyz"), 15), "note": TEXTS,
    "id": range(90), "member": np.tile([True, False, False], 30),
})  # fmt: skip
COLUMNS = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    (OneHotEncoder(handle_unknown="ignore"), ["city", "member"]),
    (TfidfVectorizer(), "note"),
)
TEXT_STEPS: dict[str, Any] = {
    "tf-idf": (TfidfVectorizer(),),
    "counts": (CountVectorizer(binary=True), TfidfTransformer()),
    "hashing": (HashingVectorizer(n_features=64),),
    "characters": (TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)), TruncatedSVD(4, random_state=0)),
    "union": (make_union(TfidfVectorizer(), make_pipeline(CountVectorizer(analyzer="char"), MaxAbsScaler())),),
}
HEADS: dict[str, Any] = {"logistic": LogisticRegression(), "svc": LinearSVC(), "sgd": SGDClassifier(random_state=0)}


@pytest.mark.parametrize("steps", TEXT_STEPS)
@pytest.mark.parametrize("head", HEADS)
def test_a_pipeline_of_texts_learns_a_class_and_goes_back(steps: str, head: str, tmp_path: Path) -> None:
    pipeline = make_pipeline(*map(clone, TEXT_STEPS[steps]), clone(HEADS[head])).fit(TEXTS, MOODS)
    clf = extend.wrap(pipeline, data=(TEXTS, MOODS))
    scores = pipeline.decision_function(TEXTS)
    np.testing.assert_allclose(clf.decision_function(list(TEXTS)), scores, atol=1e-5)
    new = ["sad blue tears", "tears blue", "blue sad"] * 8
    clf, _ = extend.add_classes(clf, {"sad": new})
    extend.save(clf, tmp_path / "wider.skops")
    wider = skops.io.load(tmp_path / "wider.skops")  # scikit-learn itself takes texts and gives the names.
    mixed = [*new[:3], *TEXTS[:6]]
    assert wider.predict(mixed).tolist() == clf.predict(mixed).tolist()
    again = extend.load(tmp_path / "wider.skops")
    assert again.memory is not None and again.predict(pd.Series(mixed)).tolist() == clf.predict(mixed).tolist()


def test_texts_that_are_none_are_said() -> None:
    clf = extend.wrap(make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, MOODS))
    for given, message in (
        (["a", None, 3.0], r"2 samples are no texts, the first at row 1: 'None'"),
        (np.zeros((2, 3)), r"shape \[2, 3\] given; expected texts"),
    ):
        with pytest.raises(DataError, match=message):
            clf.predict(given)
    assert clf.predict([]).shape == (0,)
    single = clf.predict(["good"] * 33)  # More than one batch: the rest of the last is filled with empty texts.
    assert set(single) == {"good"}


def test_a_table_of_named_columns_learns_a_class_and_goes_back(tmp_path: Path) -> None:
    pipeline = make_pipeline(clone(COLUMNS), LogisticRegression()).fit(FRAME, MOODS)
    clf = extend.wrap(pipeline, data=(FRAME, MOODS))
    assert sorted(clf.backbone.inputs.parts) == ["age", "city", "member", "note"]  # "id" is read by no step.
    np.testing.assert_allclose(clf.predict_proba(FRAME), pipeline.predict_proba(FRAME), atol=1e-5)
    shuffled = FRAME[["note", "member", "age", "city"]].assign(more=1)
    np.testing.assert_array_equal(clf.predict_proba(shuffled), clf.predict_proba(FRAME))
    missing = FRAME.assign(age=np.where(FRAME["age"] > 50, np.nan, FRAME["age"]))
    np.testing.assert_allclose(clf.predict_proba(missing), pipeline.predict_proba(missing), atol=1e-5)

    new = FRAME[:20].assign(note="sad blue tears", city="w", age=99.0)
    clf, _ = extend.add_classes(clf, {"sad": new})
    extend.save(clf, tmp_path / "wider.skops")
    wider = skops.io.load(tmp_path / "wider.skops", trusted=["numpy.dtype"])
    both = pd.concat([new, FRAME[:6]])
    assert wider.predict(both).tolist() == clf.predict(both).tolist() == ["sad"] * 20 + MOODS[:6].tolist()
    assert extend.load(tmp_path / "wider.skops").predict(both).tolist() == clf.predict(both).tolist()
    with pytest.raises(DataError, match="the DataFrame lacks the columns 'city'"):
        clf.predict(both.drop(columns="city"))


def test_columns_of_numbers_are_brought_to_the_order_of_fit() -> None:
    frame = pd.DataFrame(X[:, :4] + Y[:, None] % 3, columns=list("pqrs"))
    model = LogisticRegression().fit(frame, Y % 3)
    clf = extend.wrap(model, data=(frame, Y % 3))
    np.testing.assert_allclose(clf.predict_proba(frame[list("srqp")]), model.predict_proba(frame), atol=1e-5)
    moved = frame[:20].assign(p=frame["p"][:20] + 9)
    wider, _ = extend.add_classes(clf, {"9": moved[list("srqp")]})
    assert wider.predict(moved[list("rqps")]).tolist().count("9") > 15
    with pytest.raises(DataError, match="lacks the columns 's'"):
        clf.predict(frame[list("pqr")])


def test_sparse_rows() -> None:
    rows = scipy.sparse.csr_matrix(X)
    model = LogisticRegression(max_iter=300).fit(rows, Y)
    clf = extend.wrap(model, data=(rows, Y))
    np.testing.assert_allclose(clf.predict_proba(rows[:40]), model.predict_proba(rows[:40]), atol=1e-5)
    wider, _ = extend.add_classes(clf, {"10": scipy.sparse.csr_matrix(X[:20, ::-1])})
    assert len(wider.classes) == 11


@pytest.mark.parametrize(
    "model, message",
    [
        (SVC(), r"SVC has no linear head to widen: put Nystroem .* Other models"),
        (KNeighborsClassifier(), "KNeighborsClassifier has no linear head.*features to extend.wrap"),
        (RandomForestClassifier(3), r"RandomForestClassifier has no linear head.*its leaves \(apply\)"),
        (ExtraTreesClassifier(3), "ExtraTreesClassifier has no linear head.*leaves"),
        (DecisionTreeClassifier(), "DecisionTreeClassifier has no linear head.*leaves"),
        (GradientBoostingClassifier(n_estimators=2), "GradientBoostingClassifier has no linear head.*leaves"),
        (HistGradientBoostingClassifier(max_iter=2), "HistGradientBoostingClassifier has no linear head.*leaves"),
        (GaussianNB(), "GaussianNB has no linear head"),
        (Ridge(), r"Ridge predicts a number \(a regression\)"),
        (MLPRegressor(max_iter=2), "MLPRegressor predicts a number"),
        (LinearSVR(), "LinearSVR predicts a number"),
        (LinearRegression(), "LinearRegression predicts a number"),
        (SGDRegressor(), "SGDRegressor predicts a number"),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str) else "",
)
def test_what_has_no_linear_head_says_what_to_do(model: Any, message: str, tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), model).fit(X[:60, :20], Y[:60] % 3)
    with pytest.raises(FormatError, match=message) as caught:
        extend.wrap(fitted)
    assert "\n" not in str(caught.value)


def test_a_vectorizer_of_a_million_features_is_refused_with_what_to_do() -> None:
    model = make_pipeline(HashingVectorizer(), Perceptron(max_iter=1)).fit(TEXTS[:6], MOODS[:6])
    with pytest.raises(FormatError, match=r"1,048,576 features; expected at most 65,536.*n_features=2\*\*14"):
        extend.wrap(model)


def test_a_function_of_texts_is_a_backbone() -> None:
    vectors, spec = TfidfVectorizer().fit(TEXTS), extend.Array((), "str")

    def embed(texts: np.ndarray) -> np.ndarray:
        return vectors.transform(list(texts)).toarray()

    clf = extend.wrap(embed, ["good", "bad", "so"], (TEXTS, MOODS), inputs=spec)
    assert (clf.predict(TEXTS) == MOODS).all()
