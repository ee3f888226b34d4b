"""The network measurement, with two ranks of gloo on this machine, started as any job is."""

from __future__ import annotations

import re

import pytest

from components.platform.launcher import JobSpec, LaunchError, launch
from components.platform.launcher.bandwidth import bus_bandwidth
from components.platform.launcher.bandwidth_gate import gate_job
from components.platform.launcher.settings import LauncherSettings


def test_bus_bandwidth_does_not_depend_on_the_number_of_ranks() -> None:
    """A ring of n ranks over links of 10 GB/s takes 2 (n - 1) / n · size / 10 GB/s."""
    for ranks in (2, 8, 128):
        seconds = 2 * (ranks - 1) / ranks * 4e9 / 10e9
        assert bus_bandwidth(4 * 10**9, seconds, ranks) == pytest.approx(10)


def gate(minimum: float) -> JobSpec:
    settings = LauncherSettings(min_bus_bandwidth_gb_per_second=minimum)
    return gate_job(JobSpec("pretrain", "m", (), nproc_per_node=2), settings)


@pytest.mark.slow
def test_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    launch(gate(1e-6), LauncherSettings())
    output = capsys.readouterr().out
    found = re.search(r"all-reduce over 2 ranks: (\S+) GB/s of bus bandwidth", output)
    assert 1e-3 < float(found[1]) < 1e4

    with pytest.raises(LaunchError, match=r"too slow: \S+ GB/s .* below launcher.min_bus_bandwidth_gb_per_second=1e"):
        launch(gate(1e9), LauncherSettings())
