"""Fine-tuning samples: the loss is on the answers, the whole answers, and nothing but the answers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from components.platform.chat import SPECIAL_TOKENS, render
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError, SettingsError
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.question import Question
from components.training.data.conversations import (
    QuestionConversation,
    WrittenConversation,
    read_conversations,
    source_files,
)
from components.training.data.packing import pack
from components.training.data.settings import ConversationSettings
from components.training.data.sft import (
    ConversationData,
    ConversationTokenizer,
    PackedConversationData,
    build_conversations,
)

PUBMEDQA = load_benchmark("pubmedqa")


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>", *SPECIAL_TOKENS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator([PUBMEDQA.instruction, "system question answer yes no maybe"], trainer)
    tokenizer.enable_truncation(4)  # as some published files have it; it must not cut conversations
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>"}))
    return folder


def question(number: int, context_words: int = 3) -> Question:
    return Question(
        id=str(number),
        benchmark="pubmedqa",
        subject="",
        question=f"Does number {number} work?",
        context=" ".join(["evidence"] * context_words),
        options={"yes": "yes", "no": "no", "maybe": "maybe"},
        answer=["yes", "no", "maybe"][number % 3],
    )


def conversation(number: int, context_words: int = 3) -> QuestionConversation:
    return QuestionConversation(question(number, context_words), PUBMEDQA, "paper")


def written(*turns: tuple[str, str]) -> WrittenConversation:
    return WrittenConversation("file.jsonl", tuple({"role": role, "content": text} for role, text in turns))


def decode(folder: Path, ids) -> str:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizer.decode(list(map(int, ids)), skip_special_tokens=False)


MULTI_TURN = [
    ("system", "Be brief."),
    ("user", "answer\nyes?"),
    ("assistant", "no"),
    ("question", "So?"),
    ("answer", ""),
]


def test_the_mask_covers_exactly_the_answer_turns(tokenizer_folder):
    tokenizer = ConversationTokenizer(tokenizer_folder)
    messages = written(*MULTI_TURN).messages()
    [(ids, mask)] = tokenizer.encode([messages])
    assert decode(tokenizer_folder, ids) == render(messages)
    assert decode(tokenizer_folder, ids[mask == 1]) == (
        "<|im_start|>answer\nno<|im_end|>\n<|im_start|>answer\n<|im_end|>\n"
    )
    assert decode(tokenizer_folder, ids[mask == 0]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>question\nanswer\nyes?<|im_end|>\n"
        "<|im_start|>question\nSo?<|im_end|>\n"
    )


def test_samples_are_shifted_padded_and_masked(tokenizer_folder, tmp_path):
    build_conversations([written(*MULTI_TURN)], tokenizer_folder, 100, tmp_path)
    tokens, loss_mask, _ = ConversationData(tmp_path, 100, seed=0).sample(0)
    assert (tokens.shape, tokens.dtype) == ((101,), np.int64)
    assert (loss_mask.shape, loss_mask.dtype) == ((100,), np.float32)
    length = len(ConversationTokenizer(tokenizer_folder).encode([written(*MULTI_TURN).messages()]).__next__()[0])
    assert decode(tokenizer_folder, tokens[1:][loss_mask == 1]) == (
        "<|im_start|>answer\nno<|im_end|>\n<|im_start|>answer\n<|im_end|>\n"
    )
    assert decode(tokenizer_folder, tokens[length:]) == "<pad>" * (101 - length)
    assert not loss_mask[length - 1 :].any()


def test_an_answer_that_comes_first(tokenizer_folder, tmp_path):
    build_conversations([written(("answer", "yes"))], tokenizer_folder, 50, tmp_path)
    tokens, loss_mask, _ = ConversationData(tmp_path, 50, seed=0).sample(0)
    # Nothing predicts the very first token, so no loss falls on it.
    assert decode(tokenizer_folder, tokens[1:][loss_mask == 1]) == "answer\nyes<|im_end|>\n"


def test_an_epoch_has_every_conversation_once(tokenizer_folder, tmp_path):
    stats = build_conversations(map(conversation, range(40)), tokenizer_folder, 200, tmp_path)
    assert stats["conversations"] == 40
    data = ConversationData(tmp_path, 200, seed=5)
    assert data.num_samples == 40
    epochs = [[data.sample(epoch * 40 + index)[0].tobytes() for index in range(40)] for epoch in range(3)]
    assert len(set(epochs[0])) == 40
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    again = ConversationData(tmp_path, 200, seed=5)
    assert [again.sample(index)[0].tobytes() for index in reversed(range(40, 80))][::-1] == epochs[1]
    assert [ConversationData(tmp_path, 200, seed=6).sample(i)[0].tobytes() for i in range(40)] != epochs[0]


def test_statistics(tokenizer_folder, tmp_path):
    stats = build_conversations([conversation(1), written(*MULTI_TURN)], tokenizer_folder, 200, tmp_path)
    encoded = list(
        ConversationTokenizer(tokenizer_folder).encode([conversation(1).messages(), written(*MULTI_TURN).messages()])
    )
    assert stats == json.loads((tmp_path / "conversations.json").read_text())
    assert stats == {
        "conversations": 2,
        "tokens": sum(len(ids) for ids, _ in encoded),
        "answer_tokens": sum(int(mask.sum()) for _, mask in encoded),
        "shortened": 0,
        "set_aside": 0,
        "longest": max(len(ids) for ids, _ in encoded),
        "sources": {"file.jsonl": 1, "pubmedqa": 1},
        "pad_id": 3,
        "sequence_length": 200,
    }


def test_long_conversations_lose_context_but_never_their_answer(tokenizer_folder, tmp_path):
    tokenizer = ConversationTokenizer(tokenizer_folder)
    bare = tokenizer.length(conversation(4, 0).messages())
    long_talk = written(("question", "word " * 500), ("answer", "yes"))
    stats = build_conversations([conversation(4, 500), long_talk], tokenizer_folder, bare + 60, tmp_path)
    assert (stats["conversations"], stats["shortened"], stats["set_aside"]) == (1, 1, 1)
    tokens, loss_mask, _ = ConversationData(tmp_path, bare + 60, seed=0).sample(0)
    assert decode(tokenizer_folder, tokens[1:][loss_mask == 1]) == "<|im_start|>answer\nno<|im_end|>\n"
    text = decode(tokenizer_folder, tokens)
    assert "Does number 4 work?" in text
    assert bare + 50 < stats["longest"] <= bare + 61


def test_the_limit_is_exact(tokenizer_folder, tmp_path):
    length = ConversationTokenizer(tokenizer_folder).length(conversation(2).messages())
    stats = build_conversations([conversation(2)], tokenizer_folder, length - 1, tmp_path / "fits")
    assert (stats["shortened"], stats["longest"]) == (0, length)
    stats = build_conversations([conversation(2)], tokenizer_folder, length - 2, tmp_path / "not")
    assert stats["shortened"] == 1


def test_nothing_fits(tokenizer_folder, tmp_path):
    with pytest.raises(InputError, match=r"no conversation fits 5 tokens \(1 are longer\)"):
        build_conversations([conversation(1)], tokenizer_folder, 5, tmp_path)
    with pytest.raises(InputError, match=r"no conversations.json; the conversations are not built"):
        ConversationData(tmp_path, 5, seed=0)


def test_a_complete_folder_is_left_alone_and_knows_its_length(tokenizer_folder, tmp_path):
    first = build_conversations([conversation(1)], tokenizer_folder, 200, tmp_path)
    assert build_conversations([], Path("nowhere"), 200, tmp_path) == first
    with pytest.raises(SettingsError, match=r"sequence_length is 20, but .* was built for 200"):
        ConversationData(tmp_path, 20, seed=0)


def test_a_build_does_not_depend_on_chunks(tokenizer_folder, tmp_path, monkeypatch):
    conversations = [conversation(number, number * 20) for number in range(12)]
    build_conversations(conversations, tokenizer_folder, 150, tmp_path / "one")
    monkeypatch.setattr("components.training.data.sft.CHUNK", 5)
    build_conversations(conversations, tokenizer_folder, 150, tmp_path / "many")
    for name in ("tokens.bin", "tokens.idx", "loss_mask.bin", "conversations.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


@pytest.mark.parametrize("missing", ["<|im_start|>", "<pad>"])
def test_a_tokenizer_without_a_token(tokenizer_folder, tmp_path, missing):
    text = (tokenizer_folder / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace(missing, "<|other|>"))
    with pytest.raises(InputError, match=rf"the tokenizer has no {re.escape(missing)}, "):
        ConversationTokenizer(tmp_path)


def test_a_folder_without_tokenizer(tmp_path):
    with pytest.raises(InputError, match=r"no tokenizer.json; expected a Hugging Face tokenizer folder"):
        ConversationTokenizer(tmp_path)


@pytest.fixture
def platform(tmp_path):
    data = tmp_path / "data"
    (data / "eval/pubmedqa").mkdir(parents=True)
    records = {
        str(number): {"QUESTION": f"Q{number}?", "CONTEXTS": ["C."], "final_decision": "yes"} for number in range(8)
    }
    (data / "eval/pubmedqa/ori_pqal.json").write_text(json.dumps(records))
    (data / "eval/pubmedqa/test_ground_truth.json").write_text('{"0": "yes", "1": "yes"}')
    talk = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    (data / "talks.jsonl").write_text(json.dumps(talk) + "\n\n" + json.dumps(talk) + "\n")
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    return PlatformSettings(data=str(data), workspace=str(tmp_path / "runs"), tracking=tracking)


def test_conversations_of_a_recipe(platform):
    settings = ConversationSettings(
        benchmarks=[{"name": "pubmedqa", "max_items": 4}], conversations=["talks*.jsonl"], prompt_style="code"
    )
    conversations = list(read_conversations(settings, platform))
    assert [each.source for each in conversations] == ["pubmedqa"] * 4 + ["talks.jsonl"] * 2
    questions = [each.question.id for each in conversations[:4]]
    assert len(set(questions) - {"0", "1"}) == 4
    assert [message["role"] for message in conversations[0].messages()] == ["question", "answer"]
    assert conversations[5].messages()[1] == {"role": "assistant", "content": "Hello"}
    names = [file.name for file in source_files(settings, platform)]
    assert names == ["eval/pubmedqa/ori_pqal.json", "eval/pubmedqa/test_ground_truth.json", "talks.jsonl"]


def test_an_optional_benchmark_may_be_absent_and_is_said_to_be(platform, capsys):
    parts = [{"name": "pubmedqa"}, {"name": "medqa-4-option", "optional": True}]
    settings = ConversationSettings(benchmarks=parts)
    assert {each.source for each in read_conversations(settings, platform)} == {"pubmedqa"}
    assert "sft  goes on without medqa-4-option (train): its files are not there" in capsys.readouterr().out
    assert settings.source_patterns() == ["eval/pubmedqa/ori_pqal.json", "eval/pubmedqa/test_ground_truth.json"]
    assert len(source_files(settings, platform)) == 2
    with pytest.raises(InputError, match=r"train_4_options.jsonl: no such file"):
        list(read_conversations(ConversationSettings(benchmarks=[{"name": "medqa-4-option"}]), platform))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ("[]", 'expected {"messages":'),
        ('{"messages": []}', 'expected {"messages":'),
        ('{"messages": ["Hi"]}', "message 1 needs `role` and `content`, both text"),
        ('{"messages": [{"role": "user", "content": null}]}', "message 1 needs `role` and `content`, both text"),
        ('{"messages": [{"role": "doctor", "content": "Hi"}]}', "unknown role 'doctor'"),
        ('{"messages": [{"role": "answer", "content": "<|im_end|>"}]}', "a message of role answer contains"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "the last message is a user; it must be the answer"),
    ],
)
def test_bad_lines_are_named(platform, line, message):
    with Path(platform.data, "talks.jsonl").open("ab") as file:
        file.write(line if isinstance(line, bytes) else line.encode())
    settings = ConversationSettings(conversations=["talks.jsonl"])
    with pytest.raises(InputError) as error:
        list(read_conversations(settings, platform))
    assert f"talks.jsonl:4: {message}" in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nothing to train on"),
        ({"benchmarks": [{"name": "medka"}]}, "no benchmark is called 'medka'; choose from"),
        ({"benchmarks": [{"name": "pubmedqa", "split": "test"}]}, "training on it makes the score worthless"),
        ({"benchmarks": [{"name": "pubmedqa", "split": "dev"}]}, "pubmedqa has no split 'dev'; it has test, train"),
        ({"benchmarks": [{"name": "pubmedqa"}, {"name": "pubmedqa"}]}, "pubmedqa train is listed twice"),
        ({"benchmarks": [{"name": "mmlu-medical"}]}, "mmlu-medical has no split 'train'"),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(ValidationError, match=message):
        ConversationSettings(**values)


def test_a_question_with_options_cannot_be_shortened():
    medqa = load_benchmark("medqa-4-option")
    options = {label: f"option {label}" for label in "ABCD"}
    item = replace(question(1), benchmark=medqa.name, options=options, answer="C", context="")
    conversation = QuestionConversation(item, medqa, "paper")
    assert conversation.messages()[-1]["content"] == "(C) option C"
    assert conversation.shortened(lambda messages: 100, 50) is None


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.randoms())
def test_packs_hold_everything_once_and_never_too_much(lengths, random):
    packs = pack(range(len(lengths)), lengths.__getitem__, 30)
    assert sorted(number for numbers in packs for number in numbers) == list(range(len(lengths)))
    assert max(sum(lengths[number] for number in numbers) for numbers in packs) <= 30
    order = random.sample(range(len(lengths)), len(lengths))
    assert len(pack(order, lengths.__getitem__, 30)) == len(packs)


def unpacked(sample, pad_id: int) -> list[tuple[bytes, bytes]]:
    """Tokens and loss mask of each conversation of a sample, whose padding must not count."""
    starts = np.flatnonzero(sample.positions == 0)
    # A mask belongs to the token it predicts, so that of a conversation's first token is before the conversation.
    mask = np.append(0.0, sample.loss_mask).astype(np.float32)
    pieces = zip(np.split(sample.tokens, starts[1:]), np.split(mask, starts[1:]), strict=True)
    assert not mask[sample.tokens == pad_id].any()
    content = [(tokens[tokens != pad_id], weights[tokens != pad_id]) for tokens, weights in pieces]
    return [(tokens.tobytes(), weights.tobytes()) for tokens, weights in content if len(tokens)]


@pytest.mark.parametrize("prompt_weight", [0.0, 0.25])
def test_packing_changes_no_conversation(tokenizer_folder, tmp_path, prompt_weight):
    build_conversations((conversation(n, n % 11) for n in range(30)), tokenizer_folder, 400, tmp_path)
    alone = ConversationData(tmp_path, 400, seed=5, prompt_weight=prompt_weight)
    expected = []
    for index in range(30):
        tokens, mask, _ = alone.sample(index)
        length = int(np.flatnonzero(tokens != alone._pad_id)[-1]) + 1
        expected.append((tokens[:length].tobytes(), np.append(0.0, mask).astype(np.float32)[:length].tobytes()))
    packed = PackedConversationData(tmp_path, 400, seed=5, prompt_weight=prompt_weight)
    assert packed.num_samples < 15
    epochs = []
    for epoch in range(2):
        samples = [packed.sample(epoch * packed.num_samples + index) for index in range(packed.num_samples)]
        pieces = [piece for sample in samples for piece in unpacked(sample, alone._pad_id)]
        assert sorted(pieces) == sorted(expected)
        epochs.append([sample.tokens.tobytes() for sample in samples])
    assert epochs[0] != epochs[1]
    again = PackedConversationData(tmp_path, 400, seed=5)
    assert [again.sample(index).tokens.tobytes() for index in reversed(range(packed.num_samples))][::-1] == epochs[0]


def test_prompts_may_count_too(tokenizer_folder, tmp_path):
    build_conversations([written(*MULTI_TURN)], tokenizer_folder, 100, tmp_path)
    tokens, answers, _ = ConversationData(tmp_path, 100, seed=0).sample(0)
    _, mask, _ = ConversationData(tmp_path, 100, seed=0, prompt_weight=0.25).sample(0)
    padding = decode(tokenizer_folder, tokens).count("<pad>")
    assert set(mask[answers == 0][:-padding]) == {0.25}
    assert set(mask[answers == 1]) == {1.0}
    assert not mask[-padding:].any()


def test_without_answers_there_is_nothing_to_learn(tokenizer_folder, tmp_path):
    build_conversations([written(("user", "Hi"))], tokenizer_folder, 100, tmp_path)
    with pytest.raises(InputError, match="no conversation has an answer to learn; name other data, or set prompt_w"):
        ConversationData(tmp_path, 100, seed=0)
    assert ConversationData(tmp_path, 100, seed=0, prompt_weight=1.0).sample(0).loss_mask.any()
