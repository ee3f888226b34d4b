"""`python -m components.corpus --recipe FILE`: the corpus stage by itself."""

from __future__ import annotations

import argparse
import sys

from components.corpus import stage
from components.corpus.settings import CorpusSettings
from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.settings import load_section


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.corpus", description="Build the GAP-Replay corpus.")
    parser.add_argument("--recipe", required=True, help="recipe with the sections `platform` and `corpus`")
    arguments = parser.parse_args(argv)
    try:
        settings = load_section(arguments.recipe, "corpus", CorpusSettings)
        manifest = stage.run(settings, load_platform(arguments.recipe))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(manifest.uri)


if __name__ == "__main__":
    main()
