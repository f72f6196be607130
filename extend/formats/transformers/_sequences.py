"""Classifiers of sequences that answer by one token: the last one (GPT-2, Llama), or ``<eos>`` (BART, T5).

They are cut so that a batch may hold what the library refuses: rows of zeros, or no padding token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from extend.core.errors import FormatError
from extend.formats.base import Input
from extend.formats.torch import Cut, Follows, to_numpy

IDS, MASK = "input_ids", "attention_mask"


class TokenCut(Cut):
    """A module whose head scores every token, and which returns the scores of one of them.

    The head is made to return what it reads, so that the module itself picks the token: what it returns then are the
    features.
    """

    def features(self, batch: Any, inputs: Input | Mapping[str, Input]) -> np.ndarray:
        """Return what the head reads of the token that counts; it raises as `Cut.features` does."""
        import torch

        handle = self.layer.register_forward_hook(lambda layer, args, output: args[0])
        parts = [batch] if getattr(self.module.config, "pad_token_id", None) is not None else _single(batch)
        try:
            with torch.inference_mode():
                rows = torch.cat([self.module(**self._tensors(part, inputs)).logits for part in parts])
        except Exception as error:  # Whatever the library raises.
            raise FormatError(f"{type(self.module).__name__} fails on these inputs: {error}") from error
        finally:
            handle.remove()
        return to_numpy(rows.float() if rows.element_size() < 4 else rows)


class EosCut(Cut):
    """A module that pools at ``<eos>``, of which the library wants equally many in every row of a batch."""

    def features(self, batch: Any, inputs: Input | Mapping[str, Input]) -> np.ndarray:
        """Return what the head reads, in batches of rows that the library takes; it raises as `Cut.features` does.

        Rows of zeros, which fill up a batch, have features of zero.
        """
        ids = np.asarray(batch[IDS]) if isinstance(batch, Mapping) and IDS in batch else np.zeros((0, 0))
        counts = (ids == self.module.config.eos_token_id).sum(axis=1) + ~ids.any(axis=1) * -1
        made = np.zeros((len(ids), self.layer.weight.shape[1]), np.float32)
        for count in np.unique(counts):
            rows = counts == count
            if count >= 0:
                made[rows] = super().features({name: np.asarray(part)[rows] for name, part in batch.items()}, inputs)
        return made


def pools_at_eos(config: Any) -> bool:
    """Whether a model of this configuration takes the features of ``<eos>``."""
    return bool(getattr(config, "is_encoder_decoder", False)) and isinstance(config.eos_token_id, int)


def token_cut(module: Any, inputs: Mapping[str, Input], head: str | None) -> TokenCut | None:
    """Return the cut of a module that returns one token's scores, or None if it is none.

    The head is the one dense layer with a unit for each class and no other layer of the model behind it.
    """
    import torch

    count = module.config.num_labels
    dense = [path for path, layer in module.named_children() if isinstance(layer, torch.nn.Linear)]
    paths = [head] if head is not None else [path for path in dense if len(getattr(module, path).weight) == count]
    if len(paths) != 1 or not isinstance(getattr(module, paths[0], None), torch.nn.Linear):
        return None
    found = TokenCut(module, paths[0], Follows("scores"))
    rng = np.random.default_rng(0)
    batch = {name: np.ones((1, 6), np.int64) for name in inputs}
    batch[IDS] = rng.integers(0, module.config.get_text_config().vocab_size, (1, 6))
    layer, features = found.layer, found.features(batch, inputs)
    with torch.inference_mode():
        expected = module(**found._tensors(batch, inputs)).logits
        given = layer(torch.from_numpy(features).to(layer.weight.dtype))
    fits = given.shape == expected.shape and torch.allclose(given, expected.to(given.dtype), 1e-4, 1e-5)
    return found if fits else None


def eos_cut(cut: Cut) -> EosCut:
    """Return a cut that takes rows without ``<eos>``, and rows with different numbers of them."""
    return EosCut(**{name: getattr(cut, name) for name in cut.__dataclass_fields__})


def _single(batch: Any) -> list[dict[str, np.ndarray]]:
    """Each row by itself, without its padding: what the library takes where no padding token is named."""
    mask = np.asarray(batch[MASK]) if MASK in batch else np.ones(np.shape(batch[IDS]), np.int64)
    return [
        {name: np.asarray(part)[row : row + 1][:, kept if kept.any() else slice(0, 1)] for name, part in batch.items()}
        for row, kept in enumerate(mask.astype(bool))
    ]
