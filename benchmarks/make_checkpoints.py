"""Make the checkpoints that ship with the project: ``python -m benchmarks.make_checkpoints digits|cifar8``.

The samples that the hash rule holds out are taken out before training, so figures measured on them are honest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flax import nnx

from benchmarks import datasets
from extend.memory import held_out_rows
from extend.models import ResNet
from extend.models.training import Phase, Recipe, train

CIFAR_RECIPE = Recipe((Phase(6, 20), Phase(12, 24), Phase(4)), learning_rate=0.2, padding=4, flip=True)


def train_cifar8(state_file: Path | None = None) -> nnx.Module:
    """ResNet-20 on the eight CIFAR-10 classes other than cat and dog, without the held-out samples."""
    samples = datasets.cifar10("train", datasets.CIFAR8_NAMES)
    kept = samples.take(~held_out_rows(samples.keys, samples.labels))
    return train(
        ResNet(8, rngs=nnx.Rngs(0)),
        kept.inputs,
        kept.labels,
        CIFAR_RECIPE,
        prepare=datasets.CIFAR10.normalise,
        state_file=state_file,
        report=lambda text: print(text, flush=True),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("digits", "cifar8"))
    parser.add_argument("--state", type=Path, help="keep the state of an interrupted training in this file")
    arguments = parser.parse_args()
    train_cifar8(arguments.state)


if __name__ == "__main__":
    main()
