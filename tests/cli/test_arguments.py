"""Values that no command can use are wrong usage, and said before anything is read."""

import pytest

from extend.cli.main import main

TRAIN = ("train", "photos", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*TRAIN, "--epochs", "0"), "--epochs: 0 is too small; give 1 or more"),
        ((*TRAIN, "--size", "-3"), "--size: -3 is too small; give 1 or more"),
        ((*TRAIN, "--batch-size", "0"), "--batch-size: 0 is too small; give 1 or more"),
        ((*TRAIN, "--batch-size", "many"), "--batch-size: 'many' is not a whole number"),
        ((*TRAIN, "--learning-rate", "nan"), "--learning-rate: nan is not a number above 0"),
        ((*TRAIN, "--seed", "-1"), "--seed: -1 is too small; give 0 or more"),
        (("add", "a", "--new", "b", "--out", "c", "--seed", "-1"), "--seed: -1 is too small; give 0 or more"),
        (("add", "a", "--new", "b", "--out", "c", "--pixels", "odd"), "--pixels: invalid choice: 'odd'"),
        (("predict", "a", "b.png", "--top", "0"), "--top: 0 is too small; give 1 or more"),
    ],
)
def test_a_value_out_of_range(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2 and message in capsys.readouterr().err
