"""Train from the command line: `python -m components.training pretrain|sft --recipe R --corpus DIR [--model DIR]`."""

from __future__ import annotations

import argparse
import sys

from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.settings import load_section
from components.training import stage
from components.training.settings import PretrainSettings, SftSettings


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.training", description=__doc__)
    uses = parser.add_subparsers(dest="use", required=True)
    pretrain = uses.add_parser("pretrain", help="continue pretraining on the corpus")
    sft = uses.add_parser("sft", help="fine-tune on conversations")
    for use in (pretrain, sft):
        use.add_argument("--recipe", required=True, help="recipe file with the sections platform and pretrain or sft")
        use.add_argument("--corpus", required=True, help="artifact of the corpus: folder or s3:// prefix")
    sft.add_argument("--model", required=True, help="artifact of the pretrained model: folder or s3:// prefix")
    arguments = parser.parse_args(argv)
    try:
        manifest = _run(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(manifest.uri)


def _run(arguments: argparse.Namespace) -> Manifest:
    platform = load_platform(arguments.recipe)
    corpus = Manifest.load(arguments.corpus)
    if arguments.use == "pretrain":
        settings = load_section(arguments.recipe, "pretrain", PretrainSettings)
        return stage.run_pretrain(settings, platform, corpus=corpus)
    settings = load_section(arguments.recipe, "sft", SftSettings)
    return stage.run_sft(settings, platform, corpus=corpus, model=Manifest.load(arguments.model))


if __name__ == "__main__":
    main()
