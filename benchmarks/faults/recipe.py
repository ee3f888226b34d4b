"""The laptop recipe, made short: every stage, rank and format is there, each with little to do."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipelines.recipe import RECIPES

SAMPLE = RECIPES.parent / "sample"


def write(folder: Path) -> None:
    """Write `recipe.yaml`; what it makes lies in `runs` beside it."""
    recipe = yaml.safe_load((RECIPES / "laptop.yaml").read_text(encoding="utf-8"))
    recipe["cluster"]["corpus_tasks"] = 2
    recipe["corpus"]["tokenizer"]["train"]["vocab_size"] = 512
    recipe["pretrain"] |= {"train_iters": 24, "lr_warmup_iters": 1, "sequence_length": 64, "save_interval": 2}
    recipe["sft"] |= {"train_iters": 12, "sequence_length": 1000, "save_interval": 1}
    recipe["sft"]["data"]["benchmarks"][0]["max_items"] = 32
    recipe["quantization"] |= {"calibration_documents": 4, "validation_documents": 2}
    recipe["evaluation"] |= {"max_items": 8, "modes": ["top_token", "cot"]}
    recipe["base_evaluation"] |= {"max_items": 8}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
