"""Chat with an exported model: `python -m components.chat --model DIR [--prompt TEXT]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from components.chat.conversation import ask, converse
from components.chat.model import ChatModel, Sampling
from components.platform.advisory import ADVISORY
from components.platform.errors import UserError


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m components.chat", description="Chat with an exported model.")
    parser.add_argument("--model", type=Path, required=True, help="artifact of sft or awq, or its model/ folder")
    parser.add_argument("--prompt", help="one question; without it, a conversation")
    parser.add_argument("--max-new-tokens", type=_positive, default=256, help="longest answer (default 256)")
    parser.add_argument("--temperature", type=_temperature, default=0.0, help="0 (default): the likeliest answer")
    parser.add_argument("--seed", type=int, default=0, help="seed of the answers that are drawn (default 0)")
    arguments = parser.parse_args(argv)
    sampling = Sampling(arguments.max_new_tokens, arguments.temperature)
    try:
        model = ChatModel.load(arguments.model)
        print(ADVISORY, file=sys.stderr)
        _seed(arguments.seed)
        if arguments.prompt is None:
            converse(model, sampling)
        else:
            ask(model, [{"role": "question", "content": arguments.prompt}], sampling)
    except UserError as error:
        sys.exit(f"error: {error}")


def _seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _temperature(text: str) -> float:
    if (value := float(text)) < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


if __name__ == "__main__":
    main()
