"""Quantize from the command line: `python -m components.quantization --recipe R --model DIR --corpus DIR`."""

from __future__ import annotations

import argparse
import sys

from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.settings import load_section
from components.quantization import stage
from components.quantization.settings import QuantizationSettings


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.quantization", description=__doc__)
    parser.add_argument("--recipe", required=True, help="recipe file with the sections platform and quantization")
    parser.add_argument("--model", required=True, help="artifact of the fine-tuned model: folder or s3:// prefix")
    parser.add_argument("--corpus", required=True, help="artifact of the corpus: folder or s3:// prefix")
    arguments = parser.parse_args(argv)
    try:
        manifest = stage.run(
            load_section(arguments.recipe, "quantization", QuantizationSettings),
            load_platform(arguments.recipe),
            model=Manifest.load(arguments.model),
            corpus=Manifest.load(arguments.corpus),
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(manifest.uri)


if __name__ == "__main__":
    main()
