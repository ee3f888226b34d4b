"""How source files are cut into shards, and shards shared out."""

from hypothesis import given
from hypothesis import strategies as st

from components.corpus import plan
from components.corpus.settings import CorpusSettings
from components.platform.data import SourceFile

SIZES = st.lists(st.integers(0, 100), max_size=30)


def files(sizes):
    return [SourceFile(f"{number:03}.jsonl", f"/{number}", size, "sha256:0") for number, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 150))
def test_shards_are_runs_of_whole_files(sizes, shard_bytes):
    given_files = files(sizes)
    shards = plan.cut("s", given_files, shard_bytes)
    assert [file for shard in shards for file in shard.files] == given_files
    assert [shard.number for shard in shards] == list(range(len(shards)))
    for shard in shards:
        assert sum(file.bytes for file in shard.files[:-1]) < shard_bytes, "the last file is what passes the size"


@given(SIZES, SIZES, st.integers(1, 150))
def test_files_that_come_later_leave_earlier_shards_alone(sizes, more, shard_bytes):
    before = plan.cut("s", files(sizes), shard_bytes)
    after = plan.cut("s", files(sizes + more), shard_bytes)
    complete = before[:-1]
    assert after[: len(complete)] == complete


@given(SIZES, st.integers(1, 7))
def test_tasks_share_everything_once_and_evenly(sizes, tasks):
    shares = [plan.share(sizes, task, tasks) for task in range(tasks)]
    assert sorted(item for share in shares for item in share) == list(range(len(sizes)))
    loads = [sum(sizes[item] for item in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)
    assert all(share == sorted(share) for share in shares)


def test_a_plan_comes_back_as_it_was_written(platform, source_file):
    source_file("a/one.jsonl", "{}")
    source_file("a/two.jsonl", "{}{}")
    source_file("meta.jsonl", "{}")
    source = {"name": "s", "group": "papers", "format": "s2orc", "papers": ["meta.jsonl"]}
    source["paths"] = ["a/two.jsonl", "a/*.jsonl"]  # a file that two patterns match is read once
    settings = CorpusSettings(sources=[source], tokenizer={"train": {"vocab_size": 400}}, shard_bytes=1)
    manifest = plan.make(settings, platform)
    loaded = plan.Plan.load(manifest)
    assert [[file.name for file in shard.files] for shard in loaded.shards] == [["a/two.jsonl"], ["a/one.jsonl"]]
    assert [shard.name for shard in loaded.shards] == ["s-00000", "s-00001"]
    assert [file.name for file in loaded.all_papers()] == ["meta.jsonl"]
    assert sorted(file.name for file in loaded.files()) == ["a/one.jsonl", "a/two.jsonl", "meta.jsonl"]
    assert manifest.metadata == {"shards": 2, "bytes": 6}
