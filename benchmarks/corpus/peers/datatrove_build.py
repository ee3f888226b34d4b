"""The corpus build with datatrove: read, Gopher quality filter, MinHash deduplication, Megatron token files.

Follows the four-stage deduplication that datatrove documents. Runs in the environment of the peers, with one worker.
"""

import argparse
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.filters import GopherQualityFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import MegatronDocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter

MINHASH = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
# Gopher's 0.8 drops nearly every paper (its numbers and citations count as words), and with them most of the work
MIN_ALPHABETIC_WORDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", required=True, type=Path, help="folder of JSONL files")
    parser.add_argument("--pattern", required=True, help="which of them, as a glob")
    parser.add_argument("--tokenizer", required=True, type=Path, help="folder with tokenizer.json")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    work = arguments.out / "work"
    filtered = str(work / "filtered")

    def run(name: str, pipeline: list[PipelineStep], tasks: int = 1) -> None:
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(arguments.out / "logs" / name)).run()

    run(
        "filter",
        [
            JsonlReader(str(arguments.texts), glob_pattern=arguments.pattern),
            GopherQualityFilter(max_non_alpha_words_ratio=MIN_ALPHABETIC_WORDS),
            JsonlWriter(filtered, compression=None),
        ],
    )
    run("signatures", [JsonlReader(filtered), MinhashDedupSignature(str(work / "signatures"), config=MINHASH)])
    buckets = MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=MINHASH)
    run("buckets", [buckets], tasks=MINHASH.num_buckets)
    run("clusters", [MinhashDedupCluster(str(work / "buckets"), str(work / "remove"), config=MINHASH)])
    run(
        "tokens",
        [
            JsonlReader(filtered),
            MinhashDedupFilter(str(work / "remove")),
            MegatronDocumentTokenizer(
                str(arguments.out / "tokens"),
                save_filename="corpus",
                tokenizer_name_or_path=str(arguments.tokenizer / "tokenizer.json"),
                eos_token="</s>",
            ),
        ],
    )


if __name__ == "__main__":
    main()
