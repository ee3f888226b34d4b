"""A corpus that only adds to earlier ones: which files are new, and what of them is news."""

import json
import shutil

import polars as pl
import pytest

from components.corpus import news, stage, tokenizer
from components.corpus.settings import CorpusSettings
from components.platform import predecessor
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.indexed import IndexedDataset
from components.platform.manifest import Manifest
from components.platform.model_folder import load_tokenizer
from components.platform.predecessor import Predecessor

WORDS = ["fever", "dose", "trial", "patient", "heart", "liver", "mouse", "drug", "cell", "gene", "risk", "pain", "age"]


def prose(seed, words=60):
    return " ".join(WORDS[(seed * 7 + i * i + i // 3) % len(WORDS)] for i in range(words)) + f" end {seed}."


def abstract(corpusid, seed):
    return {"corpusid": corpusid, "abstract": prose(seed)}


def paper(corpusid, seed):
    return {"corpusid": corpusid, "externalids": {}, "content": {"text": prose(seed, 200), "annotations": {}}}


SETTINGS = CorpusSettings.model_validate(
    {
        "sources": [
            {"name": "full", "group": "papers", "format": "s2orc", "paths": ["papers-*.jsonl"]},
            {
                "name": "short",
                "group": "abstracts",
                "format": "abstracts",
                "paths": ["abstracts-*.jsonl"],
                "validation_fraction": 0.3,
            },
            {"name": "chat", "group": "replay", "format": "redpajama", "paths": ["replay.jsonl"]},
        ],
        "tokenizer": {"train": {"vocab_size": 400}},
        "replay_share": 0.05,
        "min_characters": 20,
        "near_duplicates": None,  # the texts here are made of few words
    }
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the data, the workspace and the corpus of a first run."""
    home = tmp_path_factory.mktemp("first")
    rows = {
        "papers-a.jsonl": [paper(i, i) for i in range(1, 10)],
        "abstracts-a.jsonl": [abstract(i, i) for i in range(100, 130)],
        "replay.jsonl": [{"text": f"Q: {prose(i, 40)}"} for i in range(300, 330)],
    }
    (home / "data").mkdir()
    for name, content in rows.items():
        (home / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    there = PlatformSettings(data=str(home / "data"), workspace=str(home / "runs"), tracking=tracking)
    return home, stage.run(SETTINGS, there)


@pytest.fixture
def first(built, platform, tmp_path):
    """That corpus, while this test has data and workspace to itself."""
    home, corpus = built
    for name in ("data", "runs"):
        shutil.copytree(home / name, tmp_path / name, dirs_exist_ok=True)
    return corpus


def ids(corpus, *groups):
    folder = corpus.local() / "documents"
    found = [pl.read_parquet(path)["id"] for group in groups for path in sorted(folder.glob(f"*/{group}.parquet"))]
    return sorted(id for column in found for id in column)


def drops(corpus, source):
    rows = corpus.read_json("ledger.json")
    return {reason: n for row in rows if row["source"] == source for reason, n in row["drops"].items()}


def look(platform, corpus):
    return news.compare(SETTINGS, platform, [corpus, *predecessor.corpora_before(corpus)])


def test_files_are_known_by_their_content(first, source_file, platform, tmp_path):
    """A renamed file is not new, a changed one is, and one that is gone is told."""
    before = look(platform, first)
    assert (before.new, before.known, before.gone) == ((), 2, ())
    data = tmp_path / "data"
    (data / "abstracts-a.jsonl").rename(data / "abstracts-renamed.jsonl")
    source_file("papers-a.jsonl", [paper(i, i) for i in range(1, 11)])
    found = look(platform, first)
    assert [file.name for file in found.new] == ["papers-a.jsonl"]
    assert (found.known, found.gone) == (1, ("papers-a.jsonl",))
    assert str(found) == "1 files known, 1 new (papers-a.jsonl), 1 gone or changed (papers-a.jsonl)"


def test_replay_is_no_news(first, source_file, platform):
    source_file("replay.jsonl", [{"text": f"Q: {prose(i, 20 + i)}"} for i in range(400, 420)])
    assert look(platform, first).new == ()


def test_only_what_is_new_is_built(first, source_file, platform):
    """An abstract by its id and one by its text are known, and a paper; that of a known abstract is news."""
    source_file("abstracts-b.jsonl", [abstract(100, 100), abstract(200, 110), abstract(201, 201)])
    source_file("papers-b.jsonl", [paper(105, 500), paper(1, 501), paper(11, 11)])
    held_out = pl.read_parquet(first.fetch("documents/validation/abstracts.parquet"))["corpusid"]
    assert "105" not in held_out.to_list()
    corpus = stage.run(SETTINGS, platform, [first])
    assert ids(corpus, "papers", "abstracts") == ["corpusid:105", "corpusid:11", "corpusid:201"]
    assert drops(corpus, "short") == {"known_work": 2}
    assert drops(corpus, "full") == {"known_work": 1}
    assert predecessor.corpora_before(corpus) == [first]
    assert corpus.made_by["inputs"]["before/1"] == first.digest
    assert f"it adds to `{first.digest[:16]}`" in corpus.fetch("datacard.md").read_text()


def test_the_paper_of_a_held_out_abstract_stays_out(first, source_file, platform):
    held_out = pl.read_parquet(first.fetch("documents/validation/abstracts.parquet"))["corpusid"].to_list()
    source_file("papers-b.jsonl", [paper(int(held_out[0]), 600), paper(12, 12)])
    assert ids(stage.run(SETTINGS, platform, [first]), "papers") == ["corpusid:12"]


def test_tokens_stay_those_of_the_model(first, source_file, platform):
    source_file("abstracts-b.jsonl", [{"corpusid": 300, "abstract": "Quinolones zigzag quietly. " * 20}])
    corpus = stage.run(SETTINGS, platform, [first])
    for name in tokenizer.FILES:
        assert corpus.fetch(f"tokenizer/{name}").read_bytes() == first.fetch(f"tokenizer/{name}").read_bytes()
    split = next(s for s in ("train", "validation") if corpus.has(f"tokens/{s}/abstracts.bin"))
    tokens = IndexedDataset(corpus.local() / "tokens" / split / "abstracts")[0]
    loaded = load_tokenizer(first.local() / "tokenizer")
    assert loaded.decode(tokens[:-1].tolist()).startswith("Quinolones zigzag")


def test_replay_goes_along(first, source_file, platform):
    """By its share of the new tokens, from files that are known, and no document of it counts as known."""
    source_file("abstracts-b.jsonl", [abstract(i, i) for i in range(1000, 1060)])
    corpus = stage.run(SETTINGS, platform, [first])
    stats = corpus.read_json("stats.json")
    assert stats["mixture"]["replay"] == pytest.approx(0.05, abs=0.02)
    assert set(ids(corpus, "replay")) <= set(ids(first, "replay"))
    assert "known_work" not in drops(corpus, "chat")


def test_sides_do_not_change(first, source_file, platform, tmp_path):
    """Built alone or together with all others, a document is on the same side."""
    source_file("abstracts-b.jsonl", [abstract(i, i) for i in range(1000, 1060)])
    added = stage.run(SETTINGS, platform, [first])
    whole = stage.run(SETTINGS, platform.model_copy(update={"workspace": str(tmp_path / "elsewhere")}))
    for split in ("train", "validation"):
        parts = [pl.read_parquet(c.fetch(f"documents/{split}/abstracts.parquet"))["id"] for c in (first, added)]
        together = pl.read_parquet(whole.fetch(f"documents/{split}/abstracts.parquet"))["id"]
        assert sorted(pl.concat(parts)) == sorted(together)


def test_a_third_run_knows_the_files_and_works_of_both(first, source_file, platform):
    source_file("abstracts-b.jsonl", [abstract(i, i) for i in range(1000, 1010)])
    second = stage.run(SETTINGS, platform, [first])
    assert (look(platform, second).new, look(platform, second).known) == ((), 3)
    source_file("abstracts-c.jsonl", [abstract(100, 1), abstract(1000, 2), abstract(1001, 1001), abstract(1100, 1100)])
    assert [file.name for file in look(platform, second).new] == ["abstracts-c.jsonl"]
    third = stage.run(SETTINGS, platform, [second, first])
    assert ids(third, "abstracts") == ["corpusid:1100"]
    assert [corpus.digest for corpus in predecessor.corpora_before(third)] == [second.digest, first.digest]


def test_a_new_file_may_have_no_news(first, source_file, platform):
    source_file("abstracts-b.jsonl", [abstract(100, 100)])
    corpus = stage.run(SETTINGS, platform, [first])
    assert ids(corpus, "papers", "abstracts") == []
    assert drops(corpus, "short") == {"known_work": 1}


def test_no_news_and_no_replay_is_an_empty_corpus(source_file, platform):
    settings = SETTINGS.model_copy(update={"sources": SETTINGS.sources[:2]})
    source_file("papers-a.jsonl", [paper(i, i) for i in range(1, 10)])
    source_file("abstracts-a.jsonl", [abstract(i, i) for i in range(100, 130)])
    first = stage.run(settings, platform)
    source_file("abstracts-b.jsonl", [abstract(100, 100)])
    corpus = stage.run(settings, platform, [first])
    assert corpus.read_json("stats.json")["total"]["train"]["documents"] == 0


def test_what_was_prepared_before_is_found_again(first, source_file, platform, monkeypatch):
    """Known files are not read, and replay's are not prepared a second time."""
    source_file("abstracts-b.jsonl", [abstract(1000, 1000)])
    prepared = []
    original = stage.prepare_shard
    monkeypatch.setattr(stage, "prepare_shard", lambda shard, *rest: prepared.append(shard) or original(shard, *rest))
    stage.run(SETTINGS, platform, [first])
    assert [file.name for shard in prepared for file in shard.files] == ["abstracts-b.jsonl"]


def test_an_earlier_corpus_that_was_changed_is_refused(first, source_file, platform):
    source_file("abstracts-b.jsonl", [abstract(1000, 1000)])
    second = stage.run(SETTINGS, platform, [first])
    second.metadata["before"][0]["digest"] = "0" * 64
    with pytest.raises(InputError, match="not the corpus that a later one adds to any more"):
        predecessor.corpora_before(second)


def test_the_sentence_about_it(first, source_file, platform):
    version = Predecessor("tiny", 3, corpus=first.uri, pretrained="unused")
    since = f"since tiny version 3 (corpus {first.digest[:12]})"
    assert news.look(SETTINGS, platform, version) == (False, f"nothing new {since}: 2 files known, 0 new")
    source_file("papers-b.jsonl", [paper(11, 11)])
    found = news.look(SETTINGS, platform, version)
    assert found == (True, f"news {since}: 2 files known, 1 new (papers-b.jsonl)")


def test_manifest_of_a_whole_run_names_no_corpora_before(first):
    assert predecessor.corpora_before(Manifest.load(first.uri)) == []
