"""Compile a submission's DAG to KFP IR YAML (with its Kubernetes platform spec)."""

from __future__ import annotations

from pathlib import Path

from kfp import compiler

from pipelines.meditron import meditron
from pipelines.submission import Submission


def compile_submission(submission: Submission, output: Path) -> None:
    """Write the YAML: the same bytes for the same submission."""
    output.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(meditron(submission), str(output))
