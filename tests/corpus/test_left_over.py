"""What contamination.json says of a corpus, by hand."""

import polars as pl
import pytest

from components.corpus.left_over import left_over
from components.corpus.settings import Decontaminate

SETTINGS = Decontaminate(benchmarks=["pubmedqa", "medqa"])


@pytest.fixture
def folder(tmp_path):
    for split, ids in {"train": ["a", "b"], "validation": ["c"]}.items():
        (tmp_path / "documents" / split).mkdir(parents=True)
        pl.DataFrame({"id": ids, "text": ids}).write_parquet(tmp_path / "documents" / split / "papers.parquet")
    return tmp_path


def match(document, benchmark="pubmedqa"):
    return {"document": document, "benchmark": benchmark}


def test_what_matched_and_was_left_out_is_no_harm(folder):
    found = left_over(folder, SETTINGS, [match("x"), match("x"), match("y")])
    assert found == {
        "pubmedqa": {"matches": 3, "documents_left": 0},
        "medqa": {"matches": 0, "documents_left": 0},
    }


def test_what_is_still_there_is_counted_in_each_split(folder):
    found = left_over(folder, SETTINGS, [match("a"), match("a"), match("c"), match("a", "medqa")])
    assert (found["pubmedqa"]["documents_left"], found["medqa"]["documents_left"]) == (2, 1)


def test_nothing_was_looked_for(folder):
    assert left_over(folder, None, []) == {}
