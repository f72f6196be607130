"""PMML against JPMML, the reference evaluator, and Weka 3.6; scikit-learn's models as sklearn2pmml writes them."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.special import expit, softmax

from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.dense import DenseLayer, DenseNetwork
from extend.formats.pmml import model as pmml
from extend.formats.pmml import to_pmml
from tests.formats.evaluators import jpmml, weka
from tests.fuzz import pmml_seed
from tests.fuzz.run import fuzz

N = 20
RNG = np.random.default_rng(3)
INPUTS: dict[str, dict[str, list]] = {
    "spss": {
        "age": RNG.uniform(-20, 120, N).tolist(),
        "income": RNG.uniform(-10, 150, N).tolist(),
        "sex": RNG.choice(["f", "m"], N).tolist(),
    },
    "knime": {"a": RNG.uniform(0, 8, N).tolist(), "b": RNG.normal(size=N).tolist()},
    "regression": {
        "u": RNG.normal(size=N).tolist(),
        "v": RNG.normal(size=N).tolist(),
        "grade": RNG.choice([1, 2, 5], N).tolist(),
    },
}
TITLES = {"spss": "{}", "knime": "P (kind={})", "regression": "probability({})"}


def rows(inputs: dict[str, list]) -> np.ndarray:
    """A name's position stands for it, in the order of the data dictionaries in `pmml_seed`."""
    codes = {"f": 0.0, "m": 1.0}
    return np.array([[codes.get(v, v) for v in values] for values in inputs.values()], np.float64).T


def scores(model: pmml.Pmml, inputs: dict[str, list]) -> np.ndarray:
    return model.features(rows(inputs)) @ model.head.kernel + model.head.bias


def probabilities(model: pmml.Pmml, inputs: dict[str, list]) -> np.ndarray:
    z = scores(model, inputs)
    return softmax(z, axis=1) if model.head.activation == "softmax" else expit(z)


def seed(name: str, folder: Path) -> Path:
    pmml_seed.write(folder)
    path = folder / f"{name}.pmml"
    if name == "spss":  # JPMML tells probabilities only in output fields.
        fields = "".join(
            f'<OutputField name="probability({c})" optype="continuous" dataType="double" feature="probability" '
            f'value="{c}"/>' for c in ("low", "mid", "high"))  # fmt: skip
        path.write_text(path.read_text().replace("</MiningSchema>", f"</MiningSchema><Output>{fields}</Output>", 1))
    if name == "knime":
        path.write_text(re.sub(r"P \(kind=(\w)\)", r"probability(\1)", path.read_text()))
    return path


def wider(head: DenseHead) -> DenseHead:
    rng = np.random.default_rng(5)
    kernel = np.concatenate([head.kernel, rng.normal(size=(head.kernel.shape[0], 2))], axis=1)
    return DenseHead(kernel, np.append(head.bias, rng.normal(size=2)), head.activation)


def elements(path: Path, *tags: str) -> list[str]:
    """The text of every element of these tags, in order."""
    root = ElementTree.parse(path).getroot()
    return [ElementTree.tostring(e).strip().decode() for e in root.iter() if e.tag.rpartition("}")[2] in tags]


@pytest.mark.slow
@pytest.mark.needs("java", "jpmml_evaluator")
@pytest.mark.parametrize("name", INPUTS)
def test_jpmml_scores_as_we_do_before_and_after_two_classes_are_added(name, tmp_path):
    path, made = seed(name, tmp_path), tmp_path / "wider.pmml"
    model = pmml.open(path)
    inputs = INPUTS[name]
    before = jpmml(path, inputs, model.classes)
    np.testing.assert_allclose(probabilities(model, inputs), before, rtol=0, atol=1e-12)

    head, classes = wider(model.head), (*model.classes, "new", "a <& b")
    model.save(made, head, classes)
    again = pmml.open(made)
    after = jpmml(made, inputs, classes)
    assert again.classes == classes and again.fingerprint == model.fingerprint
    assert again.head.kernel.tobytes() == head.kernel.tobytes() and again.head.bias.tobytes() == head.bias.tobytes()
    assert again.features(rows(inputs)).tobytes() == model.features(rows(inputs)).tobytes()
    np.testing.assert_allclose(probabilities(again, inputs), after, rtol=0, atol=1e-12)
    if model.head.activation == "softmax":
        before, after = before / before[:, :1], after / after[:, :1]
    np.testing.assert_allclose(after[:, : len(model.classes)], before, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.needs("java", "javac", "weka.jar")
@pytest.mark.parametrize("name", ["spss", "knime"])
def test_weka_scores_as_we_do_before_and_after_two_classes_are_added(name, tmp_path):
    path, made = seed(name, tmp_path), tmp_path / "wider.pmml"
    unused = re.compile(r'<DerivedField name="never used".*?</DerivedField>')  # Weka refuses what it does not use, too.
    path.write_text(unused.sub("", path.read_text()))
    model = pmml.open(path)
    model.save(made, wider(model.head), (*model.classes, "new", "newer"))
    for file in (path, made):
        model = pmml.open(file)
        order = [model.classes.index(value) for value in model.fields.targets]
        expected = probabilities(model, INPUTS[name])[:, order]
        expected /= expected.sum(axis=1, keepdims=True)  # Weka makes the sum of logistic outputs one.
        found = weka(file, INPUTS[name], model.fields.targets, model.fields.target)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_a_save_changes_only_what_must_change(tmp_path):
    path, made = seed("spss", tmp_path), tmp_path / "wider.xml"
    model = pmml.open(path)
    model.save(made, wider(model.head), ("high", "low", "mid", "new", "newer"))
    kept = ("Header", "Extension", "MiningSchema", "NeuralInputs")
    assert elements(made, *kept) == elements(path, *kept)
    assert set(elements(path, "Neuron", "NeuralOutput", "OutputField")) < set(
        elements(made, "Neuron", "NeuralOutput", "OutputField")
    )
    content = made.read_text()
    assert "Three points, outliers cut off" in content and "pmml-3-2.xsd" in content
    assert 'displayValue="Low risk"' in content and 'numberOfOutputs="5"' in content
    assert pmml.open(made).fields.targets == ("high", "low", "mid", "new", "newer")
    model.save(made, model.head, model.classes)
    everything = [e.tag for e in ElementTree.parse(path).iter()]
    assert [e.tag for e in ElementTree.parse(made).iter()] == everything


@pytest.mark.slow
@pytest.mark.needs("java", "jpmml_evaluator")
@pytest.mark.parametrize("name", INPUTS)
def test_classes_are_removed_swapped_renamed_and_the_head_replaced(name, tmp_path):
    path, made = seed(name, tmp_path), tmp_path / "other.pmml"
    model = pmml.open(path)
    last = len(model.classes) - 1
    head = DenseHead(model.head.kernel[:, [last, 0]], model.head.bias[[last, 0]], model.head.activation)
    if name == "regression":
        head = DenseHead(head.kernel, head.bias)
    model.save(made, head, ("renamed", model.classes[0]))
    again = pmml.open(made)
    assert again.classes == ("renamed", model.classes[0]) and again.head.kernel.tobytes() == head.kernel.tobytes()
    found = jpmml(made, INPUTS[name], again.classes)
    np.testing.assert_allclose(found, probabilities(again, INPUTS[name]), rtol=0, atol=1e-12)
    rng = np.random.default_rng(0)
    for activation in ("softmax", "sigmoid"):
        head = DenseHead(rng.normal(size=(model.head.kernel.shape[0], 3)), rng.normal(size=3), activation)
        model.save(made, head, ("7", "8", "9"))
        again = pmml.open(made)
        assert again.head.activation == activation and again.head.kernel.tobytes() == head.kernel.tobytes()
        found, ours = jpmml(made, INPUTS[name], ("7", "8", "9")), probabilities(again, INPUTS[name])
        if name == "regression" and activation == "sigmoid":  # PMML makes the sum of logits' probabilities one.
            ours /= ours.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, ours, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.needs("java", "jpmml_evaluator")
@pytest.mark.parametrize("weights", [("-1", "1", "1", "0"), ("1", "-1", "0", "1")])
def test_one_unit_for_two_classes_becomes_softmax(weights, tmp_path):
    """One logistic unit p, and a last layer of p and 1 - p, in either order; then the one unit as the only output."""
    path, made = seed("knime", tmp_path), tmp_path / "wider.pmml"
    text = path.read_text()
    unit = '<NeuralLayer><Neuron id="p" bias="0.2"><Con from="h1" weight="1.5"/><Con from="h3" weight="-2"/></Neuron>'
    a, b, c, d = weights
    two = (
        f'{unit}</NeuralLayer><NeuralLayer activationFunction="identity"><Neuron id="o1" bias="{c}"><Con from="p" '
        f'weight="{a}"/></Neuron><Neuron id="o2" bias="{d}"><Con from="p" weight="{b}"/></Neuron></NeuralLayer>'
    )
    start, end = text.rindex("<NeuralLayer>"), text.rindex("</NeuralLayer>") + len("</NeuralLayer>")
    path.write_text(text[:start] + two + text[end:])
    model = pmml.open(path)
    inputs = INPUTS["knime"]
    before = jpmml(path, inputs, model.classes)
    assert model.classes == (("x", "y") if a == "-1" else ("y", "x")) and not model.head.kernel[:, 0].any()
    np.testing.assert_allclose(probabilities(model, inputs), before, rtol=0, atol=1e-12)
    model.save(made, wider(model.head), (*model.classes, "new", "newer"))
    again = pmml.open(made)
    after = jpmml(made, inputs, again.classes)
    assert again.fingerprint == model.fingerprint and again.parts.single is False
    np.testing.assert_allclose(after, probabilities(again, inputs), rtol=0, atol=1e-12)
    np.testing.assert_allclose(after[:, 1] / after[:, 0], before[:, 1] / before[:, 0], rtol=1e-12)

    lone = re.sub(
        r'<NeuralOutput outputNeuron="o1">.*?</NeuralOutput>', "", text[:start] + unit + "</NeuralLayer>" + text[end:]
    )
    path.write_text(lone.replace('outputNeuron="o2"', 'outputNeuron="p"'))
    single = pmml.open(path)
    assert single.classes == ("x", "y")
    np.testing.assert_allclose(scores(single, inputs)[:, 1], scores(model, inputs)[:, 1], rtol=0, atol=1e-12)
    single.save(made, wider(single.head), ("x", "y", "new", "newer"))
    np.testing.assert_allclose(
        jpmml(made, inputs, ("x", "y", "new", "newer")), probabilities(pmml.open(made), inputs), rtol=0, atol=1e-12
    )


def test_priors_verification_and_output_fields_follow_the_classes(tmp_path):
    """Priors of a removed class go, verification records go (they hold old probabilities), a used field is refused."""
    path, made = seed("knime", tmp_path), tmp_path / "other.pmml"
    priors = "".join(f'<TargetValue value="{c}" priorProbability="0.5"/>' for c in "xy")
    targets = f'<Targets><Target field="kind" optype="categorical">{priors}</Target></Targets>'
    records = '<ModelVerification recordCount="0"><VerificationFields/><InlineTable/></ModelVerification>'
    text = path.read_text().replace("<NeuralInputs>", targets + "<NeuralInputs>")
    path.write_text(text.replace("</NeuralNetwork>", records + "</NeuralNetwork>"))
    model = pmml.open(path)
    model.save(made, model.head, model.classes)
    assert "ModelVerification" in made.read_text()
    head = DenseHead(np.eye(3, 2), np.zeros(2), "sigmoid")
    model.save(made, head, ("y", "z"))
    content = made.read_text()
    assert "ModelVerification" not in content and "TargetValue" in content and 'value="x"' not in content
    assert elements(made, "OutputField")[0].count("probability(y)") == 1 and "probability(z)" in content

    twice = '<Apply function="*"><FieldRef field="probability(x)"/><Constant>2</Constant></Apply></OutputField>'
    field = '<OutputField name="twice" feature="transformedValue" optype="continuous" dataType="double">' + twice
    path.write_text(path.read_text().replace("</Output>", field + "</Output>"))
    before = made.read_bytes()
    with pytest.raises(FormatError, match=r"refers to 'probability\(x\)'"):
        pmml.open(path).save(made, head, ("y", "z"))
    assert made.read_bytes() == before


def test_a_target_of_numbers_becomes_one_of_strings_where_a_name_is_no_number(tmp_path):
    path = seed("regression", tmp_path)
    model = pmml.open(path)
    model.save(path, wider(model.head), ("0", "1", "2", "3", "4"))
    assert 'name="y" optype="categorical" dataType="integer"' in path.read_text()
    model.save(path, wider(model.head), ("0", "1", "2", "cat", "4"))
    content = path.read_text()
    assert 'name="y" optype="categorical" dataType="string"' in content
    assert 'name="predicted" optype="categorical" dataType="string"' in content
    assert 'name="probability(cat)"' in content


@pytest.fixture(scope="module")
def sklearn_models(tmp_path_factory):
    """Scikit-learn's models as JPMML's converter writes them, on the first classes of iris."""
    import sklearn.base
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn2pmml import sklearn2pmml
    from sklearn2pmml.pipeline import PMMLPipeline

    folder = tmp_path_factory.mktemp("sklearn")
    x, y = load_iris(return_X_y=True, as_frame=True)
    mlp = {"hidden_layer_sizes": (5,), "max_iter": 50, "random_state": 0}
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        # The converter refuses versions of scikit-learn that are younger than it; these classes are the same there.
        patch.setattr(sklearn.base, "__version__", "1.9.0")
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")  # It runs for a second: compile less.
        for name, scaler, model, count in (
            ("tanh of three", StandardScaler(), MLPClassifier(activation="tanh", **mlp), 3),
            ("relu of two", MinMaxScaler(), MLPClassifier(activation="relu", **mlp), 2),
            ("logit of two", StandardScaler(), LogisticRegression(), 2),
        ):
            pipeline = PMMLPipeline([("scale", scaler), ("model", model)]).fit(x[y < count], y[y < count])
            sklearn2pmml(pipeline, str(folder / f"{name}.pmml"))
            made[name] = (pipeline, folder / f"{name}.pmml")
    return x, made


@pytest.mark.slow
@pytest.mark.needs("java", "javac", "weka.jar", "jpmml_evaluator")
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_models(sklearn_models, tmp_path):
    x, made = sklearn_models
    rows = x[::10]
    inputs = {name: rows[name].tolist() for name in x.columns}
    for name, (pipeline, path) in made.items():
        model = pmml.open(path)
        expected = pipeline.predict_proba(rows)
        order = [list(map(str, pipeline.classes_)).index(c) for c in model.classes]
        np.testing.assert_allclose(probabilities(model, inputs), expected[:, order], rtol=0, atol=1e-9, err_msg=name)
        wide = tmp_path / "wide.pmml"
        classes = (*model.classes, "new", "newer")
        model.save(wide, wider(model.head), classes)
        after = jpmml(wide, inputs, classes)
        again = pmml.open(wide)
        np.testing.assert_allclose(probabilities(again, inputs), after, rtol=0, atol=1e-12)
        np.testing.assert_allclose(after[:, 1] / after[:, 0], expected[:, order[1]] / expected[:, order[0]], rtol=1e-9)
        assert again.network is not None
        to_pmml(again.network, tmp_path / "plain.pmml")
        np.testing.assert_allclose(jpmml(tmp_path / "plain.pmml", inputs, classes), after, rtol=0, atol=1e-12)
        if "relu" not in name:
            np.testing.assert_allclose(weka(tmp_path / "plain.pmml", inputs, classes), after, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.needs("java", "javac", "weka.jar", "jpmml_evaluator")
def test_to_pmml_is_read_by_jpmml_and_weka(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "network.pmml"
    names, classes = ("x", "<&>", "it's", "ä"), ("cat", 'a "dog"', "ü")
    x = rng.normal(size=(N, 4)) * 3
    inputs = dict(zip(names, x.T.tolist(), strict=True))
    for hidden, last in (("tanh", "softmax"), ("logistic", "log_softmax"), ("identity", "logistic"), ("relu", "tanh")):
        layers = (
            DenseLayer(rng.normal(size=(4, 6)), rng.normal(size=6), hidden),
            DenseLayer(rng.normal(size=(6, 5)), rng.normal(size=5), hidden),
            DenseLayer(rng.normal(size=(5, 3)), rng.normal(size=3), last),
        )
        network = DenseNetwork(layers, rng.normal(size=4), rng.normal(size=4), names, classes)
        y = network.outputs(x)
        expected = {"log_softmax": np.exp(y), "tanh": (1 + y) / 2}.get(last, y)
        to_pmml(network, path)
        np.testing.assert_allclose(jpmml(path, inputs, classes), expected, rtol=0, atol=1e-12)
        if hidden != "relu":
            normal = expected / expected.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(weka(path, inputs, classes), normal, rtol=0, atol=1e-12)
        again = pmml.open(path).network
        assert again is not None and again.inputs == names and again.classes == classes
        np.testing.assert_allclose(again.features(x), network.features(x), rtol=0, atol=1e-12)


BOMB = '<!DOCTYPE PMML [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE PMML [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
KNIME_CHANGES = {
    "entities": ("<PMML version", BOMB + "<PMML version", "document type or entities"),
    "external entity": ("<PMML version", EXTERNAL + "<PMML version", "document type or entities"),
    "document type": ("<PMML version", '<!DOCTYPE PMML SYSTEM "http://localhost/x.dtd"><PMML version', "document type"),
    "deep": ("<Header>", "<Header>" + "<Extension>" * 100 + "</Extension>" * 100, "nested deeper"),
    "cut off": ("</PMML>", "", "not an XML file"),
    "encoding": ('encoding="UTF-8"', 'encoding="rot13"', "not an XML file"),
    "other version": ('version="4.2"', 'version="2.1"', "expected PMML of version 3.x or 4.x"),
    "other root": ("PMML-4_2", "PMML-9", "expected PMML"),
    "NaN": ('weight="-0.5"', 'weight="NaN"', "layer 1, neuron 'h1': Con weight is 'NaN'; expected a finite number"),
    "infinity": ('weight="-0.5"', 'weight="-INF"', "expected a finite number"),
    "huge number": ('weight="-0.5"', 'weight="1e999"', "expected a finite number"),
    "long number": ('weight="-0.5"', f'weight="{"9" * 5000}"', "expected a finite number"),
    "Python's number": ('weight="-0.5"', 'weight="1_0"', "expected a finite number"),
    "skip": ('<Con from="h3" weight="0.3"/>', '<Con from="i1" weight="0.3"/>', "reads 'i1'(.*)skip a layer"),
    "threshold": ('activationFunction="logistic"', 'activationFunction="threshold"', "layer 1: activation 'threshold'"),
    "radial": ('activationFunction="logistic"', 'activationFunction="radialBasis"', "activation 'radialBasis'"),
    "normalised": ("<NeuralLayer>", '<NeuralLayer normalizationMethod="simplemax">', "normalization 'simplemax'"),
    "regression": ('functionName="classification"', 'functionName="regression"', "functionName is 'regression'"),
    "other model": ("NeuralNetwork", "TreeModel", "holds TreeModel; expected one of NeuralNetwork"),
    "no outputs": ('<NormDiscrete field="kind" value="x"/>', '<FieldRef field="kind"/>', "no NormDiscrete of"),
    "one class twice": ('field="kind" value="x"', 'field="kind" value="y"', "expected unlike ones"),
    "unlisted class": ('field="kind" value="x"', 'field="kind" value="z"', "class 'z' is not among the values"),
    "used field": ('<FieldRef field="b"/>', '<FieldRef field="never used"/>', "expression MapValues is not supported"),
    "no field": ('<FieldRef field="b"/>', '<FieldRef field="c"/>', "field 'c' is used, but is no active"),
    "outliers": ('<NormContinuous field="a">', '<NormContinuous field="a" outliers="asMissingValues">', "outliers="),
    "points": ('orig="8"', 'orig="0"', "two or more rising points"),
    "missing": ("<Interval", '<Value value="-1" property="missing"/><Interval', "numbers that mean 'missing'"),
    "function": ('<FieldRef field="b"/>', '<Apply function="x-run"><FieldRef field="b"/></Apply>', "'x-run' of 1 arg"),
    "names as numbers": ('name="b" optype="continuous" dataType="double"', 'name="b" optype="continuous"', "dataType"),
    "two neurons": ('id="h2"', 'id="h1"', "neuron 'h1' is defined twice"),
    "targets": ('name="b" invalid', 'name="b" usageType="target" invalid', "2 target fields"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNIME_CHANGES)
def test_what_is_unsafe_or_not_supported_is_named(name, tmp_path):
    old, new, words = KNIME_CHANGES[name]
    path = tmp_path / "model.pmml"
    assert old in pmml_seed.KNIME
    path.write_text(pmml_seed.KNIME.replace(old, new), "utf-8")
    with pytest.raises(FormatError, match=words) as caught:
        pmml.open(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('normalizationMethod="softmax"', "", "normalizationMethod 'none'"),
        ('exponent="2"', 'exponent="0.5"', "exponent '0.5'"),
        ('value="5" coefficient', 'value="6" coefficient', "'6' is no value of field 'grade'"),
        ('targetCategory="2"', 'targetCategory="1"', "unlike classes"),
    ],
)
def test_regression_models_that_are_not_supported(old, new, words, tmp_path):
    path = tmp_path / "model.pmml"
    assert old in pmml_seed.REGRESSION
    path.write_text(pmml_seed.REGRESSION.replace(old, new))
    with pytest.raises(FormatError, match=words):
        pmml.open(path)


def test_a_network_too_large_for_its_file(tmp_path):
    """Few bytes, but thousands of neurons without connections times as many inputs."""
    path = tmp_path / "model.pmml"
    neurons = "".join(f'<Neuron id="n{i}"/>' for i in range(6000))
    more = "".join(f'<Neuron id="m{i}"/>' for i in range(6000))
    layers = f"<NeuralLayer>{neurons}</NeuralLayer><NeuralLayer>{more}</NeuralLayer><NeuralOutputs>"
    path.write_text(pmml_seed.KNIME.replace("<NeuralOutputs>", layers))
    with pytest.raises(FormatError, match="layer 4: more than 33554432 weights"):
        pmml.open(path)


def test_a_chain_of_derived_fields(tmp_path):
    """Each the double of the one before: computed once each, and as a scale and an offset."""
    path = tmp_path / "model.pmml"
    fields = "".join(
        f'<DerivedField name="d{i + 1}" optype="continuous" dataType="double"><Apply function="*"><FieldRef '
        f'field="{"b" if i == 0 else f"d{i}"}"/><Constant>1.01</Constant></Apply></DerivedField>' for i in range(3000)
    )  # fmt: skip
    text = pmml_seed.KNIME.replace("</TransformationDictionary>", fields + "</TransformationDictionary>")
    end = '"/></DerivedField></NeuralInput>'
    path.write_text(text.replace('<FieldRef field="b' + end, '<FieldRef field="d3000' + end))
    network = pmml.open(path).network
    assert network is not None and np.isclose(network.scale[1], 1.01**3000)
    with pytest.raises(FormatError, match="NaN or infinity"):
        pmml.open(path).features(np.array([[1.0, 1e308]]))


def test_a_wrong_suffix_or_head_writes_nothing(tmp_path):
    path = seed("regression", tmp_path)
    model = pmml.open(path)
    content, before = path.read_bytes(), sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(FormatError, match=r"named \.pmml"):
        model.save(tmp_path / "model.mat", model.head, model.classes)
    with pytest.raises(FormatError, match="2 classes are named; the head has 3 columns"):
        model.save(path, model.head, ("a", "b"))
    with pytest.raises(FormatError, match="needs 2 or more"):
        model.save(path, DenseHead(model.head.kernel[:, :1], model.head.bias[:1]), ("a",))
    with pytest.raises(FormatError, match="use softmax"):
        model.save(path, DenseHead(model.head.kernel[:, :2], model.head.bias[:2], "sigmoid"), ("a", "b"))
    with pytest.raises(FormatError, match=r"inputs of shape \[1, 2\]; expected \[n, 3\]"):
        model.features(np.zeros((1, 2)))
    assert path.read_bytes() == content and sorted(p.name for p in tmp_path.iterdir()) == before
    assert model.head.num_classes == 3


@pytest.mark.slow
def test_fuzz():
    counts, wrong = fuzz("pmml", 30)
    assert not wrong and counts["FormatError"] > 0
