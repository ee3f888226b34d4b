"""Platforms for the platform's own tests: on plain files, on an S3 server, and on one that fails; and a hub."""

import boto3
import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.storage import s3 as access
from tests.conftest import SECRET
from tests.platform.faults import FaultyProxy
from tests.platform.launching import cluster, start  # noqa: F401 - fixtures
from tests.platform.small_hub import SmallHub

HUB_TOKEN = "hf_aTokenThatNobodyMaySee"


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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A hub that the libraries take for huggingface.co."""
    import datasets
    import huggingface_hub

    server, cache = SmallHub(), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        constants = huggingface_hub.constants
        patch.setattr(constants, "ENDPOINT", server.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        patch.setattr(datasets.config, "HF_ENDPOINT", server.url)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
        patch.setenv("HF_TOKEN", HUB_TOKEN)
        yield server
    server.close()
