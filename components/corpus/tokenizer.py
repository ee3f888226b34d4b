"""The tokenizer: trained on the corpus or taken from a Hugging Face folder, with Meditron's tokens added."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from components.corpus import markup
from components.corpus.vocabulary import ADDED_TOKENS, BASE_TOKENS, BOS, EOD, PAD, UNK
from components.platform import chat
from components.platform.errors import InputError
from components.platform.model_folder import load_tokenizer, read_object

FILES = ("tokenizer.json", "tokenizer_config.json")

# How text is cut before pairs are merged: GPT-4's pattern with one digit at a time, as Qwen2 publishes it, which
# gigatoken knows. It leaves a word together with a mark before it; merges that join the two are never learned
# (`trained`), so "(A" is two tokens whatever the letter, and answers to choose from differ in one.
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def trained(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer: no text is unknown to it, and digits stand alone, as in Llama 2.

    The same texts give the same tokenizer. A small corpus may give fewer than `vocab_size` tokens.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(ADDED_TOKENS),
        special_tokens=list(BASE_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_without_tokens(texts), trainer)
    pieces = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return with_added_tokens(tokenizer)


def with_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Add Meditron's structure tokens, and the chat tokens as special ones; those it has already keep their ids."""
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in markup.TOKENS])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in chat.SPECIAL_TOKENS])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def save_trained(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer made by `trained` as a Hugging Face folder."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNK,
        "bos_token": BOS,
        "eos_token": EOD,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "add_eos_token": False,
    }
    _save(tokenizer, config, folder)


def save_taken(source: Path, folder: Path) -> None:
    """Write the Hugging Face tokenizer in `source` to `folder`, with our tokens and chat template added.

    Raises:
        InputError: it is no fast tokenizer, or it names no end-of-sequence token.
    """
    config, tokenizer = _config(source), with_added_tokens(load_tokenizer(source))
    if not config.get("pad_token"):  # Llama 2 has none, but fine-tuning pads
        tokenizer.add_special_tokens([AddedToken(PAD, normalized=False)])
        config["pad_token"] = PAD
    _save(tokenizer, config, folder)


def end_of_document(folder: Path, loaded: Tokenizer) -> int:
    """Id of the token that ends each document: the end-of-sequence token of the tokenizer loaded from `folder`."""
    token = _config(folder)["eos_token"]
    token = token["content"] if isinstance(token, dict) else token
    found = loaded.token_to_id(token)
    if found is None:
        raise InputError(f"{folder}: eos_token {token!r} of tokenizer_config.json is not in tokenizer.json")
    return found


def reserved(tokenizer: Tokenizer | None) -> tuple[str, ...]:
    """Tokens that raw text must not contain: ours, and the special ones of a tokenizer (None: of a trained one)."""
    special = BASE_TOKENS
    if tokenizer is not None:
        special = tuple(added.content for added in tokenizer.get_added_tokens_decoder().values() if added.special)
    return tuple(sorted({*special, *ADDED_TOKENS}))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    config = read_object(path, "expected the configuration beside tokenizer.json")
    if not config.get("eos_token"):
        raise InputError(f"{path}: no eos_token: expected the token that is to end each document")
    return config


def _save(tokenizer: Tokenizer, config: dict[str, Any], folder: Path) -> None:
    """Write all files beside the folder, then put them in place at once."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tokenizer.save(str(temporary / "tokenizer.json"))
    config = config | {"chat_template": chat.CHAT_TEMPLATE}
    (temporary / "tokenizer_config.json").write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def _without_tokens(texts: Iterable[str]) -> Iterator[str]:
    """Training text without structure tokens, which must not teach the tokenizer words such as "bib"."""
    for text in texts:
        for token in markup.TOKENS:
            text = text.replace(token, " ")
        yield text
