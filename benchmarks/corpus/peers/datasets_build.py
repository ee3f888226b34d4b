"""The corpus build with Hugging Face datasets, rensa and tokenizers: read, filter, MinHash, Megatron token files.

No language identification. Runs in the environment of the peers, with one process.
"""

import argparse
import struct
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from rensa import RMinHashDeduplicator
from tokenizers import Tokenizer

BANDS, ROWS_PER_BAND = 14, 8
SHINGLE_WORDS = 5
SIMILARITY = 0.72  # the Jaccard index at which half of such pairs are found
MIN_CHARACTERS = 100
END_OF_DOCUMENT = "</s>"
UINT16 = 8  # Megatron's code


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", required=True, type=Path, help="folder of JSONL files")
    parser.add_argument("--pattern", required=True, help="which of them, as a glob")
    parser.add_argument("--tokenizer", required=True, type=Path, help="folder with tokenizer.json")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    files = sorted(str(path) for path in arguments.texts.glob(arguments.pattern))
    documents = datasets.load_dataset("json", data_files=files, split="train", cache_dir=str(arguments.out / "cache"))
    documents = documents.select_columns("text")
    documents = documents.filter(lambda rows: [len(text) >= MIN_CHARACTERS for text in rows["text"]], batched=True)
    documents = documents.filter(FirstOfItsKind(), batched=True, new_fingerprint="deduplicated")
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_DOCUMENT)

    def encoded(rows: dict[str, Any]) -> dict[str, Any]:
        encodings = tokenizer.encode_batch_fast(rows["text"], add_special_tokens=False)
        return {"ids": [[*encoding.ids, end] for encoding in encodings]}

    features = datasets.Features({"ids": datasets.List(datasets.Value("uint16"))})
    tokens = documents.map(
        encoded, batched=True, remove_columns=["text"], features=features, new_fingerprint="tokenized"
    )
    write(arguments.out / "tokens", tokens)


class FirstOfItsKind:
    """Which documents of a batch are near duplicates of no earlier one."""

    def __init__(self) -> None:
        self._kept = RMinHashDeduplicator(
            threshold=SIMILARITY, num_perm=BANDS * ROWS_PER_BAND, use_lsh=True, num_bands=BANDS
        )
        self._seen = 0

    def __call__(self, rows: dict[str, Any]) -> list[bool]:
        flags = self._kept.add_pairs((str(self._seen + i), shingled(text)) for i, text in enumerate(rows["text"]))
        self._seen += len(flags)
        return flags


def shingled(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1))]


def write(folder: Path, tokens: datasets.Dataset) -> None:
    """A Megatron token file of the column `ids`."""
    folder.mkdir(parents=True)
    lengths = []
    with (folder / "corpus.bin").open("wb") as out:
        for batch in tokens.with_format("numpy").iter(batch_size=1000):
            lengths += [len(ids) for ids in batch["ids"]]
            out.write(np.concatenate(list(batch["ids"])).astype(np.uint16).tobytes())
    sizes = np.array(lengths, dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(sizes[:-1], dtype=np.int64) * 2]).astype(np.int64)
    with (folder / "corpus.idx").open("wb") as out:
        out.write(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, UINT16, len(sizes), len(sizes) + 1))
        out.write(sizes.tobytes() + starts.tobytes() + np.arange(len(sizes) + 1, dtype=np.int64).tobytes())


if __name__ == "__main__":
    main()
