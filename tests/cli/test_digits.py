"""The embedded default, run whole."""

import json
from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from extend.cli import digits as demo
from extend.cli import main as cli


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--out", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["identical_after_restore"] is True
    assert [step["classes"] for step in result["steps"]] == [["8"], ["9"]]
    last = result["steps"][-1]
    assert last["n_measured"] == 450 and last["overall"] > 0.98
    assert last["overall"] > result["naive"]["overall"] + 0.3
    assert result["naive"]["forgetting"] > 0.3
    assert result["joint"]["overall"] > 0.97
    assert set(last) == set(result["naive"]) == set(result["joint"])
    assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "joint, 0 to 9" in demo.table(result)


def test_the_data_are_the_stated_split() -> None:
    inputs, labels = load_digits(return_X_y=True)
    _, expected, _, truth = train_test_split(inputs / 16, labels, test_size=0.25, stratify=labels, random_state=3)
    _, x_test, _, y_test = demo.digits(3)
    assert abs(x_test.reshape(450, 64) - expected).max() < 1e-6 and (y_test == truth).all()


def test_the_shipped_checkpoint_is_the_base_network() -> None:
    import extend

    clf = extend.load(demo.shipped("digits-0-7"))
    assert clf.classes == demo.BASE and clf.memory is not None and not clf.memory.trained_on.any()
    _, x_test, _, y_test = demo.digits(0)
    assert extend.evaluate(clf, (x_test[y_test < 8], y_test[y_test < 8])).accuracy > 0.98
    assert sum(file.stat().st_size for file in demo.shipped("digits-0-7").rglob("*")) < 6_000_000


def test_a_missing_checkpoint_is_named() -> None:
    with pytest.raises(ValueError, match="'nothing' does not come with this installation"):
        demo.shipped("nothing")
