"""A stage's result: found when finished, resumed when not, refused to a second writer."""

import pytest

from components.platform.data import resolve
from components.platform.errors import InputError, UserError
from components.platform.manifest import Manifest
from components.platform.settings import Settings
from components.platform.stage import produce


class Greeting(Settings):
    text: str = "hello"


def write(folder):
    (folder / "greeting.txt").write_text("hello")
    return {"characters": 5}


def test_a_finished_result_is_found_again(platform):
    first = produce("greeting", Greeting(), {}, platform, write)
    second = produce("greeting", Greeting(), {}, platform, lambda folder: pytest.fail("made again"))
    assert first == second
    assert Manifest.load(first.uri) == first
    assert first.metadata == {"characters": 5}


def test_settings_inputs_and_sources_determine_the_place(platform, tmp_path):
    base = produce("greeting", Greeting(), {}, platform, write)
    other = produce("greeting", Greeting(text="bye"), {}, platform, write)
    built = produce("greeting", Greeting(), {"base": base}, platform, write)
    (tmp_path / "data" / "a.txt").write_text("a")
    sources = resolve(platform, "*.txt")
    sourced = produce("greeting", Greeting(), {}, platform, write, sources)
    assert len({base.uri, other.uri, built.uri, sourced.uri}) == 4
    assert built.made_by["inputs"] == {"base": base.digest}
    assert list(sourced.made_by["sources"]) == ["a.txt"]


def test_an_interrupted_result_is_resumed_where_it_stopped(platform):
    def dies(folder):
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        produce("greeting", Greeting(), {}, platform, dies)

    def goes_on(folder):
        assert (folder / "half.txt").read_text() == "half"
        return write(folder)

    manifest = produce("greeting", Greeting(), {}, platform, goes_on)
    assert [entry.path for entry in manifest.files] == ["greeting.txt", "half.txt"]


def test_a_second_writer_is_refused(platform):
    def work(folder):
        with pytest.raises(UserError, match="another process"):
            produce("greeting", Greeting(), {}, platform, write)
        return write(folder)

    produce("greeting", Greeting(), {}, platform, work)


def test_missing_source_file_is_named(platform):
    with pytest.raises(InputError, match=r"nothing/\*.jsonl: no such file"):
        resolve(platform, "nothing/*.jsonl")
