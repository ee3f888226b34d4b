"""Going on from a pretrained model with a corpus of news."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from components.platform.errors import InputError, SettingsError
from components.platform.indexed import IndexedDataset, IndexedWriter
from components.platform.manifest import Manifest
from components.platform.predecessor import note_of
from components.training.data.pretraining import PretrainingData
from components.training.retraining import NEW, held_out, new_tokens, retraining_iterations, retraining_source
from components.training.settings import PretrainSettings
from components.training.stage import run_pretrain
from tests.training.test_training_stage import PRETRAIN, corpus, platform  # noqa: F401
from tests.training.tiny import make_tokenizer

RETRAINING = {"min_tokens": 65, "epochs": 2, "old_share": 0.25, "lr": 5e-3, "lr_warmup_fraction": 0.2}
SETTINGS = PretrainSettings(**PRETRAIN | {"retraining": RETRAINING, "min_lr": 1e-4})


def make_news(folder: Path, before: list[Manifest], **tokens: list[int]) -> Manifest:
    """A corpus of news: by group, the lengths of its documents."""
    shutil.copytree(before[-1].local() / "tokenizer", folder / "tokenizer")
    first = IndexedDataset(before[-1].local() / "tokens/train/papers")
    for group, lengths in tokens.items():
        with IndexedWriter(folder / "tokens/train" / group, first.dtype) as writer:
            for length in lengths:
                writer.add(np.resize(first[0], length))
    total = sum(map(sum, tokens.values()))
    stats = {
        "groups": {group: {"train": {"tokens": sum(lengths)}} for group, lengths in tokens.items()},
        "mixture": {group: sum(lengths) / total for group, lengths in tokens.items()} | {"abstracts": 0.0},
    }
    (folder / "stats.json").write_text(json.dumps(stats))
    return Manifest.of_folder("corpus", folder, made_by={"inputs": {}}, metadata=note_of(before))


def test_groups_too_small_for_a_sample_are_trained_on_together(tmp_path: Path, corpus: Manifest) -> None:  # noqa: F811
    news = make_news(tmp_path / "news", [corpus], guidelines=[40], papers=[30, 150], replay=[40])
    source = retraining_source(SETTINGS, news.local(), [corpus], tmp_path / "stream")
    assert IndexedDataset(tmp_path / "stream").num_tokens == 40 + 30 + 150 + 40
    assert new_tokens(news) == 220
    assert source.weights[NEW] == 0.75
    assert sum(source.weights.values()) == pytest.approx(1)


def test_nothing_new(tmp_path: Path, corpus: Manifest) -> None:  # noqa: F811
    news = make_news(tmp_path / "news", [corpus], papers=[1])
    (news.local() / "stats.json").write_text('{"mixture": {"papers": 0.0}}')
    with pytest.raises(InputError, match="nothing to train on"):
        retraining_source(SETTINGS, Path(news.uri), [corpus], tmp_path / "stream")


def test_old_text_has_its_share_of_the_samples_and_general_text_none(tmp_path: Path, corpus: Manifest) -> None:  # noqa: F811
    """Of two corpora before; what is replayed anyway comes with the news."""
    second = make_news(tmp_path / "second", [corpus], papers=[2000], replay=[900])
    news = make_news(tmp_path / "news", [second, corpus], papers=[700])
    source = retraining_source(SETTINGS, news.local(), [second, corpus], tmp_path / "stream")
    assert source.prefixes.keys() == {NEW, "before-1/papers", "before-2/guidelines", "before-2/papers"}
    data = PretrainingData(source.prefixes, source.weights, SETTINGS.sequence_length, SETTINGS.seed)
    new = len([index for index in range(400) if data._blend[index][0] == NEW])
    assert new == pytest.approx(300, abs=2)


def test_iterations_go_through_the_news_as_often_as_wanted(tmp_path: Path, corpus: Manifest) -> None:  # noqa: F811
    news = make_news(tmp_path / "news", [corpus], papers=[64 * 30 + 1])
    source = retraining_source(SETTINGS, news.local(), [corpus], tmp_path / "stream")
    assert retraining_iterations(SETTINGS, source) == 20  # 30 samples, twice, are three quarters of 20 batches of 4
    data = PretrainingData(source.prefixes, source.weights, SETTINGS.sequence_length, SETTINGS.seed)
    assert data.epochs(20 * 4)[NEW] == pytest.approx(2)


def test_all_runs_of_a_chain_are_validated_on_the_same_documents(tmp_path: Path, corpus: Manifest) -> None:  # noqa: F811
    second = make_news(tmp_path / "second", [corpus], papers=[700])
    assert held_out([second, corpus]) == corpus.local()


def test_the_learning_rate_warms_up_again() -> None:
    used = SETTINGS.retrained(20)
    assert (used.lr, used.min_lr, used.train_iters, used.warmup_iters(20)) == (5e-3, 1e-4, 20, 4)
    assert (
        SETTINGS.model_copy(update={"retraining": SETTINGS.retraining.model_copy(update={"lr": None})}).retrained(20).lr
        == SETTINGS.lr
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"min_tokens": 64}, "give at least 65"), ({"lr": 1e-5}, "min_lr 0.0001 is above retraining.lr 1e-05")],
)
def test_settings_that_make_no_sense(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainSettings(**PRETRAIN | {"retraining": RETRAINING | changes, "min_lr": 1e-4})


def test_a_recipe_that_does_not_say_how(tmp_path: Path, corpus: Manifest, platform) -> None:  # noqa: F811
    with pytest.raises(SettingsError, match=r"pretrain.retraining: missing"):
        run_pretrain(PretrainSettings(**PRETRAIN), platform, corpus, base=corpus)


@pytest.mark.slow
def test_retraining_goes_on_from_the_weights(tmp_path: Path, corpus: Manifest, platform) -> None:  # noqa: F811
    """It begins where the first run ended, ends elsewhere, and is validated on the same documents before any step."""
    first = run_pretrain(SETTINGS, platform, corpus)
    again = PretrainSettings(**PRETRAIN | {"min_lr": 1e-4})
    assert run_pretrain(again, platform, corpus) == first, "how others go on does not concern this run"
    news = make_news(tmp_path / "news", [corpus], papers=[64 * 12 + 1], guidelines=[30])
    second = run_pretrain(SETTINGS, platform, news, base=first)
    assert second.metadata["iterations"] == 8
    assert second.metadata["first_validation_loss"] == pytest.approx(first.metadata["final_validation_loss"], abs=1e-5)
    assert second.metadata["final_loss"] < second.metadata["first_loss"]
    assert second.made_by["inputs"] == {
        "corpus": news.digest,
        "base": first.digest,
        "before/1": corpus.digest,
    }
    weights = [load_file(model.local() / "model/model.safetensors") for model in (first, second)]
    assert all(weights[0][name].shape == weights[1][name].shape for name in weights[0])
    assert not (Path(second.uri) / ".news").exists()

    foreign = replace(news, uri=str(tmp_path / "foreign"))
    shutil.copytree(news.uri, foreign.uri)
    shutil.rmtree(tmp_path / "foreign/tokenizer")
    make_tokenizer(tmp_path / "foreign/tokenizer", vocab_size=300)
    foreign = Manifest.of_folder("corpus", tmp_path / "foreign", made_by={"inputs": {}}, metadata=news.metadata)
    with pytest.raises(InputError, match="build the corpus with the tokenizer of the model that is trained"):
        run_pretrain(SETTINGS, platform, foreign, base=first)
