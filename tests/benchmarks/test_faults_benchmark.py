"""The campaign of random kills counts what it says it counts; the campaign itself takes an hour."""

import pytest

from benchmarks.faults import recipe, table
from benchmarks.faults.attempt import Kill
from benchmarks.faults.table import Run
from benchmarks.faults.workspace import Finished, Undisturbed, differences, finished, lost
from components.platform.manifest import Manifest
from pipelines.recipe import load_recipe


@pytest.fixture
def artifact(tmp_path):
    """Makes a finished artifact: artifact("sft/1", "text")."""

    def make(name, content):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text(content)
        Manifest.of_folder(folder.parent.name, folder).save(folder / "manifest.json")

    return make


def test_what_is_lost_and_what_differs(artifact, tmp_path):
    artifact("corpus/1", "abc")
    artifact("sft/2", "defgh")
    before = finished(tmp_path / "runs")
    assert (lost(before, before), differences(before, before)) == (0, [])
    artifact("sft/2", "defgh")  # the same, made again
    again = finished(tmp_path / "runs")
    assert (lost(before, again), differences(before, again)) == (5, [])
    artifact("corpus/1", "ABC")
    assert differences(before, finished(tmp_path / "runs")) == ["corpus/1"]
    gone = {name: found for name, found in again.items() if name != "sft/2"}
    assert (lost(again, gone), differences(again, gone)) == (5, ["sft/2"])


def test_kills_fall_into_what_is_left_of_a_run():
    artifacts = {"corpus/1": Finished("a", 1, 70_000_000_000), "sft/1": Finished("b", 1, 90_000_000_000)}
    whole = Undisturbed(artifacts, began=50_000_000_000, seconds=60.0, seconds_again=10.0)
    assert whole.seconds_left({}) == 60
    assert whole.seconds_left({"corpus/1": Finished("a", 1, 5), "other/1": Finished("c", 1, 5)}) == 40 + 5
    assert whole.seconds_left(whole.artifacts) == 20 + 10


def test_the_short_recipe_is_one(tmp_path):
    recipe.write(tmp_path)
    short = load_recipe(str(tmp_path / "recipe.yaml"))
    assert short.pretrain.layout.world_size == 8
    assert short.pretrain.train_iters < load_recipe("laptop").pretrain.train_iters


def test_the_table():
    well = Run(kills=[Kill("sft", "rank", 0), Kill("sft", "step", 0)], completed=True, seconds=100)
    ill = Run(kills=[Kill("pretrain", "rank", 1)], completed=True, different=["awq/1"], bytes_lost=7, seconds=50)
    assert (well.is_well, ill.is_well, Run().is_well) == (True, False, False)
    text = table.markdown([well, ill], usual_seconds=60, seed=0)
    for row in ("| kills | 3 |", "| runs completed | 2 |", "| with the very bytes of the undisturbed one | 1 |"):
        assert row in text
    assert "| bytes of finished artifacts lost | 7 |" in text
    assert "| processes that outlived their run | 1 |" in text
    assert "| time per kill, beyond the undisturbed runs' | 10 s |" in text
    assert "| sft | 1 | 1 |" in text
    assert "Run 2 did not come out well: ['awq/1']" in text
    assert "NOT WELL" in table.line(2, ill)
