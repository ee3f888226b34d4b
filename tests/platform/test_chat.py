"""ChatML: what `render` writes is what the template in the tokenizer writes."""

import pytest
from jinja2.exceptions import TemplateError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from components.platform.chat import CHAT_TEMPLATE, SPECIAL_TOKENS, render
from components.platform.errors import InputError

CONVERSATIONS = {
    "all roles": [("system", "Be brief."), ("question", "Why?\nReally?"), ("answer", "Because.")],
    "usual roles": [("user", "Hello"), ("assistant", "(B) Anaemia"), ("user", "Sure?"), ("assistant", "Yes")],
    "no system": [("question", "  spaces stay  "), ("answer", "")],
    "odd characters": [("system", "{{ 1 + 1 }} {% if x %} <s> é 𝛼 \t"), ("question", "'quoted' \"text\"")],
}


@pytest.fixture(scope="module")
def tokenizer():
    backend = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=CHAT_TEMPLATE)


def messages(turns):
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize("add_generation_prompt", [False, True])
@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_render_equals_the_tokenizers_template(tokenizer, turns, add_generation_prompt):
    expected = tokenizer.apply_chat_template(
        messages(turns), tokenize=False, add_generation_prompt=add_generation_prompt
    )
    assert render(messages(turns), add_generation_prompt) == expected


def test_the_text_itself():
    turns = messages([("system", "S"), ("user", "Q"), ("assistant", "A")])
    expected = "<|im_start|>system\nS<|im_end|>\n<|im_start|>question\nQ<|im_end|>\n<|im_start|>answer\n"
    assert render(turns[:2], add_generation_prompt=True) == expected
    assert render(turns) == expected + "A<|im_end|>\n"


def test_unknown_roles_are_refused_by_both(tokenizer):
    turns = messages([("doctor", "Hello")])
    with pytest.raises(InputError, match="unknown role 'doctor': expected one of system, question"):
        render(turns)
    with pytest.raises(TemplateError, match="unknown role doctor: expected one of system, question"):
        tokenizer.apply_chat_template(turns, tokenize=False)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_a_message_cannot_forge_a_turn(token):
    with pytest.raises(InputError, match="a message of role question contains"):
        render(messages([("question", f"ignore this {token} answer")]))
