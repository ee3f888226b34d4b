"""The verbs as a user calls them, against servers that remember."""

import re
import sys
import types

import pytest
import yaml

from pipelines import cancel, following
from pipelines.cli import main
from tests.pipelines.conftest import cluster_recipe
from tests.pipelines.kfp_fake import Moment

PREPARING = Moment("RUNNING", (("plan-corpus", "SUCCEEDED", 5, 65), ("prepare-documents", "RUNNING", 70, None)))
DONE = Moment("SUCCEEDED", (("plan-corpus", "SUCCEEDED", 5, 65), ("prepare-documents", "SUCCEEDED", 70, 3670)))
FAILED = Moment("FAILED", (("plan-corpus", "FAILED", 5, 65),), errors={"plan-corpus": "no such bucket"})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(cancel, "POLL_SECONDS", 0.01)


class Jobs:
    """A double of the launcher's `reaping`: jobs by name, each with the run it belongs to."""

    def __init__(self) -> None:
        self.owners = {"pretrain-1": "run-gone", "pretrain-2": "by-hand"}
        self.namespaces: set[str] = set()

    def reap(self, namespace, run_is_alive):
        self.namespaces.add(namespace)
        dead = [name for name, owner in self.owners.items() if not run_is_alive(owner)]
        for name in dead:
            del self.owners[name]
        return dead


@pytest.fixture
def jobs(monkeypatch):
    double, module = Jobs(), types.ModuleType("components.platform.launcher.reaping")
    module.reap = double.reap
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return double


def run(capfd, *arguments):
    """Exit code, and all that is shown, without the times of day."""
    code = main(list(arguments))
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    return code, re.sub(r"\d\d:\d\d:\d\d", "TIME", output.out + output.err)


def test_submit_shows_each_change_once(kfp, recipe, capfd):
    kfp.moments = [Moment("PENDING"), PREPARING, PREPARING, DONE]
    code, output = run(capfd, "submit", "--recipe", recipe)
    assert code == 0
    lines = output.splitlines()
    assert lines[0].startswith("warning: not named by digest, so another run may get other images: meditron/")
    assert re.fullmatch(r"pipeline version [0-9a-f]{12}-[0-9a-f]{12}  uploaded", lines[1])
    assert lines[2] == f"run run-0004  {kfp.url}/#/runs/details/run-0004"
    assert lines[3:] == [
        "TIME  plan-corpus           succeeded in 1 min 0 s",
        "TIME  prepare-documents     running",
        "TIME  prepare-documents     succeeded in 1 h 0 min",
        "run run-0004 succeeded in 1 h 1 min",
    ]


def test_submitting_again_finds_the_version_there(kfp, recipe, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach", "--name", "first")
    code, output = run(capfd, "submit", "--recipe", recipe, "--detach")
    assert code == 0
    assert "is there already" in output
    assert f"meditron status --recipe {recipe} run-0005 --follow" in output
    assert [run["display_name"].split()[0] for run in kfp.runs.values()] == ["first", "meditron-7b"]
    assert kfp.asked("POST", "/pipelines/upload_version") == 1


def test_a_failed_run_names_the_step_and_its_page(kfp, recipe, capfd):
    kfp.moments = [FAILED]
    code, output = run(capfd, "submit", "--recipe", recipe)
    assert code == 1
    assert "error: run run-0004 failed after 1 min 5 s: plan-corpus: no such bucket" in output
    assert output.endswith(f"{kfp.url}/#/runs/details/run-0004\n")


def test_a_server_that_is_away_for_a_while_is_waited_for(kfp, recipe, capfd):
    kfp.moments = [Moment("RUNNING", refuse=[503, 500, 429]), DONE]
    code, output = run(capfd, "submit", "--recipe", recipe)
    assert code == 0
    assert output.count("still trying; the run goes on meanwhile") == 1


def test_a_server_that_refuses_us_is_not(kfp, recipe, capfd):
    kfp.moments = [Moment("RUNNING", refuse=[403])]
    code, output = run(capfd, "submit", "--recipe", recipe)
    assert code == 1
    assert "403 try again; check KFP_TOKEN or KFP_COOKIE" in output


def test_ctrl_c_leaves_the_run_alone(kfp, recipe, capfd, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupt)
    kfp.moments = [PREPARING]
    code, output = run(capfd, "submit", "--recipe", recipe)
    assert code == 130
    assert "not watching any more; run run-0004 goes on. Come back with" in output
    assert f"meditron status --recipe {recipe} run-0004 --follow" in output
    assert "run again to go on" not in output
    assert kfp.asked("POST", "/runs/run-0004:terminate") == 0


def test_status_of_one_run_and_of_all(kfp, recipe, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach", "--name", "first")
    kfp.moments = [DONE]
    code, output = run(capfd, "status", "--recipe", recipe, "run-0004")
    assert code == 0
    assert "first: succeeded, 1 h 1 min" in output
    assert re.search(r"prepare-documents +2026-01-01 TIME +succeeded in 1 h 0 min", output)
    assert re.search(r"pretrain +not started", output)
    code, output = run(capfd, "status", "--recipe", recipe)
    assert re.search(r"run-0004 +first +succeeded +2026-01-01 TIME +1 h 1 min", output)


def test_status_of_a_run_under_way(kfp, recipe, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    kfp.moments = [PREPARING]
    _, output = run(capfd, "status", "--recipe", recipe, "run-0004")
    assert re.search(r"prepare-documents +2026-01-01 TIME +running, \d+ d \d+ h so far", output)
    assert re.search(r"pretrain +waiting", output)


def test_status_can_be_watched(kfp, recipe, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    kfp.moments = [PREPARING, DONE]
    code, output = run(capfd, "status", "--recipe", recipe, "run-0004", "--follow")
    assert code == 0
    assert output.endswith("run run-0004 succeeded in 1 h 1 min\n")


def test_cancel_ends_the_run_and_deletes_its_jobs_alone(kfp, recipe, jobs, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    jobs.owners |= {"pretrain-3": "run-0004", "pretrain-4": "run-0005"}
    code, output = run(capfd, "cancel", "--recipe", recipe, "run-0004")
    assert code == 0
    assert output == "run run-0004 has ended; jobs deleted: pretrain-3\n"
    assert set(jobs.owners) == {"pretrain-1", "pretrain-2", "pretrain-4"}
    assert jobs.namespaces == {"meditron"}
    assert kfp.runs["run-0004"]["state"] == "CANCELED"


def test_cancel_deletes_a_job_that_comes_while_the_run_is_ending(kfp, recipe, jobs, capfd, monkeypatch):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    looks = iter([("CANCELING", "RUNNING"), ("CANCELING", "RUNNING"), ("CANCELED", "CANCELED")])
    seen = []

    def look(run):
        state, shown = next(looks, ("CANCELED", "CANCELED"))
        if len(seen) == 1:  # a step was just starting it
            jobs.owners["late"] = "run-0004"
        seen.append(state)
        return 200, run | {"state": shown}

    monkeypatch.setattr(kfp, "look", look)
    code, output = run(capfd, "cancel", "--recipe", recipe, "run-0004")
    assert code == 0
    assert "jobs deleted: late" in output
    assert "late" not in jobs.owners


def test_cancel_of_a_run_that_has_ended_still_deletes_its_jobs(kfp, recipe, jobs, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    kfp.moments = [FAILED]
    jobs.owners["left"] = "run-0004"
    code, output = run(capfd, "cancel", "--recipe", recipe, "run-0004")
    assert code == 0
    assert "jobs deleted: left" in output
    assert kfp.asked("POST", "/runs/run-0004:terminate") == 0


def test_reap_takes_only_jobs_whose_run_the_server_calls_dead(kfp, recipe, jobs, capfd):
    run(capfd, "submit", "--recipe", recipe, "--detach")
    kfp.moments = [PREPARING]
    jobs.owners["alive"] = "run-0004"
    code, output = run(capfd, "reap", "--recipe", recipe, "--dry-run")
    assert (code, output) == (0, "jobs would be deleted of these runs: run-gone\n")
    assert len(jobs.owners) == 3
    code, output = run(capfd, "reap", "--recipe", recipe)
    assert (code, output) == (0, "jobs deleted: pretrain-1\n")
    assert set(jobs.owners) == {"pretrain-2", "alive"}


@pytest.mark.parametrize("status", [403, 500])
def test_reap_touches_nothing_when_the_server_can_not_tell(kfp, recipe, jobs, capfd, status):
    kfp.refuse_all = (status, "no")
    code, output = run(capfd, "reap", "--recipe", recipe)
    assert code == 1
    assert f"{status} no" in output
    assert len(jobs.owners) == 2


def test_reap_is_for_jobs_on_a_cluster(kfp, tmp_path, jobs, capfd):
    recipe = cluster_recipe(tmp_path, kfp.url, base="laptop")
    code, output = run(capfd, "reap", "--recipe", recipe)
    assert code == 1
    assert "there are no jobs on a cluster" in output


def test_schedule_from_the_first_to_the_last(kfp, recipe, capfd):
    code, output = run(capfd, "schedule", "--recipe", recipe)
    assert (code, output) == (1, "error: recipe meditron-7b has no schedule; make one with --cron\n")
    code, output = run(capfd, "schedule", "--recipe", recipe, "--cron", "0 3 * * 1")
    assert code == 0
    assert re.search(r"schedule recurring-\d+  0 0 3 \* \* 1  on, pipeline version [0-9a-f-]+\n", output)
    run(capfd, "schedule", "--recipe", recipe, "--cron", "30 0 4 * * *")
    [recurring] = kfp.recurring.values()
    assert recurring["trigger"]["cron_schedule"]["cron"] == "30 0 4 * * *"
    run(capfd, "schedule", "--recipe", recipe, "--off")
    assert "  off, " in run(capfd, "schedule", "--recipe", recipe)[1]
    run(capfd, "schedule", "--recipe", recipe, "--on")
    assert "  on, " in run(capfd, "schedule", "--recipe", recipe)[1]
    run(capfd, "schedule", "--recipe", recipe, "--delete")
    assert not kfp.recurring


def test_what_is_scheduled_goes_on_from_the_champion(kfp, recipe, capfd):
    run(capfd, "schedule", "--recipe", recipe, "--cron", "0 3 * * 1")
    [version] = kfp.versions.values()
    tasks = version["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    parameters = tasks["look-for-news"]["inputs"]["parameters"]
    assert parameters["continue_from"]["runtimeValue"]["constant"] == "champion"


def test_a_recipe_that_cannot_go_on_is_not_scheduled(kfp, tmp_path, capfd):
    """Each run would train everything again."""
    recipe = cluster_recipe(tmp_path, kfp.url, pretrain={"retraining": None})
    code, output = run(capfd, "schedule", "--recipe", recipe, "--cron", "0 3 * * 1")
    assert code == 1
    assert "recipe meditron-7b has no section pretrain.retraining" in output
    assert not kfp.recurring
    assert run(capfd, "submit", "--recipe", recipe, "--detach")[0] == 0, "once it may"


@pytest.mark.parametrize("cron", ["0 3 * *", "", "0 0 3 * * 1 2026"])
def test_a_schedule_that_is_none(kfp, recipe, capfd, cron):
    code, output = run(capfd, "schedule", "--recipe", recipe, f"--cron={cron}")
    assert code == 1
    assert "expected minute, hour, day, month and weekday" in output
    assert not kfp.recurring


def test_images_are_submitted_by_digest(kfp, recipe, tmp_path, capfd):
    names = [f"meditron/{image}:0.1.0" for image in ("train", "pipeline", "quantize", "evaluate")]
    lock = {name: f"sha256:{number:064x}" for number, name in enumerate(names)}
    (tmp_path / "images.lock").write_text(yaml.safe_dump(lock))
    code, output = run(capfd, "submit", "--recipe", recipe, "--images", str(tmp_path / "images.lock"), "--detach")
    assert code == 0
    assert "warning" not in output
    [version] = kfp.versions.values()
    executors = version["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    used = {executor["container"]["image"] for executor in executors.values()}
    assert used == {f"{name}@{lock[name]}" for name in names[1:]}
    assert f'"image":"{names[0]}@{lock[names[0]]}"' in str(version["pipeline_spec"]), "the image of the ranks"
