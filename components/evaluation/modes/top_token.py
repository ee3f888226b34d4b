"""Top-token: the model's most probable next token is its answer (the paper's "top token selection")."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.engine.interface import Engine, NextToken
from components.evaluation.items import Item
from components.evaluation.modes.reply import Reply
from components.evaluation.parse import parse_choice


def answer(items: Sequence[Item], engine: Engine, shared: int = 0) -> list[Reply]:
    """One reply per item, by one forward pass over all; `shared` as in `Engine.next_tokens`.

    The token is the argmax over the whole vocabulary, so a model that is about to say something else than an
    option gets no credit. The choice among the options' tokens alone, which is more lenient, stands beside
    it.
    """
    choices = [list(item.answers.choices.values()) for item in items]
    following = engine.next_tokens([item.tokens for item in items], choices, shared)
    return [_reply(item, token, engine) for item, token in zip(items, following, strict=True)]


def _reply(item: Item, token: NextToken, engine: Engine) -> Reply:
    label_of = {choice: label for label, choice in item.answers.choices.items()}
    text = engine.decode([*item.answers.opening, token.top])
    logprobs = dict(zip(item.answers.choices, token.choice_logprobs, strict=True))
    # A label has other spellings than the one expected, such as " B" or "Yes"; those are read from the text.
    prediction = label_of.get(token.top) or parse_choice(text, item.question.options)
    return Reply(
        texts=(text,),
        votes=(prediction,),
        prediction=prediction,
        restricted_prediction=max(logprobs, key=lambda label: logprobs[label]),
        choice_logprobs=logprobs,
    )
