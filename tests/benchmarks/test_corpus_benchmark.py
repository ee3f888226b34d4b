"""The text that the corpus benchmark measures with, and what it makes of measurements. No peers, no network."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.corpus import __main__ as command
from benchmarks.corpus import data, decide, formatting, table
from benchmarks.corpus.builds import BUILDS, Measurement, recipe
from benchmarks.corpus.measure import Usage, measured
from components.corpus.decide import Decisions
from components.corpus.settings import CorpusSettings

SAMPLE = Path(__file__).parents[2] / "pipelines" / "sample"
MEGABYTES = 4


@pytest.fixture(scope="module")
def passages():
    return data.passages(SAMPLE)


@pytest.fixture(scope="module")
def made(passages, tmp_path_factory):
    return data.make(tmp_path_factory.mktemp("text"), passages, MEGABYTES)


def rows(file):
    return [json.loads(line) for line in file.path.read_text(encoding="utf-8").splitlines()]


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(passages, made, tmp_path):
    again = data.make(tmp_path / "again", passages, MEGABYTES)
    other = data.make(tmp_path / "other", passages, MEGABYTES, seed=1)
    bytes_of = [[file.path.read_bytes() for file in files] for files in (made, again, other)]
    assert bytes_of[0] == bytes_of[1]
    assert all(a != b for a, b in zip(bytes_of[0], bytes_of[2], strict=True))


def test_files_hold_what_their_counts_say_and_are_of_one_size(made):
    for file in made:
        texts = [row["text"] for row in rows(file)]
        assert (file.documents, file.bytes) == (len(texts), sum(len(text.encode()) for text in texts))
        longest = max(len(text.encode()) for text in texts)
        assert MEGABYTES * 1e6 / 4 <= file.bytes < MEGABYTES * 1e6 / 4 + longest


def test_one_document_in_twenty_is_a_copy_of_its_own_file(made):
    for file in made:
        copies = [row for row in rows(file) if row["meta"]["copy"]]
        assert len(copies) == file.documents // data.EVERY_NTH_IS_A_COPY == file.exact_copies + file.near_copies
        assert 0 <= file.exact_copies - file.near_copies <= 1
    kinds = [row["meta"]["copy"] for file in made for row in rows(file)]
    assert kinds.count("exact") == sum(file.exact_copies for file in made) > 0
    assert kinds.count("near") == sum(file.near_copies for file in made) > 0


def test_exact_copies_repeat_an_original_and_near_copies_nearly_do(made):
    for file in made:
        originals = {row["text"] for row in rows(file) if not row["meta"]["copy"]}
        for row in rows(file):
            if row["meta"]["copy"] == "exact":
                assert row["text"] in originals
            elif row["meta"]["copy"] == "near":
                assert row["text"] not in originals
                assert max(jaccard(row["text"], text) for text in originals) > 0.8


def jaccard(a, b):
    """Of sets of five words in a row."""
    words = [text.split(" ") for text in (a, b)]
    first, second = ({tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in words)
    return len(first & second) / len(first | second)


def test_kinds_have_their_shares(passages, tmp_path):
    (file,) = data.make(tmp_path, passages, 4, files=1)
    for kind, settings in data.KINDS.items():
        assert file.kinds[kind] / file.bytes == pytest.approx(settings.share, abs=0.05)


def test_our_recipe_is_valid():
    CorpusSettings.model_validate(recipe(Path("data"), Path("runs"), "text/text-*.jsonl")["corpus"])


def test_processor_time_of_grandchildren_counts(tmp_path):
    burn = "import time\nwhile time.process_time() < 0.6: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    usage = measured([sys.executable, "-c", script], tmp_path / "log", {})
    assert usage.cpu_seconds > 0.6
    assert usage.peak_bytes > 1_000_000


def test_a_failing_build_is_an_error_that_quotes_its_output(tmp_path):
    with pytest.raises(RuntimeError, match="(?s)exit code 3.*out of luck"):
        measured([sys.executable, "-c", "print('out of luck'); exit(3)"], tmp_path / "log", {})


def measurement(build, megabytes, seconds, tokens=10, profile=None):
    return Measurement(build, megabytes, 10, 1, 9, tokens, Usage(seconds, seconds, 250_000_000), profile or {})


def test_the_rate_leaves_out_what_starting_costs():
    pair = measurement(BUILDS[0], 25.0, 5.0 + 25 / 10), measurement(BUILDS[0], 100.0, 5.0 + 100 / 10)
    assert table.rate(pair) == pytest.approx(10)


def test_the_report_compares_with_the_first_build():
    profile = {"clean": {"cpu_seconds": 2.0, "megabytes": 100.0}}
    ours = measurement(BUILDS[0], 25.0, 7.5), measurement(BUILDS[0], 100.0, 15.0, profile=profile)
    theirs = measurement(BUILDS[1], 25.0, 30.0), measurement(BUILDS[1], 100.0, 105.0)
    report = table.markdown([ours, theirs], [formatting.Rate("jats", 7, 40.0, 10.0, 2.0)])
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line[:1] == "|"]
    by_name = {row[0]: row for row in cells}
    assert by_name[BUILDS[0].name][1:6] == ["100", "6.67", "10.00", "1.0 ×", "250 / 250"]
    assert by_name[BUILDS[1].name][1:6] == ["100", "0.95", "1.00", "10.0 ×", "250 / 250"]
    assert by_name["clean"][1:] == ["2.00", "50"]
    assert by_name["`jats` reader"][1:] == ["7", "40", "20.0", "5.0"]


def test_a_build_that_leaves_out_too_much_is_not_compared():
    ours = measurement(BUILDS[0], 25.0, 1, tokens=100_000), measurement(BUILDS[0], 100.0, 1, tokens=100_000)
    command.expect_comparable([ours, (ours[0], measurement(BUILDS[1], 100.0, 1, tokens=80_000))])
    with pytest.raises(RuntimeError, match="700 tokens per megabyte, ours 1,000"):
        command.expect_comparable([ours, (ours[0], measurement(BUILDS[1], 100.0, 1, tokens=70_000))])


def test_formatting_is_measured_on_the_records_there_are():
    rates = formatting.rates(SAMPLE, megabytes=0.1)
    assert {rate.reader for rate in rates} <= {"s2orc", "jats"}
    assert all(rate.megabytes >= 0.1 and rate.seconds > 0 for rate in rates)


def test_decisions_are_made_on_made_up_indexes(tmp_path):
    documents = decide.SHARD_DOCUMENTS + 1000
    folders = decide.write_indexes(tmp_path, documents)
    decisions = Decisions(decide.SETTINGS, [decide.shard(folder) for folder in folders])
    decisions.make()
    assert [len(part) for part in decisions.index.cut(decisions.dropped)] == [decide.SHARD_DOCUMENTS, 1000]
    stays = decisions.dropped.null_count() / documents
    assert 1 - decide.SAME_WORK - decide.NEAR_COPY < stays < 1 - decide.SAME_WORK / 2


def test_bytes_per_document_are_those_above_a_process_with_few_documents():
    base = decide.Decided(1000, 0, Usage(1, 1, 100_000_000))
    (row,) = decide.markdown(base, [decide.Decided(1_000_000, 500_000, Usage(4.0, 5, 200_000_000))])[2:]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["1,000,000", "500,000", "200", "100", "92", "4.0"]


@pytest.mark.slow
def test_our_build_is_measured_from_text_to_tokens(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDITRON_DATA", str(SAMPLE))
    options = ["--ours-only", "--megabytes", "0.8", "--format-megabytes", "0.1", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.corpus", *options])
    command.main()
    report = capsys.readouterr().out
    assert f"| {BUILDS[0].name} | 1 |" in report
    assert "| tokenize |" in report
