"""Hugging Face folders: image and text classifiers of ``transformers``, read without the network.

A folder holds config.json (https://huggingface.co/docs/transformers/main_classes/configuration) and the weights:
model.safetensors, its shards with model.safetensors.index.json, or pytorch_model.bin. The model is built from the
library's own class; code in the folder (``auto_map``) is refused unless the user trusts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from extend.core.checkpoint import sync_folder
from extend.core.errors import FormatError, MissingExtraError
from extend.data import Image
from extend.formats.base import DenseHead, Input, check_names, check_replacement, replace_file
from extend.formats.torch import Cut, Weights, cut, dense_head, describe, head_tensors, read_weights
from extend.formats.transformers._config import IGNORED, MOST_PIXELS, PICTURES, check, image_of, read_json, without
from extend.formats.transformers._sequences import eos_cut, pools_at_eos, token_cut
from extend.formats.transformers._sounds import SOUND_INPUTS, input_name, long_enough, sound

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
TEXT_INPUTS = ("input_ids", "attention_mask")
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
STALE = (".safetensors", ".bin", ".h5", ".msgpack", ".onnx", ".ot", ".pt", ".pth", ".ckpt", ".index.json")
"""Other copies of the weights, with the old head: a wider folder goes without them."""


@dataclass(frozen=True, eq=False)
class HuggingFaceModel:
    """An opened folder of Hugging Face transformers.

    `extend.formats.base.Foreign` says what its attributes and methods mean.

    Parameters
    ----------
    folder
        Where the model was read.
    cut
        The module up to its head.
    input, head, classes, fingerprint
        As `Foreign` says.
    image
        How a picture becomes an input, from preprocessor_config.json; None for texts, or without that file.
    config, weights
        What config.json and the weights files hold.
    limits
        What is done otherwise than by the library, in words.
    """

    folder: Path
    cut: Cut
    input: Input | Mapping[str, Input]
    head: DenseHead
    classes: tuple[str, ...] | None
    fingerprint: str
    image: Image | None
    config: Mapping[str, Any]
    weights: Weights
    limits: str
    format: str = field(default="transformers", init=False)

    def features(self, batch: Any) -> Float[np.ndarray, "n d"]:
        """Return what the head reads of pictures ``[n, c, h, w]``, sounds or ``{"input_ids": [n, t], ...}``.

        Raises
        ------
        FormatError
            If the model does not take such inputs.
        """
        if isinstance(self.input, Input):
            name = input_name(self.cut.module, self.input)
            return self.cut.features({name: batch}, {name: self.input})
        return self.cut.features(batch, self.input)

    def save(self, path: str | os.PathLike[str], head: DenseHead, classes: tuple[str, ...]) -> None:
        """Write a folder: config.json and model.safetensors with this head, the other files as they are.

        A new folder goes without files in folders below, and without other copies of the weights. In the folder that
        was opened, these two files change; the weights files that they stand in for go, and nothing else does.

        Raises
        ------
        FormatError
            If the path is a file or a folder of something else, or the model cannot have this head.
        """
        target = Path(path).absolute()
        other = target.is_dir() and target != self.folder and any(target.iterdir())
        if target.suffix.lower() in STALE or target.is_file() or other:
            raise FormatError(f"{target}: expected a new or empty folder")
        check_replacement(head, self.head, classes, where=target)
        own = {part: self.weights.state[names[0]] for part, names in self.cut.names.items()}
        tensors = head_tensors(self.cut, head, own)
        config = dict(self.config) | {
            "id2label": {str(number): name for number, name in enumerate(classes)},
            "label2id": {name: number for number, name in enumerate(classes)},
            "num_labels": len(classes),
        }
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            partial.mkdir(parents=True)
            changed = {name: tensors[part] for part, names in self.cut.names.items() for name in names}
            self.weights.write(partial / SAFE, changed, classes)
            content = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            replace_file(partial / CONFIG, content.encode("utf-8"))
            if target == self.folder:
                self._take_over(partial)
            else:
                for file in sorted(self.folder.iterdir()):
                    if file.is_file() and file.name != CONFIG and not file.name.endswith(STALE):
                        shutil.copyfile(file, partial / file.name)
                if target.is_dir():  # Which is empty.
                    target.rmdir()
                partial.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            raise FormatError(f"{target}: cannot be written ({error}); what was there is unchanged") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _take_over(self, partial: Path) -> None:
        """Put the two new files into the folder that was opened; both, or neither."""
        superseded = [] if (self.folder / SAFE).exists() else _parts(self.folder)
        kept = {}
        for name in (SAFE, CONFIG):
            if (self.folder / name).exists():
                kept[name] = shutil.copyfile(self.folder / name, partial / f"old-{name}")
        try:
            for name in (SAFE, CONFIG):
                os.replace(partial / name, self.folder / name)
        except OSError:
            if SAFE in kept:
                os.replace(kept[SAFE], self.folder / SAFE)
            else:
                (self.folder / SAFE).unlink(missing_ok=True)
            raise
        for part in superseded:
            part.unlink(missing_ok=True)
        sync_folder(self.folder)

    def describe(self) -> dict[str, str]:
        """Describe the layers, where the head was found, and what is not kept."""
        return describe(self.cut) | ({"limits": self.limits} if self.limits else {})


def open(
    folder: str | os.PathLike[str],
    *,
    head: str | None = None,
    classes: Sequence[str] | None = None,
    trust: bool = False,
) -> HuggingFaceModel:
    """Open the folder of a classifier of images, texts or sounds.

    Parameters
    ----------
    folder
        The folder.
    head
        The path of the last layer, such as ``"classifier"``; if None, it is found by running the model.
    classes
        Names in place of config.json's ``id2label``.
    trust
        Whether the code in the folder that ``auto_map`` in config.json names may run.

    Returns
    -------
    HuggingFaceModel
        The opened model.

    Raises
    ------
    FormatError
        If the folder is missing or damaged, the model is not such a classifier (a regression, a head a token,
        quantised), or the weights do not fit config.json.
    MissingExtraError
        If transformers or PyTorch is not installed.

    Examples
    --------
    >>> import tempfile, transformers
    >>> config = transformers.ViTConfig(
    ...     hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=8, patch_size=4,
    ...     id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1})
    >>> folder = tempfile.mkdtemp()
    >>> transformers.ViTForImageClassification(config).save_pretrained(folder)
    >>> opened = open(folder)
    >>> opened.classes, opened.input.shape, opened.head.kernel.shape
    (('cat', 'dog'), (3, 8, 8), (8, 2))
    """
    where = Path(folder).absolute()
    if not where.is_dir():
        raise FormatError(f"{where}: no such folder")
    _check_installed()
    config = read_json(where / CONFIG)
    kind = check(where / CONFIG, config, trust)
    weights = _weights(where)
    with _quiet():
        module, unused = _build(where, config, kind, weights, trust)
    image, limits = None, ""
    inputs: Input | Mapping[str, Input] = {name: Input((None,), np.dtype("int64")) for name in TEXT_INPUTS}
    if module.main_input_name in SOUND_INPUTS:
        inputs = sound(module)
    elif kind == PICTURES:
        channels = getattr(module.config, "num_channels", 3)
        if (where / PREPROCESSOR).exists():
            image, limits = image_of(where / PREPROCESSOR, channels)
        inputs = _pixels(where, module.config, channels, image)
    if getattr(getattr(module, "score", None), "bias", 0) is None:
        limits = "the head has no bias, as the library builds it: a head that needs one is not written"
    if unused:
        limits = "; ".join([*filter(None, [limits]), f"{len(unused)} tensors of the file are not the model's"])
    try:
        found, dense = _head(module, inputs, weights, head)
        if config.get("problem_type") == "multi_label_classification":
            dense = DenseHead(dense.kernel, dense.bias, "sigmoid")
        names = _classes(module.config, dense.num_classes) if classes is None else tuple(classes)
        check_names(names, dense.num_classes)
        fingerprint = found.fingerprint
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    return HuggingFaceModel(where, found, inputs, dense, names, fingerprint, image, config, weights, limits)


def _head(
    module: Any, inputs: Input | Mapping[str, Input], weights: Weights, head: str | None
) -> tuple[Cut, DenseHead]:
    """Where the head is, and its numbers as the file has them."""
    config = module.config
    named = inputs if not isinstance(inputs, Input) else {input_name(module, inputs): long_enough(inputs)}
    fill = getattr(config, "eos_token_id", None)
    of_text = not isinstance(inputs, Input)
    found: Cut | None = token_cut(module, named, head) if of_text and not pools_at_eos(config) else None
    if found is None:
        found = cut(module, named, head, fill=fill if isinstance(fill, int) else 0)
    if of_text and pools_at_eos(config):
        found = eos_cut(found)
    own = {part: weights.state.get(names[0]) for part, names in found.names.items()}
    if any(tensor is None for tensor in own.values()):
        raise FormatError(f"the weights hold the head {found.path!r} under another name; load and save them first")
    return found, dense_head(own["weight"], own.get("bias"), found.follows)


def _check_installed() -> None:
    try:
        import torch  # noqa: F401  # only to see that both are there
        import transformers  # noqa: F401  # the same
    except ImportError as error:
        raise MissingExtraError("Hugging Face", "transformers", error) from error


def _weights(folder: Path) -> Weights:
    """All tensors of the folder's weights; they are written back as safetensors, whatever they were."""
    index = folder / f"{SAFE}.index.json"
    if (folder / SAFE).exists():
        return read_weights(folder / SAFE)
    if index.exists():
        places = read_json(index).get("weight_map")
        if not isinstance(places, dict) or not places:
            raise FormatError(f"{index}: expected weight_map, an object of tensor names and file names")
        shards = sorted({str(place) for place in places.values()})
        if wrong := [shard for shard in shards if Path(shard).name != shard or not shard.endswith(".safetensors")]:
            raise FormatError(f"{index}: {wrong[0]!r} is not the name of a .safetensors file in this folder")
        state: dict[str, Any] = {}
        for shard in shards:
            state |= read_weights(folder / shard).state
        return Weights(state, metadata={"format": "pt"})
    if (folder / PICKLED).exists():
        return Weights(dict(read_weights(folder / PICKLED).state), metadata={"format": "pt"})
    raise FormatError(f"{folder}: no weights: expected {SAFE}, {index.name} or {PICKLED}")


def _parts(folder: Path) -> list[Path]:
    """The files that hold the weights, where they are not one safetensors file."""
    index = folder / f"{SAFE}.index.json"
    if not index.exists():
        return [folder / PICKLED]
    return [index, *(folder / Path(str(part)).name for part in set(read_json(index)["weight_map"].values()))]


def _build(folder: Path, config: Mapping[str, Any], kind: str, weights: Weights, trust: bool) -> tuple[Any, list[str]]:
    """The model with its weights, float32 in evaluation mode, and what of the weights it does not use."""
    import torch
    import transformers

    try:
        if config.get("auto_map"):
            auto = getattr(transformers, f"AutoModel{kind}")
            options: Any = {"trust_remote_code": trust, "local_files_only": True, "dtype": torch.float32}
            model, found = auto.from_pretrained(folder, output_loading_info=True, **options)
        else:
            cls = getattr(transformers, config["architectures"][0], None)
            made = transformers.CONFIG_MAPPING[config.get("model_type")].from_dict(without(config, IGNORED))
            if cls is None or not isinstance(made, cls.config_class):
                raise FormatError(f"transformers has no {config['architectures'][0]} for {config.get('model_type')!r}")
            _check_size(cls, made, weights.state)
            model, found = cls.from_pretrained(
                None,
                config=made,
                state_dict=dict(weights.state),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                dtype=torch.float32,
            )
    except FormatError as error:
        raise FormatError(f"{folder}: {error}") from error
    except Exception as error:  # transformers raises whatever a value of the configuration leads to.
        raise FormatError(f"{folder}: cannot be built from {CONFIG} ({type(error).__name__}: {error})") from error
    if lost := sorted({*map(str, found["missing_keys"]), *(str(key[0]) for key in found["mismatched_keys"])}):
        raise FormatError(f"{folder}: the weights lack {', '.join(map(repr, lost[:3]))} in the shape of {CONFIG}")
    return model.eval().requires_grad_(False), sorted(found["unexpected_keys"])


def _check_size(cls: Any, config: Any, state: Mapping[str, Any]) -> None:
    """Build the model without memory, and stop where it has more layers or numbers than the weights."""
    import torch
    from torch.nn.modules.module import register_module_module_registration_hook

    thread, count, most = threading.get_ident(), 0, 1000 + 20 * len(state)

    def hook(module: Any, name: str, child: Any) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > most:
            raise FormatError(f"{CONFIG} describes more layers than the weights hold ({len(state)} tensors)")

    handle = register_module_module_registration_hook(hook)
    try:
        with torch.device("meta"):
            model = cls(config)
    finally:
        handle.remove()
    described = sum(parameter.numel() for parameter in model.parameters())
    held = sum(tensor.numel() for tensor in state.values())
    if described > held:
        raise FormatError(f"{CONFIG} describes {described:,} parameters; the weights hold {held:,}")


def _classes(config: Any, count: int) -> tuple[str, ...]:
    labels = config.id2label
    if not isinstance(labels, dict) or set(labels) != set(range(count)):
        raise FormatError(f"{CONFIG}: id2label is no name for each number from 0 to {count - 1}")
    return tuple(str(labels[number]) for number in range(count))


def _pixels(folder: Path, config: Any, channels: int, image: Image | None) -> Input:
    size = getattr(config, "image_size", None) or 224
    try:
        height, width = (size, size) if isinstance(size, int) else (tuple(size) * 2)[:2]
        if image is not None:
            height, width = image.height, image.width
        if not (0 < height <= MOST_PIXELS and 0 < width <= MOST_PIXELS):
            raise FormatError(f"expected at most {MOST_PIXELS} pixels")
    except (TypeError, ValueError) as error:
        raise FormatError(f"{folder / CONFIG}: image_size is {size!r} ({error})") from error
    return Input((channels, height, width), np.dtype("float32"), channels_first=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no warnings of transformers' own; what matters is raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
