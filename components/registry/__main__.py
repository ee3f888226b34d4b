"""Sum up a run from the command line: `python -m components.registry --recipe R --corpus DIR --pretrained DIR ...`.

This writes summary, report and model card; registering the model in MLflow is the pipeline's.
"""

from __future__ import annotations

import argparse
import sys

from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.settings import load_section
from components.registry import stage
from components.registry.settings import RegistrySettings

MODELS = ("pretrained", "tuned", "quantized")
ROLES = ("corpus", *MODELS, *(f"{model}_evaluation" for model in MODELS))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.registry", description=__doc__)
    parser.add_argument("--recipe", required=True, help="recipe file with the sections platform and registry")
    for role in ROLES:
        parser.add_argument(f"--{role.replace('_', '-')}", required=True, help="its artifact: folder or s3:// prefix")
    arguments = parser.parse_args(argv)
    try:
        manifest = stage.run(
            load_section(arguments.recipe, "registry", RegistrySettings),
            load_platform(arguments.recipe),
            **{role: Manifest.load(getattr(arguments, role)) for role in ROLES},
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(manifest.uri)


if __name__ == "__main__":
    main()
