"""`extend.formats.transformers` against the library itself, on small random models; nothing is downloaded."""

from __future__ import annotations

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from PIL import Image as Picture
from safetensors.torch import load_file

import extend
from extend.core.errors import FormatError
from extend.formats.base import DenseHead
from extend.formats.torch import model as torch_format
from extend.formats.transformers import model as format
from extend.formats.transformers._config import image_of
from tests.formats.test_torch import wider
from tests.formats.torch_networks import trained_looks

NAMES = ("cat", "dog", "owl")
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
TEXT: dict[str, Any] = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 30, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 20,
}  # fmt: skip
LLAMA = {**TEXT, "num_key_value_heads": 1, "pad_token_id": 0}
SPEECH: dict[str, Any] = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": (8, 8),
    "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 6,
}  # fmt: skip
T5 = {"vocab_size": 30, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "eos_token_id": 2,
      "pad_token_id": 0, "decoder_start_token_id": 0}  # fmt: skip
GPT2 = {"vocab_size": 30, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 20}
MEL = {"num_mel_bins": 8, "patch_size": 4, "frequency_stride": 4, "time_stride": 4, "max_length": 16}
CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "vit": (
        transformers.ViTForImageClassification,
        {**TEXT, "image_size": 16, "patch_size": 8},
        "classifier",
    ),
    "resnet": (
        transformers.ResNetForImageClassification,
        {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 2], "layer_type": "basic"},
        "classifier.1",
    ),
    "convnext": (
        transformers.ConvNextForImageClassification,
        {"hidden_sizes": [8, 12], "depths": [1, 1], "num_stages": 2, "image_size": 32},
        "classifier",
    ),
    "swin": (
        transformers.SwinForImageClassification,
        {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2},
        "classifier",
    ),
    "distilbert": (
        transformers.DistilBertForSequenceClassification,
        {"vocab_size": 30, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 20},
        "classifier",
    ),
    "bert": (transformers.BertForSequenceClassification, TEXT, "classifier"),
    "bart": (transformers.BartForSequenceClassification, SEQ2SEQ, "classification_head.out_proj"),
    "mbart": (transformers.MBartForSequenceClassification, SEQ2SEQ, "classification_head.out_proj"),
    "t5": (transformers.T5ForSequenceClassification, T5, "classification_head.out_proj"),
    "gpt2": (transformers.GPT2ForSequenceClassification, {**GPT2, "pad_token_id": 0, "eos_token_id": 2}, "score"),
    "gpt2, no padding token": (transformers.GPT2ForSequenceClassification, {**GPT2, "eos_token_id": 2}, "score"),
    "llama": (transformers.LlamaForSequenceClassification, LLAMA, "score"),
    "mistral": (transformers.MistralForSequenceClassification, LLAMA, "score"),
    "qwen2": (transformers.Qwen2ForSequenceClassification, LLAMA, "score"),
    "wav2vec2": (transformers.Wav2Vec2ForSequenceClassification, SPEECH, "classifier"),
    "hubert": (transformers.HubertForSequenceClassification, SPEECH, "classifier"),
    "ast": (transformers.ASTForAudioClassification, {**TEXT, **MEL}, "classifier.dense"),
    "whisper": (
        transformers.WhisperForAudioClassification,
        {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 20},
        "classifier",
    ),
    "roberta": (transformers.RobertaForSequenceClassification, TEXT, "classifier.out_proj"),
}


def made(case: str, folder: Path, **more: Any) -> Any:
    """A model with random weights, saved to the folder; itself."""
    cls, settings, _ = CASES[case]
    model = trained_looks(cls(cls.config_class(**settings, **LABELS, **more)))
    model.save_pretrained(folder)
    return model


def batch(model: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    if model.main_input_name in ("input_values", "input_features"):
        shape = {"Wav2Vec2": (400,), "Hubert": (400,), "ASTFor": (16, 8), "Whisper": (8, 40)}
        one = next(found for name, found in shape.items() if type(model).__name__.startswith(name))
        return {model.main_input_name: rng.normal(size=(4, *one)).astype(np.float32)}
    if hasattr(model.config, "num_channels"):
        size = getattr(model.config, "image_size", 32)
        return {"pixel_values": rng.normal(size=(4, 3, size, size)).astype(np.float32)}
    mask = np.ones((4, 7), np.int64)
    mask[0, 5:] = 0
    ids = rng.integers(3, 30, (4, 7)) * mask
    if model.config.is_encoder_decoder:  # A row for a pair of texts has more of them than one for a text.
        ids[[0, 1, 2, 3], [4, 6, 6, 6]] = model.config.eos_token_id
        ids[2, 3] = model.config.eos_token_id
    return {"input_ids": ids, "attention_mask": mask}


def given(x: dict[str, np.ndarray]) -> Any:
    """As `features` takes it: pictures by themselves, texts by name."""
    return next(iter(x.values())) if len(x) == 1 else x


def logits(model: Any, x: dict[str, np.ndarray]) -> np.ndarray:
    """The library's own, of each row by itself, and without padding where the model knows none."""
    if len(x) > 1:
        length = x["attention_mask"].sum(axis=1) if model.config.pad_token_id is None else [7] * 4
        rows = [{name: part[i : i + 1, : length[i]] for name, part in x.items()} for i in range(4)]
        return np.concatenate([whole_logits(model, row) for row in rows])
    return whole_logits(model, x)


def whole_logits(model: Any, x: dict[str, np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return model.eval()(**{name: torch.from_numpy(array) for name, array in x.items()}).logits.float().numpy()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection to anywhere."""

    def refuse(*args: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("case", CASES)
def test_a_folder_gets_two_classes_and_keeps_its_three(case: str, tmp_path: Path) -> None:
    source, target = tmp_path / "small", tmp_path / "new" / "wide"
    model = made(case, source)
    (source / "tokenizer.json").write_text('{"version": "1.0"}')
    (source / "pytorch_model.bin").write_bytes(b"the old head, in another file")
    x = batch(model)
    old = logits(model, x)
    opened = format.open(source)
    assert opened.classes == NAMES and opened.cut.path == CASES[case][2]
    np.testing.assert_allclose(opened.features(given(x)) @ opened.head.kernel + opened.head.bias, old, atol=1e-5)

    head, classes = wider(opened.head), (*NAMES, "Ötzi", "elk")
    if opened.cut.layer.bias is None:
        with pytest.raises(FormatError, match="has no bias"):
            opened.save(target, head, classes)
        head = DenseHead(head.kernel, np.zeros_like(head.bias))
    opened.save(target, head, classes)
    assert sorted(file.name for file in target.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (target / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (source, target))
    assert {key: value for key, value in after.items() if "label" not in key} == {
        key: value for key, value in before.items() if "label" not in key
    }
    again = CASES[case][0].from_pretrained(target, local_files_only=True)
    assert again.config.num_labels == 5
    assert [again.config.id2label[i] for i in range(5)] == list(classes)
    assert again.config.label2id == {name: i for i, name in enumerate(classes)}
    new = logits(again, x)
    np.testing.assert_allclose(new[:, :3], old, rtol=0, atol=1e-5)
    np.testing.assert_allclose(new, opened.features(given(x)) @ head.kernel + head.bias, atol=1e-5)
    weights, kept = load_file(source / "model.safetensors"), load_file(target / "model.safetensors")
    assert list(kept) == list(weights)
    for name, value in weights.items():
        assert torch.equal(kept[name][: len(value)] if value.ndim else kept[name], value), name

    reopened = format.open(target)
    assert reopened.fingerprint == opened.fingerprint and reopened.classes == classes
    np.testing.assert_array_equal(reopened.head.kernel, head.kernel)
    with pytest.raises(FormatError, match="new or empty folder"):
        opened.save(target, head, classes)
    reopened.save(target, opened.head, NAMES)  # The folder that it came from may be written again.
    np.testing.assert_allclose(logits(CASES[case][0].from_pretrained(target), x), old, rtol=0, atol=1e-5)
    assert [entry.name for entry in target.parent.iterdir()] == ["wide"]


def test_shards_and_pickled_weights_and_half_precision(tmp_path: Path) -> None:
    model = made("vit", tmp_path / "whole")
    x = batch(model)
    old = logits(model, x)
    model.save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    shutil.copytree(tmp_path / "whole", tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    fingerprint = format.open(tmp_path / "whole").fingerprint
    for name in ("shards", "pickled"):
        opened = torch_format.open(tmp_path / name)
        assert isinstance(opened, format.HuggingFaceModel) and opened.fingerprint == fingerprint
        opened.save(tmp_path / f"wide {name}", wider(opened.head), (*NAMES, "elk", "fox"))
        assert not (tmp_path / f"wide {name}" / "pytorch_model.bin").exists()
        assert not (tmp_path / f"wide {name}" / "model.safetensors.index.json").exists()
        again = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / f"wide {name}")
        np.testing.assert_allclose(logits(again, x)[:, :3], old, rtol=0, atol=1e-5)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    half = format.open(tmp_path / "half")
    assert half.head.kernel.dtype.name == "bfloat16"
    half.save(tmp_path / "wide half", wider(half.head), (*NAMES, "elk", "fox"))
    weights = load_file(tmp_path / "wide half" / "model.safetensors")
    assert weights["classifier.weight"].dtype == torch.bfloat16
    assert torch.equal(weights["classifier.weight"][:3], model.classifier.weight)
    (tmp_path / "shards" / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "../whole/model.safetensors"}}'
    )
    with pytest.raises(FormatError, match=r"not the name of a .safetensors file in this folder"):
        format.open(tmp_path / "shards")


def test_several_labels_at_once(tmp_path: Path) -> None:
    made("bert", tmp_path / "bert", problem_type="multi_label_classification")
    opened = format.open(tmp_path / "bert")
    assert opened.head.activation == "sigmoid"
    opened.save(tmp_path / "wide", wider(opened.head), (*NAMES, "elk", "fox"))
    assert format.open(tmp_path / "wide").head.activation == "sigmoid"


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"size": {"height": 16, "width": 16}}, (16, 16)),
        ({"size": {"height": 12, "width": 20}, "resample": 3, "image_mean": [0.4, 0.5, 0.6]}, (12, 20)),
        ({"size": {"height": 16, "width": 16}, "do_normalize": False, "resample": 0}, (16, 16)),
        ({"size": {"height": 16, "width": 16}, "do_rescale": False, "image_std": [50.0, 60.0, 70.0]}, (16, 16)),
    ],
)
def test_pictures_are_prepared_as_the_librarys_own_processor_does(
    settings: dict[str, Any], shape: tuple[int, int], tmp_path: Path
) -> None:
    made("vit", tmp_path / "vit")
    processor = transformers.ViTImageProcessorPil(**settings)
    processor.save_pretrained(tmp_path / "vit")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "picture.png")
    image = format.open(tmp_path / "vit").image if shape == (16, 16) else _image(tmp_path / "vit")
    assert image is not None and image.shape == (*shape, 3)
    ours = image.normalise(image.read((tmp_path / "picture.png").read_bytes())[None])
    theirs = processor(Picture.open(tmp_path / "picture.png"), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), theirs, atol=1e-5)


def _image(folder: Path) -> Any:
    """Of a size that the model does not take, which `open` would say."""
    return image_of(folder / "preprocessor_config.json", 3)[0]


def test_what_is_cropped_is_said(tmp_path: Path) -> None:
    made("convnext", tmp_path / "net")
    text = '{"size": {"shortest_edge": 32}, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "resample": 3}'
    (tmp_path / "net" / "preprocessor_config.json").write_text(text)
    opened = format.open(tmp_path / "net")
    assert opened.image is not None and opened.image.shape == (32, 32, 3) and opened.image.resize == "bicubic"
    assert opened.input.shape == (3, 32, 32) and "not cropped" in opened.describe()["limits"]
    opened.save(tmp_path / "wide", opened.head, NAMES)
    assert (tmp_path / "wide" / "preprocessor_config.json").read_text() == text
    for broken in (
        '{"resample": 9}',
        '{"size": {"a": 1}}',
        '{"image_mean": [1, 2], "size": 8}',
        "[]",
        "{",
        '{"size": 0}',
    ):
        (tmp_path / "net" / "preprocessor_config.json").write_text(broken)
        with pytest.raises(FormatError, match=r"preprocessor_config.json"):
            format.open(tmp_path / "net")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 1_000_000}, "more layers than the weights hold"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000"),
        ({"hidden_size": 1_000_000, "num_attention_heads": 1}, "parameters; the weights hold"),
        ({"hidden_size": 16}, "parameters; the weights hold|lack"),
        ({"num_hidden_layers": 3}, "parameters; the weights hold"),
        ({"num_hidden_layers": "two"}, "cannot be built from config.json"),
        ({"num_labels": 10**6 + 1, "id2label": None}, "num_labels is 1000001"),
        ({"architectures": ["ViTModel"]}, "architectures is .*ForImageClassification"),
        ({"architectures": ["BertForSequenceClassification"]}, "no BertForSequenceClassification for 'vit'"),
        ({"architectures": ["NoneSuchForImageClassification"]}, "no NoneSuchForImageClassification"),
        ({"architectures": None}, "architectures is None"),
        ({"model_type": "nonesuch"}, "cannot be built|nonesuch"),
        ({"auto_map": {"AutoConfig": "evil.Config"}}, "code in the folder; trust=True"),
        ({"inner": {"auto_map": {"AutoConfig": "someone/evil--evil.Config"}}}, "code in the folder"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"use_pretrained_backbone": True}, "use_pretrained_backbone"),
        ({"problem_type": "regression"}, "regression"),
        ({"id2label": {"0": "only"}}, "regression"),
        ({"id2label": {"0": "cat", "1": "dog"}}, "lack 'classifier.bias', 'classifier.weight'"),
        ({"id2label": {"0": "a", "1": "b", "7": "c"}}, "id2label is no name for each number from 0 to 2"),
        ({"image_size": []}, "cannot be built|image_size"),
        ({"num_channels": "3"}, "cannot be built"),
    ],
)
def test_a_configuration_that_does_not_fit_or_cheats(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    made("vit", tmp_path / "vit")
    file = tmp_path / "vit" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    started = time.perf_counter()
    with pytest.raises(FormatError, match=message):
        format.open(tmp_path / "vit")
    assert time.perf_counter() - started < 10


def test_a_configuration_nested_without_end(tmp_path: Path) -> None:
    made("vit", tmp_path / "vit")
    file = tmp_path / "vit" / "config.json"
    text = file.read_text().rstrip().removesuffix("}")
    for depth in (900, 100_000):
        file.write_text(text + ', "a": ' + '{"a":' * depth + "1" + "}" * depth + "}")
        with pytest.raises(FormatError, match=r"config.json"):
            format.open(tmp_path / "vit")


def test_a_kernel_from_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    model = made("vit", tmp_path / "vit")
    file = tmp_path / "vit" / "config.json"
    config = json.loads(file.read_text()) | {"attn_implementation": "kernels-community/flash-attn2"}
    config["_attn_implementation"] = "kernels-community/flash-attn2"
    file.write_text(json.dumps(config))
    x = batch(model)
    opened = format.open(tmp_path / "vit")  # `offline` would tell.
    np.testing.assert_allclose(
        opened.features(given(x)) @ opened.head.kernel + opened.head.bias, logits(model, x), atol=1e-5
    )


def tokenizer(folder: Path) -> Any:
    """A tokenizer of 30 words, saved to the folder."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **{f"w{number}": number for number in range(4, 30)}}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("case", ["bert", "bart"])
def test_the_librarys_pipeline_gives_the_new_class_of_a_text(case: str, tmp_path: Path) -> None:
    made(case, tmp_path / "old")
    reads = tokenizer(tmp_path / "old")
    rng = np.random.default_rng(0)
    # Each class has words of its own. All texts end in word 2, which is </s> for BART.
    texts = {
        name: [" ".join(f"w{4 + 6 * place + number}" for number in rng.integers(0, 6, 5)) + " [CLS]" for _ in range(12)]
        for place, name in enumerate((*NAMES, "elk"))
    }

    def inputs(given: list[str]) -> dict[str, np.ndarray]:
        read = reads(given, padding="max_length", max_length=7, return_tensors="np")
        return {name: read[name].astype(np.int64) for name in ("input_ids", "attention_mask")}

    spec = extend.Tree({name: extend.Array((7,), "int64") for name in ("input_ids", "attention_mask")})
    every = inputs([text for name in NAMES for text in texts[name]])
    clf = extend.load(tmp_path / "old", inputs=spec, data=(every, np.repeat(NAMES, 12)))
    clf, _ = extend.add_classes(clf, {"elk": inputs(texts["elk"])}, method="lda")
    extend.save(clf, tmp_path / "new")
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "new"), device="cpu")
    found = [one["label"] for one in pipeline(texts["elk"] + texts["cat"])]
    assert found == clf.predict(inputs(texts["elk"] + texts["cat"])).tolist()
    assert "elk" in found[:12]  # Not always: the features are those of a random network.


def test_the_librarys_pipeline_gives_the_new_class_of_a_picture(tmp_path: Path) -> None:
    made("vit", tmp_path / "old")
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "old")
    rng = np.random.default_rng(0)

    def pictures(level: int) -> np.ndarray:
        return np.clip(rng.normal(level, 20, (12, 16, 16, 3)), 0, 255).astype(np.uint8)

    old = np.concatenate([pictures(level) for level in (20, 90, 160)])
    clf = extend.load(tmp_path / "old", data=(old, np.repeat(NAMES, 12)))
    new = pictures(235)
    clf, _ = extend.add_classes(clf, {"elk": new}, method="lda")
    extend.save(clf, tmp_path / "new")
    pipeline = transformers.pipeline("image-classification", model=str(tmp_path / "new"), device="cpu")
    found = [one[0]["label"] for one in pipeline([Picture.fromarray(picture) for picture in new])]
    assert found == clf.predict(new).tolist() and found.count("elk") > 8


def test_a_speech_model_learns_a_class(tmp_path: Path) -> None:
    model = made("wav2vec2", tmp_path / "old")
    x = np.random.default_rng(0).normal(size=(5, 400)).astype(np.float32)
    clf = extend.load(tmp_path / "old", inputs=extend.Array((400,)))
    np.testing.assert_allclose(clf.decision_function(x), logits(model, {"input_values": x}), atol=1e-5)
    clf, _ = extend.add_classes(clf, {"elk": x * 3})
    extend.save(clf, tmp_path / "new")
    again = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path / "new")
    np.testing.assert_allclose(logits(again, {"input_values": x}), clf.decision_function(x), atol=1e-5)
    assert again.config.id2label[3] == "elk"


def test_a_text_without_an_end_token_is_said(tmp_path: Path) -> None:
    made("bart", tmp_path / "old")
    ids = np.array([[0, 5, 6, 2], [0, 9, 4, 7], [0, 0, 0, 0]])
    opened = format.open(tmp_path / "old")
    with pytest.raises(FormatError, match="at least one <eos> token"):
        opened.features({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert not opened.features({"input_ids": ids[[0, 2]], "attention_mask": np.ones_like(ids[:2])})[1].any()


def test_code_in_the_folder_runs_only_when_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "modeling_own.py").write_text(OWN)
    (tmp_path / "sprung").unlink(missing_ok=True)
    namespace: dict[str, Any] = {"__name__": "modeling_own", "__file__": str(folder / "modeling_own.py")}
    exec(OWN, namespace)
    (folder / "sprung").unlink()
    model = namespace["OwnForImageClassification"](namespace["OwnConfig"](**LABELS))
    model.save_pretrained(folder)
    file = folder / "config.json"
    mapped = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForImageClassification": "modeling_own.OwnForImageClassification",
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": mapped}))
    with pytest.raises(FormatError, match="trust=True"):
        format.open(folder)
    assert not (folder / "sprung").exists()
    opened = format.open(folder, trust=True)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected = logits(model, {"pixel_values": x})
    np.testing.assert_allclose(opened.features(x) @ opened.head.kernel + opened.head.bias, expected, atol=1e-5)
    opened.save(tmp_path / "wide", wider(opened.head), (*NAMES, "elk", "fox"))
    assert (tmp_path / "wide" / "modeling_own.py").read_text() == OWN


OWN = """
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

Path(__file__).with_name("sprung").touch()


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, image_size=8, **more):
        self.image_size = image_size
        super().__init__(**more)


class OwnForImageClassification(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.body = torch.nn.Conv2d(3, 6, 3)
        self.head = torch.nn.Linear(6, config.num_labels)
        self.post_init()

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=self.head(self.body(pixel_values).mean(dim=(2, 3))))
"""


def test_damage_and_absence_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        format.open(tmp_path / "none")
    made("vit", tmp_path / "vit")
    with pytest.raises(FormatError, match="2 classes are named; the head has 3"):
        format.open(tmp_path / "vit", classes=["a", "b"])
    opened = format.open(tmp_path / "vit", classes=["a", "b", "c"])
    assert opened.classes == ("a", "b", "c")
    with pytest.raises(FormatError, match="two classes have the name 'a'"):
        opened.save(tmp_path / "wide", opened.head, ("a", "a", "b"))
    with pytest.raises(FormatError, match="new or empty folder"):
        opened.save(tmp_path / "wide.safetensors", opened.head, ("a", "c", "b"))
    with pytest.raises(FormatError, match="reads 5 features"):
        opened.save(tmp_path / "wide", DenseHead(np.ones((5, 2)), np.zeros(2)), ("a", "b"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["vit"]
    state = load_file(tmp_path / "vit" / "model.safetensors")
    (tmp_path / "vit" / "model.safetensors").unlink()
    with pytest.raises(FormatError, match=r"no weights: expected model\.safetensors"):
        format.open(tmp_path / "vit")
    less = {name: value for name, value in state.items() if "vit.layernorm" not in name}
    torch.save(less | {"x": torch.zeros(99)}, tmp_path / "vit" / "pytorch_model.bin")
    with pytest.raises(FormatError, match=r"the weights lack 'vit\.layernorm\.bias'"):
        format.open(tmp_path / "vit")
    torch.save(state | {"x": torch.zeros(99)}, tmp_path / "vit" / "pytorch_model.bin")
    assert "1 tensors of the file are not the model's" in format.open(tmp_path / "vit").describe()["limits"]
    (tmp_path / "vit" / "config.json").write_text("{")
    with pytest.raises(FormatError, match=r"config.json: not JSON"):
        format.open(tmp_path / "vit")
