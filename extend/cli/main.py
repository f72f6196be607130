"""The command `extend`. Heavy imports wait until a subcommand runs, so that help answers at once."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from extend.core.errors import ArgumentError

PROGRAM = "extend"
TRAINED = ("epochs", "select", "learning_rate", "flip", "padding", "state")
PIXELS = ("raw", "unit", "symmetric", "imagenet", "caffe")
METHODS = ("auto", "lda", "ridge", "gaussian", "nearest_mean", "svm", "new_units", "imprint", "fine_tune", "joint")


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; 0: done, 1: it failed (one line says why), 2: wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: interrupted; nothing was written", file=sys.stderr)
        return 1
    except Exception as error:
        if not isinstance(error, (ValueError, OSError)) and type(error).__name__ != "CheckpointError":
            raise
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


def _demo(options: argparse.Namespace) -> int:
    from extend.cli import digits as demo

    options.out.mkdir(parents=True, exist_ok=True)
    result = demo.run(options.out, _say, _bar)
    if options.json:
        print(json.dumps(result))
    else:
        print(demo.table(result))
        print(
            f"predictions after saving and restoring: {'identical' if result['identical_after_restore'] else 'DIFFER'}"
        )
        print(f"checkpoint {result['checkpoint']}   picture {result['picture']}   {result['seconds']:.1f} s")
    return 0 if result["identical_after_restore"] else 1


def _train(options: argparse.Namespace) -> None:
    from flax import nnx

    from extend import data, models
    from extend.classifier import evaluation
    from extend.memory import rows as memory
    from extend.memory.exemplars import exemplars_each
    from extend.operations import wrap as wrapping
    from extend.training.from_scratch import Phase, Recipe, train

    spec = data.Image(options.size, options.size, 1 if options.grey else 3, mean=(0.5,), std=(0.25,))
    samples = data.read_images(options.photos, spec, skip_broken=options.skip_broken, progress=_counted("images"))
    if len(samples.classes) < 2:
        raise ArgumentError(f"{options.photos}: one class only ({samples.classes[0]}); a classifier needs at least two")
    aside = memory.held_out_rows(samples.keys, samples.labels)
    kept, held = samples.take(~aside), samples.take(aside)
    if options.exemplars:  # Refuse before the training, not after it.
        exemplars_each(options.exemplars, len(samples.classes), samples.inputs[:1].nbytes)
    model = models.ResNet(len(samples.classes), options.depth, channels=spec.channels, rngs=nnx.Rngs(options.seed))
    recipe = Recipe(
        (Phase(options.epochs),),
        min(options.batch_size, len(kept)),
        options.learning_rate,
        padding=4,
        flip=options.flip,
    )
    trained = train(
        model,
        kept.inputs,
        kept.labels,
        recipe,
        prepare=spec.normalise,
        seed=options.seed,
        progress=_counted("steps"),
        report=_say,
    )
    clf = wrapping.wrap(
        trained,
        samples.classes,
        kept,
        held_out=held if len(held) else 0,
        inputs=spec,
        taps=("stage2", "stage3"),
        scatter="pooled" if options.pooled else "class",
        exemplars=options.exemplars,
    )
    clf.save(options.out)
    measured = evaluation.evaluate(clf, held) if len(held) else None
    if options.json:
        print(json.dumps({"checkpoint": str(options.out), "held_out": measured.to_dict() if measured else None}))
    else:
        print(f"saved {options.out}: {', '.join(clf.classes)}")
        if measured:
            print(f"on {measured.n} held-out images that it was not trained on: {measured}")


def _add(options: argparse.Namespace) -> None:
    from extend.operations import add as extension

    if options.picture and options.picture.suffix.lower() != ".png":
        raise ArgumentError(f"--picture {options.picture}: pictures are PNG; give a name that ends in .png")
    clf = _open(options, options.new)
    if clf.backbone.own_format is not None and options.checkpoint.suffix and not options.out.suffix:
        raise ArgumentError(f"--out {options.out}: give it a suffix, such as {options.checkpoint.suffix}")
    extended, report = extension.add_classes(
        clf,
        options.new,
        method=_method(options),
        old=options.old,
        validation=options.validation,
        on_existing=options.on_existing,
        max_forgetting=options.max_forgetting,
        exemplars=options.exemplars,
        seed=options.seed,
        skip_broken=options.skip_broken,
        progress=_counted("batches"),
    )
    cut_short = any("interrupted at step" in note for note in report.notes)
    if cut_short and options.state and options.out.resolve() == options.checkpoint.resolve():
        raise ArgumentError(
            f"interrupted; {options.out} is left as it was, so that the same command goes on from {options.state}"
        )
    if options.picture and report.after is not None:
        report.save(options.picture)
    extended.save(options.out)
    if options.json:
        print(json.dumps({**report.to_dict(), "all_classes": list(extended.classes), "checkpoint": str(options.out)}))
    else:
        print(report)
        print(f"saved {options.out}: {len(extended.classes)} classes" + _picture(options, report))


def _method(options: argparse.Namespace) -> Any:
    """The method by its name; those that train the backbone with the options that they take."""
    if options.method not in ("fine_tune", "joint"):
        if unused := [name for name in TRAINED if getattr(options, name) is not None]:
            raise ArgumentError(f"--{unused[0].replace('_', '-')} is for --method fine_tune and joint")
        return options.method
    from extend import methods

    given = {name: getattr(options, name) for name in TRAINED if getattr(options, name) is not None}
    return methods.FineTune(**given) if options.method == "fine_tune" else methods.Joint(**given)


def _evaluate(options: argparse.Namespace) -> None:
    from extend.classifier import evaluation

    clf = _open(options, options.data)
    result = evaluation.evaluate(clf, options.data, skip_broken=options.skip_broken, progress=_counted("batches"))
    print(json.dumps(result.to_dict()) if options.json else result)


def _predict(options: argparse.Namespace) -> None:
    from extend import data

    clf = _open(options, "pictures")
    names, inputs = data.read_pictures(options.pictures, clf.backbone.inputs)
    probabilities = clf.predict_proba(inputs)
    results = []
    for name, row in zip(names, probabilities, strict=True):
        best = row.argsort()[::-1][: options.top]
        results.append({"input": name, "classes": [[clf.classes[i], float(row[i])] for i in best]})
    if options.json:
        print(json.dumps(results))
    else:
        for result in results:
            ranked = "  ".join(f"{label} {share:.1%}" for label, share in result["classes"])
            print(f"{result['input']}: {ranked}")


def _inspect(options: argparse.Namespace) -> None:
    from extend.core import checkpoint

    if not options.checkpoint.exists():
        raise ArgumentError(f"{options.checkpoint}: no such file or folder")
    if _foreign(options.checkpoint):
        from extend.operations import inspect as inspecting

        found = inspecting.inspect(options.checkpoint, trust=options.trust)
        print(json.dumps(found) if options.json else "\n".join(f"{key:<12}{_shown(found[key])}" for key in found))
        return
    saved = checkpoint.describe(options.checkpoint)
    checkpoint.load(options.checkpoint)  # Every file is compared with its sum.
    if options.json:
        print(json.dumps(saved))
        return
    network, space, memory = saved["network"], saved["space"], saved["memory"]
    print(f"classes   {len(saved['classes'])}: {', '.join(saved['classes'])}")
    print(f"network   {network['class']} ({network['kind']}), head {network['head'] or 'fitted from data'}")
    print(f"input     {json.dumps(saved['input'])}")
    taps = ", ".join(tap["path"] for tap in space["taps"]) or "none"
    print(f"features  taps {taps}; transform {space['transform'] or 'none'}; width {space['width'] or 'none'}")
    unmeasured = "none: classes are added by imprint, until it is measured (add --old)"
    print(f"memory    {'statistics and held-out features' if memory else unmeasured}")
    for event in saved["history"]:
        print(f"history   {event['action']} {', '.join(event['classes'])} with {event['method']}")
    print(f"versions  {', '.join(f'{name} {number}' for name, number in saved['versions'].items())}")
    print("every file agrees with its SHA-256")


def _convert(options: argparse.Namespace) -> None:
    _open(options, "").save(options.out)
    print(json.dumps({"written": str(options.out)}) if options.json else f"saved {options.out}")


def _foreign(path: Path) -> bool:
    """Whether this is a model of another framework: a file, or a folder of Hugging Face transformers."""
    return path.is_file() or (path / "config.json").is_file()


def _open(options: argparse.Namespace, data: str) -> Any:
    """The classifier to work on, whose samples come from `data`."""
    from extend.operations import load_any as opening

    if not options.checkpoint.exists():
        raise ArgumentError(f"{options.checkpoint}: no such file or folder")
    if not _foreign(options.checkpoint):
        return opening.load(options.checkpoint)
    names = options.classes.split(",") if options.classes else None
    clf = opening.load(options.checkpoint, classes=names, pixels=options.pixels, size=options.size, trust=options.trust)
    if clf.backbone.needs_pixels and data and not data.endswith(".npz"):
        raise ArgumentError(
            f"{options.checkpoint} takes pictures, and does not say how their pixels are scaled: pass --pixels "
            f"{'|'.join(PIXELS)}"
        )
    return clf


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM, description="Give a trained classifier new classes, without its old data and without forgetting."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = _command(commands, "demo", _demo, "add the digits 8 and 9 to a network that knows 0 to 7 (half a minute)")
    demo.add_argument("--out", type=Path, default=Path("extend-demo"), help="folder for the checkpoint and the picture")

    train = _command(commands, "train", _train, "train a first classifier from a folder of images by class")
    train.add_argument("photos", type=Path, help="folder or archive with one folder of images a class")
    train.add_argument("--out", type=Path, required=True, help="the checkpoint to write")
    train.add_argument("--size", type=int, default=32, help="images are resized to SIZE x SIZE (default 32)")
    train.add_argument("--grey", action="store_true", help="read images in grey instead of colour")
    train.add_argument("--epochs", type=int, default=20, help="passes over the images (default 20)")
    train.add_argument("--depth", type=int, default=20, help="layers of the ResNet: 8, 14, 20, 32, ... (default 20)")
    train.add_argument("--batch-size", type=int, default=128, help="images a step (default 128)")
    train.add_argument("--learning-rate", type=float, default=0.1, help="highest learning rate (default 0.1)")
    train.add_argument("--no-flip", dest="flip", action="store_false", help="do not mirror images (text, digits)")
    train.add_argument("--pooled", action="store_true", help="keep one scatter matrix for all classes: smaller files")
    train.add_argument("--exemplars", type=int, default=0, help="bytes of images to keep for fine_tune (default 0)")
    train.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    _skip_broken(train)

    add = _command(commands, "add", _add, "add the classes of a folder of images to a checkpoint")
    add.add_argument("checkpoint", type=Path, help="a checkpoint or a file of another framework; it is not changed")
    add.add_argument("--new", required=True, help="folder or archive with one folder of images a new class, or .npz")
    add.add_argument("--out", type=Path, required=True, help="what to write (may be the same)")
    add.add_argument("--method", choices=METHODS, default="auto", help="default: auto")
    add.add_argument("--epochs", type=int, help="fine_tune, joint: passes over the images (default 5)")
    add.add_argument("--select", help="fine_tune, joint: all, last_block, norm, or a pattern such as 'stage3.*'")
    add.add_argument("--learning-rate", type=float, help="fine_tune, joint: of the backbone")
    add.add_argument("--flip", action="store_true", default=None, help="fine_tune, joint: mirror half of the images")
    add.add_argument("--padding", type=int, help="fine_tune, joint: crop images at random, from so many pixels more")
    add.add_argument("--state", help="fine_tune, joint: folder to go on from after an interruption")
    add.add_argument("--old", help="real images of old classes, if you still have some")
    add.add_argument("--validation", help="images of old and new classes to measure on")
    add.add_argument("--on-existing", choices=("error", "update"), default="error", help="if a class exists already")
    add.add_argument("--max-forgetting", type=float, help="share of old examples that may turn wrong, such as 0.01")
    add.add_argument("--exemplars", type=int, help="keep so many bytes of images from now on, for fine_tune; 0: none")
    add.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    add.add_argument("--picture", type=Path, help="draw accuracy and confusion to this PNG")
    _skip_broken(add)
    _of_files(add)

    evaluate = _command(commands, "evaluate", _evaluate, "measure a checkpoint on labelled images")
    evaluate.add_argument("checkpoint", type=Path)
    evaluate.add_argument("data", help="folder or archive with one folder of images a class, or .npz")
    _skip_broken(evaluate)
    _of_files(evaluate)

    predict = _command(commands, "predict", _predict, "name the class of images")
    predict.add_argument("checkpoint", type=Path)
    predict.add_argument("pictures", type=Path, nargs="+", help="image files, or folders of them")
    predict.add_argument("--top", type=int, default=3, help="how many classes to print (default 3)")
    _of_files(predict)

    inspect = _command(commands, "inspect", _inspect, "print what a checkpoint holds, and check it for damage")
    inspect.add_argument("checkpoint", type=Path)
    inspect.add_argument("--trust", action="store_true", help="open what executes code that the file names")

    convert = _command(commands, "convert", _convert, "write a classifier in another format")
    convert.add_argument("checkpoint", type=Path, help="a checkpoint, or a file of another framework")
    convert.add_argument("out", type=Path, help="the file to write; its suffix says the format")
    _of_files(convert)
    return parser


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")
    parser.set_defaults(run=run)
    return parser


def _of_files(parser: argparse.ArgumentParser) -> None:
    """What files of other frameworks may not say."""
    files = parser.add_argument_group("for files of other frameworks (docs/formats.md)")
    files.add_argument("--classes", help="the classes' names, with commas, in the order of the outputs")
    files.add_argument("--pixels", choices=PIXELS, help="how 8-bit pixels are scaled: as they are, to 0..1, -1..1, ...")
    files.add_argument("--size", type=int, help="height and width of pictures, if the file leaves them open")
    files.add_argument("--trust", action="store_true", help="open what executes code that the file names")


def _skip_broken(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-broken", action="store_true", help="go on without images that cannot be read")


def _picture(options: argparse.Namespace, report: Any) -> str:
    if not options.picture:
        return ""
    return f"; picture {options.picture}" if report.after is not None else "; no picture, as nothing was measured"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bar(steps: Iterable[int], total: int, text: str) -> Iterable[int]:
    """A progress bar on the terminal; none when output is not a terminal."""
    from tqdm import tqdm

    return tqdm(steps, total=total, desc=text, leave=False, disable=not sys.stderr.isatty())


def _counted(text: str) -> Any:
    return lambda steps, total: _bar(steps, total, text)


if __name__ == "__main__":
    sys.exit(main())
