"""`meditron chat --model DIR [--prompt TEXT]`: talk to an exported model in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.platform.advisory import ADVISORY
from components.serving.terminal.conversation import ask, converse
from components.serving.terminal.model import ChatModel, Sampling


def main(argv: Sequence[str] | None = None) -> None:
    """Chat as the command line says.

    Raises:
        InputError: the model or the prompt can't be used.
    """
    parser = argparse.ArgumentParser(prog="meditron chat", description="Talk to an exported model.")
    parser.add_argument("--model", type=Path, required=True, help="artifact of sft or awq, or its model/ folder")
    parser.add_argument("--prompt", help="one question; without it, a conversation")
    parser.add_argument("--max-new-tokens", type=_positive, default=256, help="longest answer (default 256)")
    parser.add_argument("--temperature", type=_temperature, default=0.0, help="0 (default): the likeliest answer")
    parser.add_argument("--top-p", type=_share, default=1.0, help="draw from the likeliest tokens of this probability")
    parser.add_argument("--seed", type=int, default=0, help="seed of the answers that are drawn (default 0)")
    arguments = parser.parse_args(argv)
    sampling = Sampling(arguments.max_new_tokens, arguments.temperature, arguments.top_p)
    model = ChatModel.load(arguments.model)
    print(ADVISORY, file=sys.stderr)
    _seed(arguments.seed)
    if arguments.prompt is None:
        converse(model, sampling)
    else:
        ask(model, [{"role": "question", "content": arguments.prompt}], sampling)


def _seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _temperature(text: str) -> float:
    if not (value := float(text)) >= 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _share(text: str) -> float:
    if not 0 < (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 1")
    return value
