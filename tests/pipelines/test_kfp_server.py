"""The KFP server, through the real client: pipelines, runs and schedules are made once and found again."""

import json

import pytest

from pipelines.cluster import KubeflowSettings
from pipelines.kfp_connection import KfpError
from pipelines.kfp_server import KfpServer
from pipelines.submission import Submission
from tests.pipelines.conftest import cluster_recipe
from tests.pipelines.kfp_fake import KfpFake, Moment


@pytest.fixture
def submission(recipe):
    return Submission.of(recipe)


@pytest.fixture
def server(submission):
    return KfpServer(submission.recipe.cluster.kubeflow)


def test_a_submission_is_uploaded_once(kfp, server, submission):
    first, again = server.upload(submission), server.upload(submission)
    assert (first.is_new, again.is_new) == (True, False)
    assert first.id == again.id
    assert kfp.asked("POST", "/pipelines/upload_version") == 1
    [pipeline] = kfp.pipelines.values()
    assert pipeline["name"] == "meditron-meditron-7b"
    assert [version["name"] for version in kfp.versions.values()] == [submission.version_name]


def test_another_recipe_or_other_images_are_a_new_version_of_the_same_pipeline(kfp, server, submission, tmp_path):
    server.upload(submission)
    server.upload(Submission.of(cluster_recipe(tmp_path, kfp.url, pretrain={"seed": 2})))
    digests = {
        f"meditron/{image}:0.1.0": f"sha256:{'a' * 64}" for image in ("train", "pipeline", "quantize", "evaluate")
    }
    recipe = cluster_recipe(tmp_path, kfp.url, cluster={"steps": {}})
    server.upload(Submission.of(recipe, images=digests))
    assert len(kfp.pipelines) == 1
    names = [version["name"] for version in kfp.versions.values()]
    assert len(set(names)) == 3
    assert len({name.split("-")[1] for name in names}) == 1, "the code is the same"


def test_a_run_gets_what_the_recipe_says(kfp, tmp_path):
    kubeflow = {"service_account": "meditron", "pipeline_root": "s3://bucket/kfp"}
    submission = Submission.of(cluster_recipe(tmp_path, kfp.url, cluster={"kubeflow": kubeflow}))
    server = KfpServer(submission.recipe.cluster.kubeflow)
    version = server.upload(submission)
    run = kfp.runs[server.start(version, "a run")]
    assert run["display_name"] == "a run"
    assert kfp.experiments[run["experiment_id"]]["display_name"] == "tests"
    assert run["service_account"] == "meditron"
    assert run["runtime_config"] == {"pipeline_root": "s3://bucket/kfp", "parameters": {}}
    assert run["pipeline_version_reference"] == {
        "pipeline_id": version.pipeline_id,
        "pipeline_version_id": version.id,
    }
    server.start(version, "another")
    assert len(kfp.experiments) == 1


def test_a_multi_user_server_is_told_the_namespace(tmp_path):
    kfp = KfpFake(multi_user=True)
    submission = Submission.of(cluster_recipe(tmp_path, kfp.url, cluster={"kubeflow": {"namespace": "clinic"}}))
    server = KfpServer(submission.recipe.cluster.kubeflow)
    server.start(server.upload(submission), "a run")
    assert [experiment["namespace"] for experiment in kfp.experiments.values()] == ["clinic"]


def test_a_run_is_told_by_the_steps_of_the_dag(kfp, server, submission):
    run_id = server.start(server.upload(submission), "a run")
    kfp.moments = [
        Moment(
            "RUNNING",
            (
                ("meditron-7b-xyz", "RUNNING", 0, None),
                ("root-driver", "SUCCEEDED", 0, 4),
                ("plan-corpus-driver", "SUCCEEDED", 4, 8),
                ("plan-corpus", "SUCCEEDED", 8, 68),
                ("for-loop-1", "RUNNING", 70, None),
                ("prepare-documents", "SUCCEEDED", 71, 100),
                ("prepare-documents", "RUNNING", 72, None),
                ("executor", "RUNNING", 73, None),
            ),
        )
    ]
    run = server.run(run_id)
    tasks = {task.name: task for task in run.tasks}
    assert [*tasks][:3] == ["record-submission", "plan-corpus", "prepare-documents"]
    assert [*tasks][-1] == "register"
    [version] = kfp.versions.values()
    executors = version["pipeline_spec"]["pipeline_spec"]["deploymentSpec"]["executors"]
    assert set(tasks) == {label.removeprefix("exec-") for label in executors}, "all steps, and nothing else"
    assert (tasks["plan-corpus"].end - tasks["plan-corpus"].start).total_seconds() == 60
    assert (tasks["prepare-documents"].state, tasks["prepare-documents"].ended) == ("RUNNING", 1)
    assert tasks["prepare-documents"].count == 2
    assert tasks["pretrain"].state == "PENDING"
    server.run(run_id)
    assert kfp.asked("GET", "/pipelines/pipeline-0001/versions/") == 1, "the steps are asked for once"


def test_the_newest_runs_come_first(kfp, server, submission):
    version = server.upload(submission)
    for name in ("first", "second", "third"):
        server.start(version, name)
    assert [run.name for run in server.latest_runs(2)] == ["third", "second"]


def test_a_schedule_never_catches_up_nor_overlaps(kfp, server, submission):
    version = server.upload(submission)
    server.replace_schedule(version, "meditron-7b", "0 0 3 * * 1")
    [recurring] = kfp.recurring.values()
    assert recurring["no_catchup"] is True
    assert recurring["max_concurrency"] == "1"
    assert recurring["mode"] == "ENABLE"
    assert recurring["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert recurring["pipeline_version_reference"]["pipeline_version_id"] == version.id


def test_a_schedule_replaces_the_one_before_but_not_that_of_another_recipe(kfp, server, submission):
    version = server.upload(submission)
    other = server.replace_schedule(version, "another", "0 0 1 * * *")
    first = server.replace_schedule(version, "meditron-7b", "0 0 2 * * *")
    # As after a replacement that was cut short
    kfp.recurring["left-over"] = kfp.recurring[first.id] | {"recurring_run_id": "left-over"}
    last = server.replace_schedule(version, "meditron-7b", "0 0 3 * * *")
    assert set(kfp.recurring) == {other.id, last.id}
    assert [schedule.cron for schedule in server.schedules("meditron-7b")] == ["0 0 3 * * *"]


def test_what_is_not_there_has_the_status_404(server):
    with pytest.raises(KfpError, match="run no-such: 404 Run no-such not found") as caught:
        server.run("no-such")
    assert caught.value.status == 404
    assert not caught.value.is_passing


def test_a_refusal_tells_the_remedy_and_no_credentials(kfp, server, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "a-token-nobody-may-see")
    server = KfpServer(server.settings)
    kfp.refuse_all = (401, "Unauthenticated")
    with pytest.raises(KfpError, match="401 Unauthenticated; check KFP_TOKEN or KFP_COOKIE") as caught:
        server.latest_runs(1)
    assert "nobody-may-see" not in str(caught.value)
    assert kfp.headers[-1]["authorization"] == "Bearer a-token-nobody-may-see"


def test_a_server_that_is_not_there():
    with pytest.raises(KfpError, match=r"can't be reached \(MaxRetryError\); check cluster.kubeflow.host") as caught:
        KfpServer(KubeflowSettings(host="http://127.0.0.1:1")).version()
    assert caught.value.is_passing


def test_what_is_uploaded_is_the_compiled_yaml(kfp, server, submission):
    server.upload(submission)
    [version] = kfp.versions.values()
    spec = version["pipeline_spec"]["pipeline_spec"]
    constant = spec["root"]["dag"]["tasks"]["pretrain"]["inputs"]["parameters"]["settings"]["runtimeValue"]["constant"]
    assert json.loads(constant) == submission.recipe.pretrain.model_dump(mode="json")
