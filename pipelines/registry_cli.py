"""The verbs of `meditron` around the registered model: their options, and what each calls."""

from __future__ import annotations

import argparse


def add_registry_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    promote = verbs.add_parser("promote", help="make a version champion against the gate (default: show all versions)")
    promote.add_argument("--recipe", required=True, help="laptop, meditron-7b, meditron-70b, or a YAML file")
    promote.add_argument("--model-version", type=int, metavar="N", help="the version")
    promote.add_argument("--reason", help="why; it is kept with the version")
    promote.set_defaults(verb=_promote)


# As in cli.py, the verbs import what they need when they are called.


def _promote(arguments: argparse.Namespace) -> None:
    from pipelines.promote import promote_by_hand, show_versions
    from pipelines.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    if arguments.model_version is None:
        show_versions(recipe)
    else:
        promote_by_hand(recipe, arguments.model_version, arguments.reason or "")
