"""ChatML with Meditron's roles: `<|im_start|>{role}\\n{message}<|im_end|>\\n`, system, question or answer.

The usual role names `user` and `assistant` are accepted too and mean question and answer, so a published
model answers to any OpenAI-style client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.platform.errors import InputError

START, END = "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (START, END)

ROLES = {
    "system": "system",
    "question": "question",
    "user": "question",
    "answer": "answer",
    "assistant": "answer",
}
ANSWER_HEADER = f"{START}answer\n"

Message = Mapping[str, str]

CHAT_TEMPLATE = """\
{%- set roles = {'system': 'system', 'question': 'question', 'user': 'question', \
'answer': 'answer', 'assistant': 'answer'} -%}
{%- for message in messages -%}
  {%- if message['role'] not in roles -%}
    {{- raise_exception('unknown role ' + message['role'] + ': expected one of ' + roles | join(', ')) -}}
  {%- endif -%}
  {{- '<|im_start|>' + roles[message['role']] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>answer\\n' -}}
{%- endif -%}
"""


def render(messages: Sequence[Message], add_generation_prompt: bool = False) -> str:
    """The text that `CHAT_TEMPLATE` makes of `messages`, without loading a template engine.

    Args:
        messages: each has `role` (a key of `ROLES`) and `content`.
        add_generation_prompt: end with the opening of an answer, for a model to continue.

    Raises:
        InputError: a role is unknown, or a message contains a ChatML token and so could forge a turn.
    """
    text = "".join(f"{START}{_role(message)}\n{_content(message)}{END}\n" for message in messages)
    return text + ANSWER_HEADER if add_generation_prompt else text


def _role(message: Message) -> str:
    if message["role"] not in ROLES:
        raise InputError(f"unknown role {message['role']!r}: expected one of {', '.join(ROLES)}")
    return ROLES[message["role"]]


def _content(message: Message) -> str:
    for token in SPECIAL_TOKENS:
        if token in message["content"]:
            raise InputError(f"a message of role {message['role']} contains {token}, which marks turns; remove it")
    return message["content"]
