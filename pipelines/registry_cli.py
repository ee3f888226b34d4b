"""The verbs of `meditron` around the registered model: their options, and what each calls."""

from __future__ import annotations

import argparse

from components.platform.errors import UserError
from pipelines.cluster_cli import add_tracking_argument


def add_registry_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    promote = verbs.add_parser("promote", help="make a version champion against the gate (default: show all versions)")
    promote.add_argument("--recipe", required=True, help="laptop, meditron-7b, meditron-70b, or a YAML file")
    promote.add_argument("--model-version", type=int, metavar="N", help="the version")
    promote.add_argument("--reason", help="why; it is kept with the version")
    promote.set_defaults(verb=_promote)

    lineage = verbs.add_parser("lineage", help="what a version was made from, back to every source file")
    lineage.add_argument("--model", required=True, help="NAME@ALIAS or NAME/VERSION, such as meditron-7b@champion")
    where = lineage.add_mutually_exclusive_group()
    where.add_argument("--recipe", help="laptop, meditron-7b, meditron-70b, or a YAML file that names MLflow")
    add_tracking_argument(where)
    lineage.add_argument("--files", action="store_true", help="list every file with its size and digest")
    lineage.add_argument("--verify", action="store_true", help="compare with what is there now; fails on a difference")
    lineage.add_argument("--data", help="root of the source files to verify (default: as the run had it)")
    lineage.add_argument("--json", action="store_true", help="for programs")
    lineage.set_defaults(verb=_lineage)


# As in cli.py, the verbs import what they need when they are called.


def _lineage(arguments: argparse.Namespace) -> None:
    from components.platform.tracking.tracker import tracking_uri
    from pipelines.lineage import show_lineage
    from pipelines.recipe import load_recipe

    if not (arguments.recipe or arguments.tracking_uri):
        raise UserError("give --recipe or --tracking-uri, or set MLFLOW_TRACKING_URI: where is MLflow?")
    uri = tracking_uri(load_recipe(arguments.recipe).platform) if arguments.recipe else arguments.tracking_uri
    show_lineage(uri, arguments.model, arguments.files, arguments.verify, arguments.data, arguments.json)


def _promote(arguments: argparse.Namespace) -> None:
    from pipelines.promote import promote_by_hand, show_versions
    from pipelines.recipe import load_recipe

    recipe = load_recipe(arguments.recipe)
    if arguments.model_version is None:
        if arguments.reason:
            raise UserError("--reason without --model-version: which version is to be champion?")
        show_versions(recipe)
    else:
        promote_by_hand(recipe, arguments.model_version, arguments.reason or "")
