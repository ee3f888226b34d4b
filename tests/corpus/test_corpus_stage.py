"""The stage as a whole: small sources in, documents, tokens and a ledger out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from components.corpus import build, merge, prepare, stage
from components.corpus.settings import CorpusSettings
from components.platform import storage
from components.platform.errors import InputError, SettingsError
from components.platform.indexed import IndexedDataset
from components.platform.manifest import Manifest
from components.platform.model_folder import load_tokenizer
from components.platform.settings import load_section

WORDS = [
    "fever",
    "dose",
    "trial",
    "patient",
    "heart",
    "liver",
    "mouse",
    "drug",
    "cell",
    "gene",
    "risk",
    "age",
    "week",
    "pain",
    "blood",
]


def prose(seed, words=60):
    return " ".join(WORDS[(seed * 7 + i * i + i // 3) % len(WORDS)] for i in range(words)) + f" end {seed}."


def paper(corpusid, text, pmid=None):
    return {"corpusid": corpusid, "externalids": {"PubMed": pmid}, "content": {"text": text, "annotations": {}}}


@pytest.fixture
def sources(source_file):
    """Four groups; one abstract is of a paper that is there in full, one text stands twice, two records are bad."""
    source_file("guidelines.jsonl", [{"title": f"Guide {i}", "text": prose(i)} for i in range(40)])
    for part, first in enumerate((1, 11, 21)):
        rows = [paper(i, prose(100 + i, 200), str(i)) for i in range(first, first + 10)]
        source_file(f"papers-{part}.jsonl", rows)
    abstracts = [{"corpusid": i, "abstract": prose(200 + i)} for i in (5, *range(1000, 1030))]
    abstracts += [
        {"corpusid": 2000, "abstract": prose(200 + 1000)},
        {"corpusid": 2001},
        {"corpusid": 1, "abstract": ""},
    ]
    source_file("abstracts.jsonl.gz", abstracts)
    source_file("titles.jsonl", [{"corpusid": i, "title": f"Title {i}"} for i in range(1000, 1040)])
    source_file("replay.jsonl", [{"text": f"Q: {prose(i, 10 + i)}"} for i in range(300, 360)])
    return [
        {"name": "guides", "group": "guidelines", "format": "guidelines", "paths": ["guidelines.jsonl"]},
        {"name": "full", "group": "papers", "format": "s2orc", "paths": ["papers-*.jsonl"], "validation_fraction": 0.2},
        {
            "name": "short",
            "group": "abstracts",
            "format": "abstracts",
            "paths": ["abstracts.jsonl.gz"],
            "papers": ["titles.jsonl"],
            "validation_fraction": 0.2,
        },
        {"name": "chat", "group": "replay", "format": "redpajama", "paths": ["replay.jsonl"]},
    ]


def settings(sources, **more):
    return CorpusSettings.model_validate(
        {
            "sources": sources,
            "tokenizer": {"train": {"vocab_size": 400}},
            "replay_share": 0.05,
            "min_characters": 20,
            "near_duplicates": None,  # the texts here are made of few words
        }
        | more
    )


def built(settings, platform):
    return stage.run(settings, platform).local()


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "manifest.json", "profile.json", "report.html")
    }


def test_what_comes_out(sources, platform):
    folder = built(settings(sources), platform)
    stats = json.loads((folder / "stats.json").read_text())
    ledger = json.loads((folder / "ledger.json").read_text())
    loaded = load_tokenizer(folder / "tokenizer")
    documents = 0
    for group, splits in stats["groups"].items():
        for split, figures in splits.items():
            path = folder / "documents" / split / f"{group}.parquet"
            if not figures["documents"]:
                assert not path.exists()
                continue
            frame = pl.read_parquet(path)
            tokens = IndexedDataset(folder / "tokens" / split / group)
            assert frame.height == len(tokens) == figures["documents"]
            assert frame["tokens"].sum() == tokens.num_tokens == figures["tokens"]
            assert set(frame["split"]) == {split}
            assert set(frame["group"]) == {group}
            for text, ids in zip(frame["text"], tokens, strict=True):
                assert ids.tolist() == [*loaded.encode(text, add_special_tokens=False).ids, 2]
            documents += frame.height
    assert documents == sum(row["rows_out"] for row in ledger if row["step"] == "mixture")
    assert stats["groups"]["papers"]["train"]["documents"] + stats["groups"]["papers"]["validation"]["documents"] == 30
    assert stats["groups"]["replay"]["validation"]["documents"] == 0
    assert stats["vocab_size"] == loaded.get_vocab_size()
    assert stats["mixture"]["replay"] == pytest.approx(0.05, abs=0.02)
    assert sum(stats["mixture"].values()) == pytest.approx(1)
    assert list(stats["groups"]) == ["guidelines", "abstracts", "papers", "replay"]
    origins = json.loads((folder / "sources.json").read_text())
    assert sum(row["documents"] for origin in origins for row in origin["licences"]) == documents
    made_by = Manifest.load(folder).made_by
    assert {name for origin in origins for name in origin["files"]} <= set(made_by["sources"])
    assert set(made_by["source_bytes"]) == set(made_by["sources"])
    assert Manifest.load(made_by["places"]["decisions"]).digest == made_by["inputs"]["decisions"]


def test_ledger_and_rejects(sources, platform):
    folder = built(settings(sources), platform)
    ledger = {(row["source"], row["step"]): row for row in json.loads((folder / "ledger.json").read_text())}
    assert ledger["short", "read"] == {
        "source": "short", "step": "read", "rows_in": 34, "rows_out": 32,
        "drops": {"empty_text": 1, "missing_field": 1},
    }  # fmt: skip
    assert ledger["short", "dedup"]["drops"] == {"duplicate_corpusid": 1, "duplicate_text": 1}
    assert ledger["full", "dedup"]["drops"] == {}
    assert ledger["metadata of papers", "read"]["rows_out"] == 40
    assert ledger["chat", "mixture"]["drops"]["replay_surplus"] > 0
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert [(r["source"], r["file"], r["record"], r["reason"]) for r in rejects] == [
        ("short", "abstracts.jsonl.gz", 33, "missing_field"),
        ("short", "abstracts.jsonl.gz", 34, "empty_text"),
    ]


def test_titles_are_joined(sources, platform):
    folder = built(settings(sources), platform)
    frame = pl.concat(pl.read_parquet(path) for path in folder.glob("documents/*/abstracts.parquet"))
    row = frame.row(by_predicate=pl.col("corpusid") == "1003", named=True)
    assert row["title"] == "Title 1003"
    assert row["text"] == "Title 1003\n" + prose(1203)
    assert row["origin"] == "abstracts.jsonl.gz:5"


@pytest.mark.parametrize("records", [1, 7, 1000])
@pytest.mark.parametrize("shard_bytes", [1, 5000])
def test_same_bytes_whatever_the_batches_and_shards(sources, platform, tmp_path, monkeypatch, records, shard_bytes):
    first = contents(built(settings(sources), platform))
    monkeypatch.setattr(prepare, "BATCH_RECORDS", records)
    elsewhere = platform.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    assert contents(built(settings(sources, shard_bytes=shard_bytes), elsewhere)) == first


@pytest.mark.slow
def test_same_bytes_whatever_the_workers(sources, platform, tmp_path, monkeypatch):
    first = contents(built(settings(sources), platform))
    monkeypatch.setattr(stage, "BYTES_WORTH_A_PROCESS", 1)
    elsewhere = platform.model_copy(update={"workspace": str(tmp_path / "elsewhere"), "workers": 3})
    assert contents(built(settings(sources), elsewhere)) == first


def test_same_bytes_in_steps_of_several_tasks(sources, platform, tmp_path):
    """As the steps of the pipeline do it on a cluster."""
    whole = settings(sources, shard_bytes=1)
    first = contents(built(whole, platform))
    there = platform.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    tasks = [stage.Task(number, 3) for number in range(3)]
    planned = stage.plan(whole, there)
    tables = stage.tabulate(whole, there, planned)
    prepared = [shard for task in tasks for shard in stage.prepare(whole, there, planned, tables, task)]
    decisions = stage.decide(whole, there, planned, prepared)
    tokens = [shard for task in reversed(tasks) for shard in stage.tokenize(there, prepared, decisions, task)]
    assert len(tokens) == len(prepared) == 6
    assert contents(stage.merge(whole, there, planned, tables, prepared, decisions, tokens).local()) == first


def test_same_bytes_in_another_process(sources, platform, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    section = settings(sources).model_dump(mode="json")
    first = contents(built(settings(sources), platform))
    for seed in ("1", "2"):
        there = platform.model_dump(mode="json") | {"workspace": str(tmp_path / f"runs{seed}")}
        recipe.write_text(yaml.safe_dump({"platform": there, "corpus": section}))
        environment = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": seed, "POLARS_MAX_THREADS": seed}
        command = [sys.executable, "-m", "components.corpus", "--recipe", str(recipe)]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
        [folder] = (tmp_path / f"runs{seed}" / "corpus").iterdir()
        assert contents(folder) == first
        assert result.stdout.strip().endswith(str(folder))


@pytest.mark.slow
def test_same_bytes_on_s3(sources, platform, bucket):
    """Sources and every artifact on an S3 server; several tasks, and each finds what the others made."""
    whole = settings(sources, shard_bytes=1)
    first = contents(built(whole, platform))
    data = Path(platform.data)
    names = [path.relative_to(data).as_posix() for path in sorted(data.iterdir())]
    storage.upload(data, {name: storage.sha256(data / name) for name in names}, f"{bucket}/data")
    there = platform.model_copy(update={"data": f"{bucket}/data", "workspace": f"{bucket}/runs", "workers": 2})
    manifest = stage.run(whole, there)
    assert manifest.uri.startswith(f"{bucket}/runs/corpus/")
    found = contents(manifest.local())
    # The card names the files' digests, which are S3's own there
    assert {name: found[name] for name in found if name != "datacard.md"} == {
        name: first[name] for name in first if name != "datacard.md"
    }
    assert stage.run(whole, there).digest == manifest.digest


def test_row_groups_do_not_depend_on_batches(platform, source_file, monkeypatch):
    monkeypatch.setattr(merge, "ROW_GROUP", 64)
    source_file("many.jsonl", [{"text": prose(i, 12)} for i in range(1000)])
    source = {
        "name": "many",
        "group": "papers",
        "format": "redpajama",
        "paths": ["many.jsonl"],
        "validation_fraction": 0.3,
    }
    results = []
    for number, batch in enumerate((3, 100, 5000)):
        monkeypatch.setattr(prepare, "BATCH_RECORDS", batch)
        there = platform.model_copy(update={"workspace": f"{platform.workspace}{number}"})
        folder = built(settings([source]), there)
        results.append((folder / "documents" / "train" / "papers.parquet").read_bytes())
    assert results[0] == results[1] == results[2]


def test_finished_shards_are_not_prepared_again(sources, platform, monkeypatch, source_file):
    whole = settings(sources, shard_bytes=1)
    original, begun = stage.prepare_shard, []

    def failing(shard, *rest):
        begun.append(shard.name)
        if len(begun) == 4:
            raise KeyboardInterrupt
        return original(shard, *rest)

    monkeypatch.setattr(stage, "prepare_shard", failing)
    with pytest.raises(KeyboardInterrupt):
        stage.run(whole, platform)
    folder = built(whole, platform)
    expected = ["guides-00000", "full-00000", "full-00001", "full-00002", "short-00000", "chat-00000"]
    assert begun == [*expected[:4], *expected[3:]]
    elsewhere = platform.model_copy(update={"workspace": platform.workspace + "2"})
    assert contents(folder) == contents(built(whole, elsewhere))

    # A file that comes later is the only one that is prepared
    begun.clear()
    source_file("papers-3.jsonl", [paper(40, prose(400, 200), "40")])
    built(whole, platform)
    assert begun == ["full-00003"]


STEPS = ["tabulate", "decide_all", "tokenize_shard"]


@pytest.mark.parametrize(
    ("module", "function"), [*((stage, name) for name in STEPS), (merge, "mix"), (build.Build, "_write")]
)
def test_a_run_interrupted_anywhere_continues(sources, platform, monkeypatch, module, function):
    whole = settings(sources)
    original = getattr(module, function)

    def interrupted(*arguments):
        original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, function, interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.run(whole, platform)
    monkeypatch.undo()
    elsewhere = platform.model_copy(update={"workspace": platform.workspace + "2"})
    assert contents(built(whole, platform)) == contents(built(whole, elsewhere))


def test_nothing_is_left_of_the_work(sources, platform):
    folder = built(settings(sources), platform)
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


def test_a_finished_corpus_is_found_again(sources, platform, capsys):
    first = stage.run(settings(sources), platform)
    assert stage.run(settings(sources), platform).digest == first.digest
    assert "already made" in capsys.readouterr().out


def test_missing_and_empty_sources_are_named(sources, platform, source_file):
    with pytest.raises(InputError, match=r"nothing-here\.jsonl"):
        stage.run(settings([sources[0] | {"paths": ["nothing-here.jsonl"]}]), platform)
    source_file("empty.jsonl", "")
    with pytest.raises(InputError, match=r"source guides: no document in empty\.jsonl \(no records\)"):
        stage.run(settings([sources[0] | {"paths": ["empty.jsonl"]}]), platform)
    source_file("bad.jsonl", "{\n{\n")
    with pytest.raises(InputError, match=r"source guides: no document in bad\.jsonl \(2 bad_json\)"):
        stage.run(settings([sources[0] | {"paths": ["bad.jsonl"]}]), platform)
    with pytest.raises(InputError, match="40 licence_unknown"):
        stage.run(settings([sources[0] | {"licences": ["cc-by"]}]), platform)


def test_stated_licence_of_a_source(sources, platform):
    sources[0] |= {"licence": "cc0", "licences": ["cc0"]}
    folder = built(settings(sources[:1]), platform)
    assert set(pl.read_parquet(folder / "documents/train/guidelines.parquet")["licence"]) == {"cc0"}


def test_a_given_tokenizer(sources, platform):
    first = built(settings(sources), platform)
    (first / "tokenizer").rename(first.parents[2] / "data" / "given")
    folder = built(settings(sources, tokenizer={"path": "given"}), platform)
    stats = json.loads((folder / "stats.json").read_text())
    assert stats == json.loads((first / "stats.json").read_text())
    with pytest.raises(InputError, match="absent"):
        stage.run(settings(sources, tokenizer={"path": "absent"}), platform)


def test_card_and_report(sources, platform):
    folder = built(settings(sources), platform)
    card = (folder / "datacard.md").read_text()
    assert "| Clinical Guidelines |" in card
    assert "`guidelines.jsonl`" in card
    assert "| short | dedup | duplicate_corpusid | 1 |" in card
    report = (folder / "report.html").read_text()
    assert report.count("<svg") == 3
    assert str(platform.workspace) not in card + report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": {}}, "give either `train` or `path`"),
        ({"tokenizer": {"train": {"vocab_size": 400}, "path": "x"}}, "give either"),
        ({"tokenizer": {"train": {"vocab_size": 200}}}, "tokenizer.train.vocab_size"),
        ({"replay_share": 1}, "replay_share"),
        ({"sources": []}, "sources"),
        ({"sources": "twice"}, "name given twice: guides"),
        ({"licences": ["CC-BY"]}, "'CC-BY' is written 'cc-by' here"),
        ({"format": "pdf"}, "format"),
        ({"min_chars": 5}, "did you mean `min_characters`"),
    ],
)
def test_impossible_settings(tmp_path, change, message):
    source = {"name": "guides", "group": "guidelines", "format": "guidelines", "paths": ["x"]}
    section = {"sources": [source], "tokenizer": {"train": {"vocab_size": 400}}}
    if change.get("sources") == "twice":
        change = {"sources": [source, source]}
    for key, value in change.items():
        (source if key in ("licences", "format") else section)[key] = value
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"corpus": section}))
    with pytest.raises(SettingsError, match=message):
        load_section(tmp_path / "recipe.yaml", "corpus", CorpusSettings)


def test_light_imports():
    heavy = {"torch", "transformers", "pandas", "kfp", "mlflow", "matplotlib"}
    code = f"import components.corpus.stage, sys; print(*{heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == ""


def test_real_sample(real_data, platform, tmp_path):
    sources = [
        ("guidelines", "guidelines", "guidelines", "guidelines/guidelines.jsonl"),
        ("s2orc", "papers", "s2orc", "s2orc/s2orc_ccby.jsonl"),
        ("pmc", "papers", "jats", "pmc_nxml/*.nxml"),
        ("pubmed", "abstracts", "pubmed_xml", "pubmed_xml/pubmed_mini.xml.gz"),
        ("stackexchange", "replay", "redpajama", "redpajama/stack_exchange.jsonl"),
    ]
    rows = [dict(zip(("name", "group", "format"), s[:3], strict=True)) | {"paths": [s[3]]} for s in sources]
    there = platform.model_copy(update={"data": str(real_data)})
    folder = built(settings(rows, tokenizer={"train": {"vocab_size": 2000}}, replay_share=0.01), there)
    stats = json.loads((folder / "stats.json").read_text())
    assert stats["vocab_size"] == 2000
    assert stats["total"]["train"]["tokens"] > 500_000
    assert stats["mixture"]["replay"] == pytest.approx(0.01, abs=0.003)
