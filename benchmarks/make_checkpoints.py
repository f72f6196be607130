"""Make the checkpoints that ship with the project: ``python -m benchmarks.make_checkpoints digits|cifar8``.

The samples that the hash rule holds out are taken out before training, so figures measured on them are honest.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flax import nnx

import extend
from benchmarks import datasets
from extend.cli import digits as demo
from extend.data import Samples
from extend.memory import held_out_rows
from extend.models import ResNet
from extend.training import Phase, Recipe, train

CIFAR_RECIPE = Recipe((Phase(6, 20), Phase(12, 24), Phase(4)), learning_rate=0.2, padding=4, flip=True)
CIFAR_TAPS = tuple(
    extend.Tap(path, 2) for path in ("stage2", "stage3.layers.0", "stage3.layers.1", "stage3")
)  # 960 features with the penultimate ones: what fits into 8 MB.


def cifar8_samples() -> tuple[Samples, Samples]:
    """Return the training images of the classes other than cat and dog: those to train on, and the held-out ones."""
    samples = datasets.cifar10("train", datasets.CIFAR8_NAMES)
    aside = held_out_rows(samples.keys, samples.labels)
    return samples.take(~aside), samples.take(aside)


def train_cifar8(kept: Samples, state: Path) -> nnx.Module:
    """Train ResNet-20 on the eight classes; an interrupted training goes on from the folder `state`."""
    return train(
        ResNet(8, rngs=nnx.Rngs(0)),
        kept.inputs,
        kept.labels,
        CIFAR_RECIPE,
        prepare=datasets.CIFAR10.normalise,
        state=state,
        report=lambda text: print(text, flush=True),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("digits", "cifar8"))
    parser.add_argument("--out", type=Path, default=Path("checkpoints"), help="folder to write to")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".cache/cifar8"),
        help="folder for the state of cifar8 after every epoch",
    )
    options = parser.parse_args()
    if options.which == "digits":
        clf = demo.train_base(0)
        clf.save(options.out / "digits-0-7")
        return
    kept, held = cifar8_samples()
    model = train_cifar8(kept, options.state)
    clf = extend.wrap(
        model,
        datasets.CIFAR8_NAMES,
        kept,
        held_out=held,
        inputs=datasets.CIFAR10,
        taps=CIFAR_TAPS,
        scatter="pooled",
    )
    clf.save(options.out / "cifar10-8")
    print(extend.evaluate(clf, datasets.cifar10("test", datasets.CIFAR8_NAMES)))


if __name__ == "__main__":
    main()
