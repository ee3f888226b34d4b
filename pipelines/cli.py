"""`meditron`: the verbs around the DAG."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from components.platform.errors import UserError

INTERRUPTED = 130  # the shell's code for a command ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Entry point; errors that are the user's to fix come as one message without a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["chat"]:  # chat reads its own options
            _chat(argv[1:])
        else:
            arguments = _parser().parse_args(argv)
            arguments.verb(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; run again to go on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meditron", description="From an open base model to a medical one.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    run = verbs.add_parser("run", help="run a recipe on this machine")
    _recipe_arguments(run)
    run.add_argument(
        "--data",
        default=os.environ.get("MEDITRON_DATA") or None,
        help="root of the source files (default: $MEDITRON_DATA, else what the recipe says)",
    )
    run.set_defaults(verb=_run)

    compile_ = verbs.add_parser("compile", help="compile a recipe to KFP pipeline YAML")
    _recipe_arguments(compile_)
    compile_.add_argument("-o", "--output", type=Path, required=True, help="the YAML file to write")
    compile_.set_defaults(verb=_compile)

    verbs.add_parser("chat", help="talk to a model that was made", add_help=False)
    return parser


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", required=True, help="laptop, meditron-7b, meditron-70b, or a YAML file")


# The verbs import what they need when they are called: `meditron chat` should not wait for kfp.


def _run(arguments: argparse.Namespace) -> None:
    from pipelines.preflight import check_sources
    from pipelines.recipe import load_recipe
    from pipelines.running import run_recipe
    from pipelines.summary import print_summary

    recipe = load_recipe(arguments.recipe, arguments.data)
    check_sources(recipe)
    print_summary(run_recipe(recipe), recipe.platform)


def _compile(arguments: argparse.Namespace) -> None:
    from pipelines.compiling import compile_recipe
    from pipelines.recipe import load_recipe

    compile_recipe(load_recipe(arguments.recipe), arguments.output)
    print(f"wrote {arguments.output}")


def _chat(argv: list[str]) -> None:
    from components.chat.__main__ import main as chat

    chat(argv)
