"""Samples for supervised fine-tuning: ChatML conversations, tokenized once, with the loss on the answers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from components.platform import storage
from components.platform.chat import ROLES, START, Message, render
from components.platform.errors import InputError, SettingsError
from components.platform.indexed import IndexedDataset, IndexedWriter, smallest_dtype
from components.training.data.conversations import Conversation
from components.training.data.packing import pack
from components.training.data.permutation import Permutation
from components.training.data.sample import Sample, positions_in_documents

# Files of a folder of conversations: token ids in Megatron's indexed format, one byte of loss mask per token,
# and the statistics, which are written last and so mark the folder as complete.
TOKENS, LOSS_MASK, STATS = "tokens", "loss_mask.bin", "conversations.json"

CHUNK = 1024  # conversations tokenized at once: enough to keep all threads of the tokenizer busy


class ConversationTokenizer:
    """Turns messages into token ids and finds the answers among them."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: the folder has no tokenizer, or one without ChatML tokens or a padding token.
        """
        if not (folder / "tokenizer.json").is_file():
            raise InputError(f"{folder}: no tokenizer.json; expected a Hugging Face tokenizer folder")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._start_id = self._id(folder, START, "the ChatML token that opens a turn")
        self.dtype = smallest_dtype(self._tokenizer.get_vocab_size())
        self.pad_id = self._id(folder, _pad_token(folder), "the padding token of tokenizer_config.json")

    def encode(self, conversations: Sequence[list[Message]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Token ids (int64 [n]) and loss mask (uint8 [n]) of each conversation.

        The mask is 1 on whole answer turns, from `<|im_start|>answer\\n` to `<|im_end|>\\n`.
        """
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(
            [render(messages) for messages in conversations], add_special_tokens=False
        )
        for messages, encoding in zip(conversations, encodings, strict=True):
            ids = np.array(encoding.ids, dtype=np.int64)
            yield ids, self._answers(ids, messages)

    def length(self, messages: list[Message]) -> int:
        """Tokens of a conversation."""
        return len(self._tokenizer.encode(render(messages), add_special_tokens=False).ids)

    def _answers(self, ids: np.ndarray, messages: list[Message]) -> np.ndarray:
        # A message can't contain the opening token (`render` refuses it), so turns and opening tokens pair
        # up.
        starts = np.flatnonzero(ids == self._start_id)
        is_answer = [ROLES[message["role"]] == "answer" for message in messages]
        return np.repeat(np.array(is_answer, dtype=np.uint8), np.diff(starts, append=len(ids)))

    def _id(self, folder: Path, token: str, meaning: str) -> int:
        token_id = self._tokenizer.token_to_id(token)
        if token_id is None:
            raise InputError(f"{folder}: the tokenizer has no {token}, {meaning}; use the corpus' own tokenizer")
        return token_id


def build_conversations(
    conversations: Iterable[Conversation], tokenizer_folder: Path, sequence_length: int, out: Path
) -> dict[str, Any]:
    """Tokenize conversations into the folder `out`; a folder that is complete already is left as it is.

    Conversations longer than a sample lose context where they have some, and else are set aside and counted.

    Returns:
        Statistics: `conversations`, `tokens`, `answer_tokens`, `shortened`, `set_aside`, `longest`,
            `sources`, and what a reader needs: `pad_id`, `sequence_length`.

    Raises:
        InputError: not one conversation fits, or the tokenizer lacks a token.
    """
    if (out / STATS).exists():
        return json.loads((out / STATS).read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = ConversationTokenizer(tokenizer_folder)
    counts: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    longest = 0
    temporary = out / f".{LOSS_MASK}.tmp"
    with IndexedWriter(out / TOKENS, tokenizer.dtype) as writer, temporary.open("wb") as masks:
        for source, ids, mask in _fitting(conversations, tokenizer, sequence_length + 1, counts):
            writer.add(ids)
            masks.write(mask.tobytes())
            counts.update(conversations=1, tokens=len(ids), answer_tokens=int(mask.sum()))
            sources[source] += 1
            longest = max(longest, len(ids))
        if not counts["conversations"]:
            raise InputError(
                f"no conversation fits {sequence_length} tokens ({counts['set_aside']} are longer); "
                "raise sequence_length or name other data"
            )
    os.replace(temporary, out / LOSS_MASK)
    names = ("conversations", "tokens", "answer_tokens", "shortened", "set_aside")
    stats = {name: counts[name] for name in names} | {
        "longest": longest,
        "sources": dict(sorted(sources.items())),
        "pad_id": tokenizer.pad_id,
        "sequence_length": sequence_length,
    }
    storage.write_atomically(out / STATS, json.dumps(stats, indent=1))
    return stats


def _fitting(
    conversations: Iterable[Conversation], tokenizer: ConversationTokenizer, limit: int, counts: Counter[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Source, ids and mask of every conversation that fits `limit` tokens or could be made to."""
    stream = iter(conversations)
    while chunk := list(islice(stream, CHUNK)):
        encoded = tokenizer.encode([conversation.messages() for conversation in chunk])
        for conversation, (ids, mask) in zip(chunk, encoded, strict=True):
            if len(ids) > limit:
                shorter = conversation.shortened(tokenizer.length, limit)
                counts["shortened" if shorter else "set_aside"] += 1
                if shorter is None:
                    continue
                [(ids, mask)] = tokenizer.encode([shorter.messages()])
            yield conversation.source, ids, mask


class ConversationData:
    """Conversations of a folder, one per sample, padded; endless, in an order of its own for every epoch."""

    def __init__(self, folder: Path, sequence_length: int, seed: int, prompt_weight: float = 0.0) -> None:
        """
        Args:
            folder: where conversations were built.
            sequence_length: tokens per sample that are predicted.
            seed: chooses the order.
            prompt_weight: weight in the loss of tokens that are not part of an answer, which weigh 1.

        Raises:
            InputError: the folder is not complete, or nothing in it counts.
            SettingsError: conversations were built for longer samples.
        """
        if not (folder / STATS).is_file():
            raise InputError(f"{folder}: no {STATS}; the conversations are not built, or not to the end")
        stats = json.loads((folder / STATS).read_text(encoding="utf-8"))
        if stats["longest"] > sequence_length + 1:
            raise SettingsError(
                f"sequence_length is {sequence_length}, but {folder} was built for {stats['sequence_length']}"
            )
        if not stats["answer_tokens"] and not prompt_weight:
            raise InputError(f"{folder}: no conversation has an answer to learn; name other data, or set prompt_weight")
        self.sequence_length = sequence_length
        self.seed = seed
        self.prompt_weight = prompt_weight
        self._pad_id = stats["pad_id"]
        self._conversations = IndexedDataset(folder / TOKENS)
        self._loss_mask = np.memmap(folder / LOSS_MASK, dtype=np.uint8, mode="r")
        self._starts = np.cumsum([0, *self._conversations.lengths])
        self.num_samples = len(self._conversations)

    def sample(self, index: int) -> Sample:
        """Sample `index` ≥ 0: depends on nothing but the data, the seed and the index.

        Returns:
            tokens: int64 [sequence_length + 1].
            loss_mask: float32 [sequence_length]; 1 where the token to predict belongs to an answer, `prompt_weight`
                where it doesn't, 0 on padding.
        """
        epoch, position = divmod(index, self.num_samples)
        sample, _ = self._sample_of([Permutation(self.num_samples, self.seed, "conversations", epoch)[position]])
        return sample

    def _sample_of(self, numbers: Sequence[int]) -> tuple[Sample, np.ndarray]:
        """Conversations end to end, and where each of them, and the padding behind them, begins."""
        starts = np.cumsum([0, *(self._conversations.lengths[number] for number in numbers)])
        tokens = np.full(self.sequence_length + 1, self._pad_id, dtype=np.int64)
        weights = np.zeros(self.sequence_length + 1, dtype=np.float32)
        for start, end, number in zip(starts, starts[1:], numbers, strict=False):
            tokens[start:end] = self._conversations[number]
            is_answer = self._loss_mask[self._starts[number] : self._starts[number + 1]]
            weights[start:end] = np.where(is_answer, 1.0, self.prompt_weight)
        # Nothing predicts a conversation's first token
        weights[starts[:-1]] = 0.0
        return Sample(tokens, weights[1:]), starts


class PackedConversationData(ConversationData):
    """As many conversations per sample as fit, which don't see each other; an epoch has each of them once."""

    def __init__(self, folder: Path, sequence_length: int, seed: int, prompt_weight: float = 0.0) -> None:
        super().__init__(folder, sequence_length, seed, prompt_weight)
        # Two, for a global batch may hold the end of one epoch and the beginning of the next.
        self._packs = lru_cache(maxsize=2)(self._pack)
        self.num_samples = len(self._packs(0))  # every epoch has as many

    def sample(self, index: int) -> Sample:
        """As of `ConversationData`, with positions that begin anew with each conversation and with the padding."""
        epoch, position = divmod(index, self.num_samples)
        number = Permutation(self.num_samples, self.seed, "packs", epoch)[position]
        sample, starts = self._sample_of(self._packs(epoch)[number])
        length = self.sequence_length
        positions = positions_in_documents(starts[starts < length], length)
        return sample._replace(positions=positions)

    def _pack(self, epoch: int) -> list[list[int]]:
        lengths = self._conversations.lengths.tolist()
        order = Permutation(len(lengths), self.seed, "conversations", epoch)
        numbers = (order[index] for index in range(len(lengths)))
        return pack(numbers, lengths.__getitem__, self.sequence_length + 1)


def _pad_token(folder: Path) -> str:
    """The padding token that the tokenizer's configuration names; `<pad>` where it names none."""
    path = folder / "tokenizer_config.json"
    token = json.loads(path.read_text(encoding="utf-8")).get("pad_token") if path.is_file() else None
    # Older tokenizers store added tokens as objects.
    return (token.get("content") if isinstance(token, dict) else token) or "<pad>"
