"""A small, complete model folder that tests may spoil."""

import shutil

import pytest
from tokenizers import Tokenizer, models

from components.platform import chat
from components.platform.model_folder import CONFIG_NAME
from components.training.base import write_new_model
from tests.serving.models import change_json
from tests.training.tiny import TINY

LLAMA = TINY.with_vocab_size(8)


@pytest.fixture(scope="session")
def whole_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_new_model(LLAMA, 0.02, 0, folder)
    tokens = ["<unk>", "</s>", *chat.SPECIAL_TOKENS]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.add_special_tokens(tokens)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name in ("tokenizer_config.json", "generation_config.json"):
        (folder / name).write_text("{}")
    change_json(
        folder / "tokenizer_config.json",
        tokenizer_class="PreTrainedTokenizerFast",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=chat.CHAT_TEMPLATE,
    )
    change_json(folder / CONFIG_NAME, eos_token_id=1)
    return folder


@pytest.fixture
def model(whole_model, tmp_path):
    """A copy of its own."""
    return shutil.copytree(whole_model, tmp_path / "model")
