"""`meditron`: the verbs around the DAG."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from components.platform.errors import DetachedError, UserError
from pipelines.cluster_cli import (
    add_cluster_verbs,
    add_continue_argument,
    add_images_argument,
    run_here,
    submission_of,
)
from pipelines.registry_cli import add_registry_verbs

INTERRUPTED = 130  # the shell's code for a command ended by Ctrl-C


def main(argv: list[str] | None = None) -> int:
    """Entry point; errors that are the user's to fix come as one message without a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["chat"]:  # these two read their own options
            _chat(argv[1:])
        elif argv[:1] == ["serve"]:
            _serve(argv[1:])
        else:
            arguments = _parser().parse_args(argv)
            arguments.verb(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except DetachedError as watching:
        print(f"\n{watching}", file=sys.stderr)
        return INTERRUPTED
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
    add_continue_argument(run)
    run.set_defaults(verb=_run)

    compile_ = verbs.add_parser("compile", help="compile a recipe to KFP pipeline YAML")
    _recipe_arguments(compile_)
    add_images_argument(compile_)
    add_continue_argument(compile_)
    compile_.add_argument("-o", "--output", type=Path, required=True, help="the YAML file to write")
    compile_.set_defaults(verb=_compile)

    verify = verbs.add_parser(
        "verify", help="compare a model split over processes with Hugging Face's, number by number"
    )
    verify.add_argument("--model", type=Path, required=True, help="Hugging Face model folder")
    verify.add_argument("--layout", type=_sizes, required=True, metavar="TP,PP,DP", help="such as 2,2,2: 8 processes")
    verify.add_argument("--tokens", type=int, default=128, help="length of the random samples (default: 128)")
    verify.add_argument(
        "--tolerance", type=float, default=1e-4, help="largest difference allowed, as a share (default: 1e-4)"
    )
    verify.set_defaults(verb=_verify)

    plan = verbs.add_parser("plan", help="what pretraining needs and takes: memory, bytes sent, time, energy")
    _recipe_arguments(plan)
    plan.add_argument("--gpus", type=int, help="number of GPUs (default: the recipe's)")
    plan.add_argument("--hardware", help="a100-40gb, a100-80gb, h100 or h200 (default: what the recipe's pods ask for)")
    plan.add_argument("--network-gbits", type=float, help="network of a node of 8 GPUs (default: an adapter per GPU)")
    plan.add_argument("--model-config", type=Path, help="config.json of the base model (default: found by its name)")
    plan.add_argument("--compiled", action="store_true", help="as if element-wise operations were fused")
    plan.add_argument("--search", action="store_true", help="rank all layouts of these GPUs")
    plan.add_argument("--pue", type=float, help="power usage effectiveness of the data centre")
    plan.add_argument("--co2", type=float, help="grams of CO₂ per kWh of electricity")
    plan.set_defaults(verb=_plan)

    add_cluster_verbs(verbs)
    add_registry_verbs(verbs)

    verbs.add_parser("chat", help="talk to a model that was made", add_help=False)
    verbs.add_parser("serve", help="serve it with OpenAI's API and a chat page", add_help=False)
    return parser


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", required=True, help="laptop, meditron-7b, meditron-70b, or a YAML file")


def _sizes(text: str) -> tuple[int, int, int]:
    """Tensor-, pipeline- and data-parallel size."""
    sizes = [int(size) if size.isdecimal() else 0 for size in text.split(",")]
    if len(sizes) != 3 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not three sizes of at least 1, such as 2,2,2")
    return tuple(sizes)


# The verbs import what they need when they are called: `meditron chat` should not wait for kfp.


def _run(arguments: argparse.Namespace) -> None:
    from pipelines.submission import Submission

    run_here(Submission.of(arguments.recipe, arguments.data, continue_from=arguments.continue_from))


def _compile(arguments: argparse.Namespace) -> None:
    from pipelines.compiling import compile_submission

    compile_submission(submission_of(arguments, arguments.continue_from), arguments.output)
    print(f"wrote {arguments.output}")


def _verify(arguments: argparse.Namespace) -> None:
    from components.training.settings import LayoutSettings
    from components.training.verify import verify

    names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    layout = LayoutSettings(**dict(zip(names, arguments.layout, strict=True)))
    verify(arguments.model, layout, arguments.tokens, arguments.tolerance)


def _plan(arguments: argparse.Namespace) -> None:
    from pipelines.planning import plan

    plan(arguments)


def _chat(argv: list[str]) -> None:
    from components.serving.terminal.command import main as chat

    chat(argv)


def _serve(argv: list[str]) -> None:
    from components.serving.server.command import main as serve

    serve(argv)
