"""What is sent to Kubernetes for a job names secrets, and holds none."""

import json

import pytest

from components.platform.launcher.pytorchjob_spec import to_pytorchjob
from components.platform.launcher.trainjob_spec import to_trainjob
from tests.conftest import SECRET
from tests.pipelines.test_credentials import CREDENTIALS, assert_clean
from tests.platform.launching import JOB, settings


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    """The canary, where the launcher itself takes its credentials from."""
    for name in CREDENTIALS:
        monkeypatch.setenv(name, SECRET)


def test_a_pytorchjob_takes_its_credentials_from_secrets():
    job = json.dumps(to_pytorchjob(JOB, settings(secret_env=["meditron-s3"])))
    assert '"secretRef": {"name": "meditron-s3"}' in job
    assert_clean({"the job": job.encode()}, SECRET)


def test_a_trainjob_leaves_them_to_its_runtime():
    assert_clean({"the job": json.dumps(to_trainjob(JOB, settings())).encode()}, SECRET)
