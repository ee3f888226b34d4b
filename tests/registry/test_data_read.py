"""What a model has read, over all corpora of its chain."""

import json

import pytest

from components.platform.manifest import Manifest
from components.registry.data_read import Contamination, Source, contamination, licence_tag, sources, token_table


@pytest.fixture
def news(tmp_path):
    """A corpus that adds to the one before: a new source, and one that is known under another licence."""
    groups = {
        "papers": {"train": {"documents": 1, "tokens": 20_000}, "validation": {"documents": 0, "tokens": 0}},
        "guidelines": {"train": {"documents": 2, "tokens": 50}, "validation": {"documents": 1, "tokens": 5}},
    }
    rows = [
        {"source": "pmc", "licences": [{"licence": "cc0", "documents": 1, "tokens": 20_000}], "files": ["p.xml"]},
        {
            "source": "guidelines",
            "licences": [
                {"licence": "cc-by", "documents": 2, "tokens": 50},
                {"licence": "cc0", "documents": 1, "tokens": 5},
            ],
            "files": ["guidelines/a.jsonl", "guidelines/c.jsonl"],
        },
    ]
    ledger = [
        {"source": "pmc", "step": "decontaminate", "drops": {"contaminated_pubmedqa": 2, "contaminated_medqa": 1}}
    ]
    for name, content in (("stats", {"groups": groups}), ("sources", rows), ("ledger", ledger)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    settings = {"decontaminate": {"benchmarks": ["pubmedqa", "medqa"]}}
    return Manifest.of_folder("corpus", tmp_path, made_by={"settings": settings, "sources": {}})


def test_one_corpus(artifacts):
    corpus = [artifacts["corpus"]]
    assert token_table(corpus)["guidelines"]["train"] == {"documents": 20, "tokens": 9000}
    assert sources(corpus)[0] == Source("guidelines", 2, "cc-by", 20, 9000)
    assert licence_tag(corpus) == {"corpus.licences": "cc-by, unknown, cc-by-sa"}
    assert contamination(corpus) == Contamination(("pubmedqa",), {"pubmedqa": 3})


def test_a_chain_is_added_up(artifacts, news):
    chain = [news, artifacts["corpus"]]
    table = token_table(chain)
    assert list(table) == ["papers", "guidelines", "replay"]
    assert table["guidelines"] == {
        "train": {"documents": 22, "tokens": 9050},
        "validation": {"documents": 2, "tokens": 405},
    }
    assert sources(chain) == [
        Source("pmc", 1, "cc0", 1, 20_000),
        Source("guidelines", 3, "cc-by", 22, 9050),
        Source("guidelines", 3, "cc0", 1, 5),
        Source("guidelines", 3, "unknown", 1, 400),
        Source("replay", 1, "cc-by-sa", 5, 100),
    ]
    assert licence_tag(chain) == {"corpus.licences": "cc0, cc-by, unknown, cc-by-sa"}


def test_only_what_all_corpora_were_searched_for_counts_as_searched(artifacts, news):
    found = contamination([news, artifacts["corpus"]])
    assert found == Contamination(("pubmedqa",), {"pubmedqa": 5, "medqa": 1})
