"""Evaluate from the command line: `python -m components.evaluation --recipe R --model DIR --label NAME`."""

from __future__ import annotations

import argparse
import sys

from components.evaluation import stage
from components.evaluation.settings import EvaluationSettings
from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.settings import load_section


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.evaluation", description=__doc__)
    parser.add_argument("--recipe", required=True, help="recipe file with the sections platform and evaluation")
    parser.add_argument("--model", required=True, help="artifact with the model: folder or s3:// prefix")
    parser.add_argument("--label", required=True, help="the model's name in the results")
    parser.add_argument("--baseline", help="artifact of an evaluation to compare with: folder or s3:// prefix")
    arguments = parser.parse_args(argv)
    try:
        manifest = stage.run(
            load_section(arguments.recipe, "evaluation", EvaluationSettings),
            load_platform(arguments.recipe),
            model=Manifest.load(arguments.model),
            label=arguments.label,
            baseline=Manifest.load(arguments.baseline) if arguments.baseline else None,
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(manifest.uri)


if __name__ == "__main__":
    main()
