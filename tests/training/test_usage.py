"""The account of what training takes: over ranks, and over starts."""

from __future__ import annotations

from pathlib import Path

from components.platform import energy_meters
from components.platform.energy import Usage
from components.training.process import start_process
from components.training.settings import LayoutSettings
from components.training.usage import UsageLog, read_usage
from tests.training.ranks import run_ranks

MICROJOULES = {"before": 1_000_000, "after": 3_500_000}
LAYOUT = LayoutSettings(data_parallel_size=2)


def write_counter(root: Path, value: int) -> None:
    domain = root / "intel-rapl:0"
    domain.mkdir(parents=True, exist_ok=True)
    for name, content in {"name": "package-0", "energy_uj": value, "max_energy_range_uj": 10**9}.items():
        (domain / name).write_text(str(content))


def account(folder: Path) -> None:
    energy_meters.POWERCAP = folder / "powercap"
    process = start_process(LAYOUT, 1)
    log = UsageLog(folder / "usage.json", process)
    log.note()
    if process.is_main and (folder / "powercap").exists():
        write_counter(folder / "powercap", MICROJOULES["after"])
    log.update()
    log.note()


def test_starts_add_up_and_only_what_was_measured_is_told(tmp_path: Path) -> None:
    run_ranks(2, account, tmp_path)
    [first] = read_usage(tmp_path / "usage.json")
    assert (first.device, first.devices, first.gpu_joules, first.cpu_joules) == ("machine", 1, None, None)
    assert first.seconds > 0
    write_counter(tmp_path / "powercap", MICROJOULES["before"])
    run_ranks(2, account, tmp_path)
    before, second = read_usage(tmp_path / "usage.json")
    assert before == first
    assert second == Usage("machine", 1, second.seconds, None, 2.5)
