"""Platforms for the platform's own tests: on plain files, on an S3 server, and on one that fails."""

import boto3
import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.storage import s3 as access
from tests.conftest import SECRET
from tests.platform.faults import FaultyProxy


@pytest.fixture
def platform(tmp_path):
    (tmp_path / "data").mkdir()
    return PlatformSettings(
        data=str(tmp_path / "data"),
        workspace=str(tmp_path / "runs"),
        tracking=TrackingSettings(uri=f"sqlite:///{tmp_path}/runs/mlflow.db", artifacts=str(tmp_path / "mlartifacts")),
    )


@pytest.fixture
def s3_platform(platform, bucket):
    return platform.model_copy(update={"data": f"{bucket}/data", "workspace": f"{bucket}/runs"})


@pytest.fixture
def s3(s3_server, bucket):
    """A client of the server itself, past proxies and past the code that is tested."""
    return boto3.client("s3", endpoint_url=s3_server)


def put(s3, location, content):
    bucket, _, key = location.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=content)


@pytest.fixture
def proxy(s3_server, bucket, monkeypatch):
    """Stands between the platform and the server, and spoils what it is told to."""
    proxy = FaultyProxy(s3_server, SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    access.forget_client()
    yield proxy
    proxy.close()
