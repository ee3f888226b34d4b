"""What the corpus leaves out and repeats, seen from its ledger: one rule after the other on the whole stage."""

import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.corpus import prepare, stage
from components.corpus.settings import CorpusSettings
from components.platform.errors import SettingsError

SENTENCES = [
    "The patient was given aspirin on the first day and recovered within a week.",
    "We measured blood pressure twice a day in a quiet room.",
    "There was no difference between the groups in the number of falls.",
    "Children with asthma used their inhaler more often in winter than in summer.",
    "All participants signed a form that explained the aims of the study.",
    "The dose was raised slowly until the pain was gone or the patient felt sick.",
    "Of those who were treated at home, most were satisfied with their nurse.",
    "Antibiotics are not needed when the throat is sore because of a virus.",
    "The X-ray showed a fracture of the left wrist, which was put in plaster.",
    "Sleep improved in both groups, and more so in those who walked every evening.",
]


def text(seed, sentences=8):
    return " ".join(f"{SENTENCES[(seed + i * (1 + seed % 3)) % 10]} ({seed}-{i})." for i in range(sentences))


def section(sources, **more):
    given_settings = {
        "sources": sources,
        "tokenizer": {"train": {"vocab_size": 400}},
        "min_characters": 20,
        "near_duplicates": None,
    }
    return CorpusSettings.model_validate(given_settings | more)


def source(name, group="papers", format_="redpajama", **more):
    rows = {"name": name, "group": group, "format": format_, "paths": [f"{name}.jsonl"], "validation_fraction": 0}
    return rows | more


def built(settings_, platform):
    """The documents of a corpus, and its drops by source and reason."""
    folder = stage.run(settings_, platform).local()
    frames = [pl.read_parquet(path) for path in sorted(folder.glob("documents/*/*.parquet"))]
    ledger = json.loads((folder / "ledger.json").read_text())
    drops = Counter()
    for row in ledger:
        drops.update({(row["source"], reason): count for reason, count in row["drops"].items()})
    return folder, pl.concat(frames), dict(drops)


def test_near_duplicates(source_file, platform):
    original = " ".join(text(i) for i in range(4))
    similar = original.replace("aspirin", "ibuprofen")
    source_file("texts.jsonl", [{"text": original}, {"text": text(7)}, {"text": similar}])
    whole = section([source("texts")], near_duplicates={})
    _, documents, drops = built(whole, platform)
    assert documents["text"].to_list() == [original, text(7)]
    assert drops == {("texts", "near_duplicate"): 1}
    _, documents, drops = built(section([source("texts")]), platform)
    assert documents.height == 3
    assert drops == {}


def test_near_duplicates_are_never_torn_apart(source_file, platform):
    """What is similar to a text that is held out isn't trained on."""
    rows = [{"text": f"{word} {text(i, 30)}"} for i in range(40) for word in ("First", "Second")]
    source_file("texts.jsonl", rows)
    _, documents, drops = built(section([source("texts", validation_fraction=0.3)], near_duplicates={}), platform)
    assert drops == {("texts", "near_duplicate"): 40}
    assert set(documents["split"]) == {"train", "validation"}
    assert documents["text"].str.strip_prefix("First ").n_unique() == 40


PUBMEDQA = "eval/pubmedqa"


@pytest.fixture
def pubmedqa(source_file):
    """A benchmark of one question, which an abstract asks."""
    asked = "Do children with asthma who swim twice a week have fewer attacks than those who don't swim?"
    read = "Eighty children with asthma were taught to swim and counted their attacks over one whole year."
    record = {"QUESTION": asked, "CONTEXTS": [read], "LABELS": ["METHODS"], "final_decision": "yes"}
    source_file(f"{PUBMEDQA}/ori_pqal.json", json.dumps({"4711": record}))
    source_file(f"{PUBMEDQA}/test_ground_truth.json", json.dumps({"4711": "yes"}))
    return asked, read


def full_text(corpusid, body, **ids):
    return {"corpusid": corpusid, "externalids": ids, "content": {"text": body, "annotations": {}}}


def test_evaluation_sets_are_kept_out(source_file, platform, pubmedqa):
    asked, read = pubmedqa
    papers = [
        full_text(1, text(1), PubMed="4711"),  # the article that the question was made from
        full_text(2, f"{text(2)} {asked} {text(3)}"),
        full_text(3, f"{text(4)} {' '.join(read.split()[:9])}"),  # a few words in a row are no match
        full_text(4, text(5)),
    ]
    abstracts = [{"corpusid": 4, "abstract": f"{read} {text(6, 2)}"}, {"corpusid": 5, "abstract": text(8, 3)}]
    source_file("papers.jsonl", papers)
    source_file("abstracts.jsonl", abstracts)
    sources = [source("papers", format_="s2orc"), source("abstracts", "abstracts", "abstracts")]
    folder, documents, drops = built(section(sources, decontaminate={"benchmarks": ["pubmedqa"]}), platform)
    assert documents["corpusid"].to_list() == ["5", "3"]
    # Paper 4 goes with its abstract, which holds the context
    assert drops == {("papers", "contaminated_pubmedqa"): 3, ("abstracts", "duplicate_corpusid"): 1}
    matches = [json.loads(line) for line in (folder / "matches.jsonl").read_text().splitlines()]
    found = {(match["document"], match["rule"], match["item"], match["origin"]) for match in matches}
    assert found == {
        ("pmid:4711", "pmid", "4711", "papers.jsonl:1"),
        ("corpusid:2", "question", "4711", "papers.jsonl:2"),
        ("corpusid:4", "context", "4711", "abstracts.jsonl:1"),
    }
    report = (folder / "report.html").read_text()
    assert "What matched an evaluation set" in report
    assert "eighty children with asthma" in report.lower()


def test_a_missing_evaluation_set_is_named_before_any_work(source_file, platform, monkeypatch):
    source_file("texts.jsonl", [{"text": text(1)}])
    monkeypatch.setattr(stage, "prepare_shard", None)
    with pytest.raises(Exception, match=r"eval/pubmedqa/.*json: no such file"):
        stage.run(section([source("texts")], decontaminate={"benchmarks": ["pubmedqa"]}), platform)


def test_languages(source_file, platform):
    german = "Die Patientin wurde am ersten Tag mit Aspirin behandelt und war nach einer Woche wieder gesund. " * 3
    source_file("texts.jsonl", [{"text": text(1)}, {"text": german}, {"text": text(2)}])
    _, documents, drops = built(section([source("texts")], languages=["en"]), platform)
    assert documents.height == 2
    assert drops == {("texts", "language_de"): 1}
    with pytest.raises(SettingsError, match="no language is called 'english'"):
        stage.run(section([source("texts")], languages=["english"]), platform)


def test_contacts(source_file, platform):
    source_file("texts.jsonl", [{"text": f"{text(1)} Write to anna.berg@clinic.example for the data."}])
    _, documents, _ = built(section([source("texts")]), platform)
    assert "@" not in documents["text"][0]
    _, documents, _ = built(section([source("texts")], scrub_contacts=False), platform)
    assert "anna.berg@clinic.example" in documents["text"][0]


def test_only_what_pubmed_has(source_file, platform):
    rows = [full_text(1, text(1), PubMed="7"), full_text(2, text(2), PubMedCentral="8"), full_text(3, text(3))]
    source_file("papers.jsonl", rows)
    _, documents, drops = built(section([source("papers", format_="s2orc", pubmed_only=True)]), platform)
    assert documents["corpusid"].to_list() == ["1", "2"]
    assert drops == {("papers", "not_in_pubmed"): 1}


def citation(pmid, abstract):
    article = f"<Article><Abstract><AbstractText>{abstract}</AbstractText></Abstract></Article>"
    body = f"<MedlineCitation><PMID>{pmid}</PMID>{article}</MedlineCitation>"
    return f"<PubmedArticle>{body}</PubmedArticle>"


def test_revised_and_deleted_citations(source_file, platform):
    """Update files come after the baseline: the newest revision stays, and what was deleted goes."""
    baseline = citation(1, text(1)) + citation(2, text(2)) + citation(3, text(3))
    update = citation(1, text(4)) + "<DeleteCitation><PMID>3</PMID><PMID>77</PMID></DeleteCitation>"
    for number, content in enumerate((baseline, update)):
        source_file(f"pubmed-{number}.xml.gz", f"<PubmedArticleSet>{content}</PubmedArticleSet>")
    source_file("other.jsonl", [full_text(9, text(3), PubMed="3")])
    pubmed = source("pubmed", "abstracts", "pubmed_xml") | {"paths": ["pubmed-*.xml.gz"]}
    other = source("other", "replay", "s2orc", pubmed_only=True)
    whole = section([pubmed, other], replay_share=0.5, shard_bytes=1)
    _, documents, drops = built(whole, platform)
    assert dict(documents.filter(pl.col("source") == "pubmed").select("pmid", "text").iter_rows()) == {
        "1": text(4),
        "2": text(2),
    }
    assert drops == {
        ("pubmed", "deleted_citation"): 3,  # two records that say so, and the document
        ("pubmed", "duplicate_pmid"): 1,
    }
    assert documents.filter(pl.col("source") == "other")["pmid"].to_list() == ["3"], "another source's is its own"


def test_upsampling(source_file, platform):
    source_file("papers.jsonl", [full_text(i, text(i, 20)) for i in range(1, 6)])
    known = [
        {"corpusid": 1, "publicationtypes": ["Review"], "publicationdate": "2022-05-01", "citationcount": 90},
        {"corpusid": 2, "publicationtypes": ["MetaAnalysis"], "publicationdate": "2005-01-01", "citationcount": 0},
        {"corpusid": 3, "publicationtypes": ["JournalArticle"], "publicationdate": "2022-05-01", "citationcount": 5},
        {"corpusid": 4, "venue": "The Journal of Examples.", "year": 2015, "citationcount": 0},
    ]
    source_file("meta.jsonl", known)
    wanted = {"journals": ["Journal of examples"], "publication_types": {"Review": 1.0, "Meta-Analysis": 2.0}}
    papers = source("papers", format_="s2orc", papers=["meta.jsonl"])
    folder, documents, _ = built(section([papers], upsampling=wanted), platform)
    # A recent, much cited review: 1 + 1 + 1; an old meta-analysis: 2; what is neither is read once
    assert dict(documents.select("corpusid", "copies").iter_rows()) == {"1": 4, "2": 3, "3": 1, "4": 1, "5": 1}
    stats = json.loads((folder / "stats.json").read_text())["groups"]["papers"]["train"]
    assert stats["documents"] == 10
    assert stats["tokens"] == (documents["tokens"] * documents["copies"]).sum()


def test_upsampling_leaves_out_what_it_excludes(source_file, platform):
    source_file("papers.jsonl", [full_text(i, text(i, 20)) for i in range(1, 4)])
    source_file("meta.jsonl", [{"corpusid": 2, "publicationtypes": ["Editorial"]}])
    papers = source("papers", format_="s2orc", papers=["meta.jsonl"])
    excluded = {"excluded_types": ["Editorial"]}
    _, documents, drops = built(section([papers], upsampling=excluded), platform)
    assert documents["corpusid"].to_list() == ["1", "3"]
    assert drops == {("papers", "excluded_editorial"): 1}
    _, documents, drops = built(section([papers], upsampling=excluded | {"exclude": False}), platform)
    assert documents["copies"].to_list() == [1, 1, 1]
    assert drops == {}


RECORDS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(["", "9", "10"]), st.sampled_from(["", "{", "[]", "{}"])),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@given(files=st.lists(RECORDS, min_size=1, max_size=4), order=st.randoms(use_true_random=False))
@settings(
    max_examples=12, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_documents_in_any_shards(tmp_path_factory, platform, files, order):
    """Whatever the records, their batches and shards: the same bytes, and every record is accounted for."""
    root = tmp_path_factory.mktemp("any")
    (root / "data").mkdir()
    records = 0
    for number, rows in enumerate(files):
        lines = [json.dumps(full_text(999, text(40)))] if number == 0 else []  # a corpus must have one document
        lines += [broken or json.dumps(full_text(seed, text(seed), PubMed=pmid)) for seed, pmid, broken in rows]
        (root / "data" / f"papers-{number}.jsonl").write_text("\n".join(lines))
        records += len(lines)
    papers = source("papers", format_="s2orc", validation_fraction=0.3) | {"paths": ["papers-*.jsonl"]}
    results = []
    for number, shard_bytes in enumerate((1 << 20, order.randrange(1, 4000))):
        there = platform.model_copy(update={"data": str(root / "data"), "workspace": str(root / f"runs{number}")})
        whole = section([papers], near_duplicates={}, shard_bytes=shard_bytes)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepare, "BATCH_RECORDS", order.randrange(1, 20))
            folder, documents, drops = built(whole, there)
        assert documents.height + sum(drops.values()) == records
        results.append({path.name: path.read_bytes() for path in sorted(folder.rglob("*.parquet"))})
        results[-1] |= {path.name: path.read_bytes() for path in sorted(folder.rglob("*.jsonl"))}
        results[-1]["ledger"] = (folder / "ledger.json").read_bytes()
    assert results[0] == results[1]


def test_texts_as_meditron_made_them(real_data, platform):
    """The golden files, byte for byte, through the whole stage."""
    there = platform.model_copy(update={"data": str(real_data)})
    sources = [
        source("guidelines", "guidelines", "meditron-compat") | {"paths": ["guidelines/guidelines.jsonl"]},
        source("papers", format_="meditron-compat") | {"paths": ["s2orc/s2orc_ccby.jsonl"]},
    ]
    _, documents, drops = built(section(sources, min_characters=1), there)
    assert drops == {}
    for name, golden, field in (
        ("guidelines", "guidelines/guidelines.meditron_clean_golden.jsonl", "clean"),
        ("papers", "s2orc/s2orc_ccby.meditron_golden.jsonl", "text"),
    ):
        rows = [json.loads(line) for line in (real_data / golden).read_text(encoding="utf-8").splitlines()]
        assert documents.filter(pl.col("source") == name)["text"].to_list() == [row[field] for row in rows]


@pytest.mark.parametrize(
    ("share", "why"), [(0.5, "its sources have no more"), (0.17, "as close as whole documents come")]
)
def test_too_little_replay_is_explained(source_file, platform, share, why):
    source_file("texts.jsonl", [{"text": text(i, 30)} for i in range(9)])
    source_file("chat.jsonl", [{"text": text(10 + i, 40)} for i in range(3)])
    sources = [source("texts"), source("chat", "replay")]
    folder, _, _ = built(section(sources, replay_share=share), platform)
    assert why in (folder / "datacard.md").read_text()
