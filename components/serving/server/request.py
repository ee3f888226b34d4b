"""A request in OpenAI's chat format: checked before it costs anything, then in the words of each server."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from components.platform.chat import render
from components.platform.errors import InputError
from components.platform.model_folder import load_tokenizer
from components.serving.folder import ModelFolder, room_for_answer

MODEL_NAME = "meditron"
"""What clients call the model, whatever its folder is called."""

# Say nothing about the answer; transformers' server would not know them.
_WITHOUT_EFFECT = {"metadata", "n", "service_tier", "store", "stream_options", "user"}


class _Text(BaseModel):
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    role: str
    content: str | list[_Text]

    @field_validator("content")
    @classmethod
    def _joined(cls, content: str | list[_Text]) -> str:
        return content if isinstance(content, str) else "\n".join(part.text for part in content)


class ChatRequest(BaseModel):
    """OpenAI's fields, and vLLM's `top_k` and `repetition_penalty`; others are in `model_extra`."""

    model_config = ConfigDict(extra="allow")

    model: Literal["meditron"] = MODEL_NAME
    messages: list[_Message] = Field(min_length=1)
    stream: bool = False
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: Literal[1] = 1
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    seed: int | None = None
    stop: str | list[str] | None = None

    def plain_messages(self) -> list[dict[str, str]]:
        """Each with a role and its text."""
        return [message.model_dump() for message in self.messages]


class RequestReader:
    """Reads requests for one model, whose tokenizer says whether a conversation leaves room for an answer."""

    def __init__(self, model: ModelFolder) -> None:
        self._model = model
        self._tokenizer = load_tokenizer(model.path)

    def read(self, body: bytes) -> ChatRequest:
        """A request with `max_tokens` set to what it asks for, or to what is left of the context if that is less.

        Raises:
            InputError: a field is missing or has an impossible value, a role is unknown, a message contains a ChatML
                token, or the conversation fills the context.
        """
        try:
            request = ChatRequest.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "request"
            raise InputError(f"{place}: {first['msg']}") from None
        text = render(request.plain_messages(), add_generation_prompt=True)
        wanted = request.max_completion_tokens or request.max_tokens
        if self._model.context is not None:
            length = len(self._tokenizer.encode(text, add_special_tokens=False).ids)
            room = room_for_answer(length, self._model.context)
            wanted = min(wanted or room, room)
        return request.model_copy(update={"max_tokens": wanted, "max_completion_tokens": None})


def for_vllm(request: ChatRequest, _: ModelFolder) -> dict[str, Any]:
    """As it came: vLLM knows all of OpenAI's fields and says itself what it can't do."""
    return request.model_dump(exclude_unset=True, exclude_none=True)


def for_transformers(request: ChatRequest, model: ModelFolder) -> dict[str, Any]:
    """transformers' server reads few of OpenAI's fields but takes a whole generation config.

    Left to itself it draws only where the model's own generation config says so, and never knows `top_k`.

    Raises:
        InputError: the request asks for something that this server can't do, such as tools.
    """
    unknown = [name for name, value in request.model_extra.items() if value and name not in _WITHOUT_EFFECT]
    if unknown:
        raise InputError(f"{', '.join(sorted(unknown))}: not possible with transformers' server, only with vLLM")
    generation = model.generation | {"do_sample": False, "repetition_penalty": request.repetition_penalty}
    if request.max_tokens is not None:
        generation["max_new_tokens"] = request.max_tokens
    if request.temperature > 0:
        drawn = {"temperature": request.temperature, "top_p": request.top_p, "top_k": max(request.top_k, 0)}
        generation |= {"do_sample": True} | drawn
    body = {
        "model": request.model,
        "messages": request.plain_messages(),
        "stream": request.stream,
        "generation_config": json.dumps(generation),
        "seed": request.seed,
        "stop": request.stop,
    }
    return {key: value for key, value in body.items() if value is not None}
