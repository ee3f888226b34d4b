"""A platform on plain files for the platform's own tests."""

import pytest

from components.platform.context import PlatformSettings, TrackingSettings


@pytest.fixture
def platform(tmp_path):
    (tmp_path / "data").mkdir()
    return PlatformSettings(
        data=str(tmp_path / "data"),
        workspace=str(tmp_path / "runs"),
        tracking=TrackingSettings(uri=f"sqlite:///{tmp_path}/runs/mlflow.db", artifacts=str(tmp_path / "mlartifacts")),
    )
