"""What all tests share: the real data, an environment that says nothing about it, and an S3 server on loopback."""

import os
import shutil
from pathlib import Path

import pytest

from components.platform.storage import s3 as access

SECRET = "a-key-that-nobody-may-see"
_BESIDE = Path(__file__).parents[2] / "shared" / "data"
# Taken away at once: a caller's choice of data must not win over the data roots of the tests' own recipes
REAL_DATA = Path(os.environ.pop("MEDITRON_DATA", "") or _BESIDE)


@pytest.fixture
def real_data() -> Path:
    """The real sample files; tests that need them are skipped where they are not at hand."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set MEDITRON_DATA")
    return REAL_DATA


@pytest.fixture(scope="session")
def s3_server():
    """The address of an S3 server."""
    from moto.server import ThreadedMotoServer  # takes seconds to import

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server, tmp_path, monkeypatch):
    """The address of a bucket that the platform is set up for."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MEDITRON_SCRATCH": str(tmp_path / "scratch"),
    }.items():
        monkeypatch.setenv(name, value)
    access.forget_client()
    name = f"meditron-{tmp_path.name.replace('_', '-').lower()}"
    access.client().create_bucket(Bucket=name)
    yield f"s3://{name}"
    access.forget_client()


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """A database of MLflow; to make its tables takes seconds, to copy it none."""
    import mlflow

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow_uri(tmp_path, empty_mlflow):
    return f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}"
