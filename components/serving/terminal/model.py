"""An exported model and its tokenizer, loaded for a conversation, and its answers token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.platform.chat import END, Message
from components.platform.quiet import stderr_only_on_failure
from components.serving.folder import find_model, room_for_answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TextStreamer


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    `temperature` 0 always takes the likeliest token; else a token is drawn from the likeliest ones that together have
    the probability `top_p` (nucleus sampling, Holtzman 2020).
    """

    max_new_tokens: int
    temperature: float
    top_p: float


class ChatModel:
    """A Hugging Face model, plain or AWQ in compressed-tensors, that speaks ChatML."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._model = model
        self._end = tokenizer.convert_tokens_to_ids(END)

    @classmethod
    def load(cls, folder: Path) -> ChatModel:
        """Load from an artifact or from its `model/` folder.

        Raises:
            InputError: the folder is incomplete, or the tokenizer has no ChatML tokens or chat template.
        """
        path = find_model(folder).path
        # Imported when the folder has proved right: these take seconds.
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        with stderr_only_on_failure():
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype="auto", use_safetensors=True, trust_remote_code=False
            ).to(device)
        return cls(model.eval(), tokenizer)

    def answer(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        streamer: TextStreamer | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Continue a conversation with one answer.

        Args:
            messages: each has a role and a content.
            sampling: how tokens are drawn.
            streamer: gets the tokens as they come.
            stopped: asked after each token; when it says yes, the answer ends there.

        Raises:
            InputError: the conversation leaves no room for an answer in the model's context.
        """
        import torch

        prompt = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        length = prompt["input_ids"].shape[1]
        room = room_for_answer(length, self._model.config.max_position_embeddings)
        drawn = {}
        if sampling.temperature > 0:  # top_k 0: transformers would leave out all but 50 tokens
            drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with stderr_only_on_failure():  # the first answer unpacks quantized weights
            output = self._model.generate(
                **prompt,
                max_new_tokens=min(sampling.max_new_tokens, room),
                do_sample=sampling.temperature > 0,
                **drawn,
                eos_token_id=[self._end, self.tokenizer.eos_token_id],
                pad_token_id=self.tokenizer.pad_token_id,
                streamer=streamer,
                stopping_criteria=[lambda ids, _: torch.full((len(ids),), stopped(), device=ids.device)],
            )
        return self.tokenizer.decode(output[0, length:], skip_special_tokens=True).strip()
