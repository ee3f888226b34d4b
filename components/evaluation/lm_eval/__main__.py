"""Tasks for lm-eval: `python -m components.evaluation.lm_eval --recipe R --model DIR --output OUT`.

Then lm-eval, in this or any other environment, puts the same questions to the model; the command that is printed
does it.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from components.evaluation.lm_eval.tasks import TAG, check_output, write_tasks
from components.evaluation.settings import EvaluationSettings
from components.platform.context import load_platform
from components.platform.errors import UserError
from components.platform.settings import load_section


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.evaluation.lm_eval", description=__doc__)
    parser.add_argument("--recipe", required=True, help="recipe file with the sections platform and evaluation")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face model folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder for the tasks")
    arguments = parser.parse_args(argv)
    try:
        settings = load_section(arguments.recipe, "evaluation", EvaluationSettings)
        platform = load_platform(arguments.recipe)
        check_output(arguments.output)

        from components.evaluation.engine.huggingface import HuggingFaceEngine  # takes seconds to import

        engine = HuggingFaceEngine(arguments.model, settings.dtype)
        tasks = write_tasks(settings, platform, engine, arguments.output)
    except UserError as error:
        sys.exit(f"error: {error}")
    for task in tasks:
        left_out = f", {task.too_long} left out that don't fit the model" if task.too_long else ""
        print(f"{task.name}: {task.questions} questions{left_out}")
    print(command(arguments.model, arguments.output, settings.batch_size))


def command(model: Path, tasks: Path, batch_size: int) -> str:
    """How lm-eval is started; without `add_bos_token=False` it would put a token before the prompt that we don't."""
    return (
        f"lm_eval --model hf --model_args {shlex.quote(f'pretrained={model},add_bos_token=False')} "
        f"--include_path {shlex.quote(str(tasks))} --tasks {TAG} --batch_size {batch_size}"
    )


if __name__ == "__main__":
    main()
