"""Documents of the corpus as token sequences, drawn evenly from its groups and the same ones every time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.platform.errors import InputError, SettingsError
from components.platform.manifest import Manifest
from components.platform.predecessor import corpora_before
from components.quantization.settings import ModelSettings
from components.quantization.shares import even_shares

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def draw_documents(
    settings: ModelSettings, corpus: Manifest, split: str, wanted: int, tokenizer: PreTrainedTokenizerBase
) -> list[torch.Tensor]:
    """The first tokens of `wanted` documents of `split` ("train" or "validation").

    A corpus of news may have too few, and a model that was trained on it knows the corpora before: theirs count too.

    Returns:
        Token ids, each of shape [tokens] with 2 ≤ tokens ≤ `sequence_length`.

    Raises:
        SettingsError: a group of `settings.groups` is not in the corpus.
        InputError: the groups have too few documents, or one has no text.
    """
    corpora = [corpus, *corpora_before(corpus)]
    files = {group: _fetch(corpora, split, group) for group in settings.groups}
    available = {group: _count(paths) for group, paths in files.items()}
    key = "calibration_documents" if split == "train" else "validation_documents"
    shares = even_shares(available, wanted, key, f"{split} documents")
    samples = []
    for group, paths in files.items():
        texts = _draw_texts(paths, shares[group], random.Random(f"{settings.seed} {split} {group}"))
        samples += [_tokenize(text, tokenizer, settings.sequence_length) for text in texts]
    if any(len(sample) < 2 for sample in samples):
        raise InputError(f"{corpus.uri}: a {split} document has no text; expected at least two tokens in each")
    return samples


def _fetch(corpora: Sequence[Manifest], split: str, group: str) -> list[Path]:
    name, folder = f"documents/{split}/{group}.parquet", f"documents/{split}/"
    paths = [corpus.fetch(name) for corpus in corpora if corpus.has(name)]
    if not paths:
        entries = [entry.path for corpus in corpora for entry in corpus.files if entry.path.startswith(folder)]
        known = dict.fromkeys(Path(path).stem for path in entries)
        raise SettingsError(
            f"quantization.groups: {group} is not in the {split} split of {corpora[0].uri}; "
            f"it has {', '.join(known) or 'no documents'}"
        )
    return paths


def _count(paths: Sequence[Path]) -> int:
    import polars

    return polars.scan_parquet(paths).select(polars.len()).collect().item()


def _draw_texts(paths: Sequence[Path], count: int, generator: random.Random) -> list[str]:
    """`count` texts of some Parquet files, read without loading the others."""
    import polars

    rows = generator.sample(range(_count(paths)), count)
    table = polars.scan_parquet(paths).select("text").with_row_index("row")
    return table.filter(polars.col("row").is_in(rows)).sort("row").collect(engine="streaming")["text"].to_list()


def _tokenize(text: str, tokenizer: PreTrainedTokenizerBase, length: int) -> torch.Tensor:
    return tokenizer(text, truncation=True, max_length=length, return_tensors="pt")["input_ids"][0]
