"""A platform on files, whose MLflow is a database in the workspace."""

import pytest

from components.platform.context import PlatformSettings, TrackingSettings


@pytest.fixture
def platform(tmp_path, monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", f"run of {tmp_path.name}")
    tracking = TrackingSettings(uri=f"sqlite:///{tmp_path}/runs/mlflow.db", artifacts=str(tmp_path / "mlartifacts"))
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)
