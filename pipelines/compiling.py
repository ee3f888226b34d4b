"""Compile a recipe's DAG to KFP IR YAML (with its Kubernetes platform spec)."""

from __future__ import annotations

from pathlib import Path

from kfp import compiler

from pipelines.meditron import meditron
from pipelines.recipe import Recipe


def compile_recipe(recipe: Recipe, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(meditron(recipe), str(output))
