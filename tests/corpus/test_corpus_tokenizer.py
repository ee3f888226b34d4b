"""The tokenizer: trained here or taken, saved, and used."""

import json

import awkward
import gigatoken
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from components.corpus import tokenizer
from components.corpus.encoder import Encoder, agrees
from components.corpus.vocabulary import ADDED_TOKENS, BASE_TOKENS, SMALLEST_VOCABULARY
from components.platform import chat
from components.platform.errors import InputError
from components.platform.model_folder import load_tokenizer

TEXTS = [
    "The patient had a fever of 39.5 degrees. " * 30,
    "β2-agonists, naïve 患者 \n\n# Methods\n",
    "p < 0.05 and p > 0.1 " * 9,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "tokenizer"
    tokenizer.save_trained(tokenizer.trained(TEXTS, 330), folder)
    return folder


def test_vocabulary(folder):
    loaded = load_tokenizer(folder)
    assert loaded.get_vocab_size() == 330
    assert [loaded.token_to_id(token) for token in BASE_TOKENS] == [0, 1, 2, 3]
    assert [loaded.token_to_id(token) for token in ADDED_TOKENS] == list(range(316, 330))
    special = {token.content for token in loaded.get_added_tokens_decoder().values() if token.special}
    assert special == {*BASE_TOKENS, *chat.SPECIAL_TOKENS}


def test_training_is_deterministic(folder, tmp_path):
    tokenizer.save_trained(tokenizer.trained(iter(TEXTS), 330), tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_structure_tokens_teach_the_tokenizer_no_words():
    trained = tokenizer.trained(["[bib_ref] a [/bib_ref] " * 500], SMALLEST_VOCABULARY + 20)
    assert not any("bib" in token for token in trained.get_vocab() if token not in ADDED_TOKENS)


@given(text=st.text())
def test_every_text_comes_back(text):
    loaded = tokenizer.trained(TEXTS, 330)
    encoding = loaded.encode(text, add_special_tokens=False)
    if not any(token in text for token in (*ADDED_TOKENS, *BASE_TOKENS)):
        assert loaded.decode(encoding.ids, skip_special_tokens=False) == text
        assert 0 not in encoding.ids


def test_numbers_are_split_into_digits(folder):
    assert load_tokenizer(folder).encode("395", add_special_tokens=False).tokens == ["3", "9", "5"]


def test_marks_never_stick_to_words():
    """However often "(D" was read: the answers (A) to (D) must differ in a single token."""
    trained = tokenizer.trained(["vitamin D (D) and (D3) " * 500], SMALLEST_VOCABULARY + 50)
    assert trained.encode("(D", add_special_tokens=False).tokens == ["(", "D"]


@pytest.mark.parametrize("fast", [True, False])
@given(texts=st.lists(st.sampled_from([*TEXTS, "", "[fig] Figure 1 [/fig]"]), max_size=7), cut=st.integers(0, 7))
def test_ids_do_not_depend_on_batches(folder, fast, texts, cut):
    encoder = Encoder(folder, fast)
    whole, lengths = encoder.encode(texts)
    parts = [encoder.encode(texts[:cut]), encoder.encode(texts[cut:])]
    assert np.concatenate([flat for flat, _ in parts]).tolist() == whole.tolist()
    assert np.concatenate([sizes for _, sizes in parts]).tolist() == lengths.tolist()
    assert whole.dtype == np.uint16


@given(texts=st.lists(st.text(), max_size=5))
def test_gigatoken_gives_the_same_ids(folder, texts):
    assert agrees(folder, texts)


def test_what_gigatoken_does_not_know_is_left_to_tokenizers(folder, tmp_path):
    layout = json.loads((folder / "tokenizer.json").read_text())
    layout["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a|b"
    (tmp_path / "tokenizer.json").write_text(json.dumps(layout))
    (tmp_path / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    assert not agrees(tmp_path, TEXTS)


def test_a_fast_tokenizer_that_differs_is_not_used(folder, monkeypatch):
    monkeypatch.setattr(gigatoken.Tokenizer, "encode_batch", lambda *_: awkward.Array([[1, 2], [3]]))
    assert not agrees(folder, ["a", "b"])


@pytest.mark.parametrize("fast", [True, False])
def test_end_of_document_and_no_bos(folder, fast):
    flat, lengths = Encoder(folder, fast).encode(["a", ""])
    assert flat.tolist() == [Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("a"), 2, 2]
    assert lengths.tolist() == [2, 1]


def test_transformers_loads_it(folder):
    transformers = pytest.importorskip("transformers")
    loaded = transformers.AutoTokenizer.from_pretrained(str(folder))
    assert (loaded.bos_token, loaded.eos_token, loaded.unk_token, loaded.pad_token) == ("<s>", "</s>", "<unk>", "<pad>")
    assert len(loaded) == 330
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    text = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == chat.render(messages, add_generation_prompt=True)
    assert loaded(text)["input_ids"].count(loaded.convert_tokens_to_ids("<|im_start|>")) == 3
    for sample in [*TEXTS, "[fig] Figure 1 [/fig]"]:
        assert loaded(sample)["input_ids"] == load_tokenizer(folder).encode(sample, add_special_tokens=False).ids
        assert loaded.decode(loaded(sample)["input_ids"]) == sample


@pytest.fixture
def foreign(tmp_path):
    """A tokenizer as another project would save it: it adds a BOS, pads, and ends texts with its own token."""
    from tokenizers import models, pre_tokenizers, processors

    vocab = {"<|begin|>": 0, "<|end|>": 1, "[fig]": 2} | {c: i + 3 for i, c in enumerate("Ġabcdefghijklmnopqrstuvwxyz")}
    made = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|begin|>", "<|end|>"])
    made.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    made.enable_padding(pad_id=1, pad_token="<|end|>")
    made.enable_truncation(4)
    folder = tmp_path / "foreign"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": {"content": "<|end|>"}, "model_max_length": 4}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def taken(foreign, ours):
    tokenizer.save_taken(foreign, ours)
    return Encoder(ours, fast=False)


def test_a_taken_tokenizer_keeps_its_ids(foreign, tmp_path):
    encoder = taken(foreign, tmp_path / "ours")
    before, ours = load_tokenizer(foreign), load_tokenizer(tmp_path / "ours")
    assert before.get_vocab().items() <= ours.get_vocab().items()
    assert set(ADDED_TOKENS) <= set(ours.get_vocab())
    flat, lengths = encoder.encode(["abc [fig] abc", "a"])
    assert lengths.tolist() == [10, 2]  # not cut at 4, not padded, no BOS
    assert flat.tolist() == [4, 5, 6, 3, 2, 3, 4, 5, 6, 1, 4, 1]
    config = json.loads((tmp_path / "ours" / "tokenizer_config.json").read_text())
    assert config["chat_template"] == chat.CHAT_TEMPLATE
    assert config["model_max_length"] == 4
    assert ours.token_to_id(config["pad_token"]) is not None, "fine-tuning pads"
    assert {"<|begin|>", "<|end|>", "[bib_ref]"} <= set(tokenizer.reserved(before))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, "expected a fast tokenizer"),
        ("tokenizer.json", "{}", "not a tokenizer"),
        ("tokenizer_config.json", None, "expected the configuration"),
        ("tokenizer_config.json", "{", "not JSON"),
        ("tokenizer_config.json", "{}", "no eos_token"),
        ("tokenizer_config.json", '{"eos_token": "</none>"}', "'</none>'"),
    ],
)
def test_unusable_tokenizers(foreign, tmp_path, name, content, message):
    if content is None:
        (foreign / name).unlink()
    else:
        (foreign / name).write_text(content)
    with pytest.raises(InputError, match=message):
        taken(foreign, tmp_path / "ours")
