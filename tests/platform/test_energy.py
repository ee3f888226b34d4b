"""Energy: the counters of the hardware, and the formula that makes kWh and CO₂ of them."""

import sys
from types import SimpleNamespace

import pytest

from components.platform.energy import EnergySettings, Usage, energy
from components.platform.energy_meters import CpuMeter, GpuMeter

SETTINGS = EnergySettings(power_usage_effectiveness=1.5, grams_co2_per_kwh=100)


def usage(seconds=1800.0, gpu_joules=None, cpu_joules=None, device="A100", devices=4):
    return Usage(device, devices, seconds, gpu_joules, cpu_joules)


def domain(root, name, title, energy_uj, full=1_000_000):
    folder = root / name
    folder.mkdir(parents=True)
    for file, content in (("name", title), ("energy_uj", energy_uj), ("max_energy_range_uj", full)):
        (folder / file).write_text(f"{content}\n")
    return folder


def test_all_starts_count():
    told = energy([usage(1800, 1.8e6), usage(900, 0.9e6, 0.9e6)], SETTINGS)
    assert (told.how, told.device_hours) == ("measured", 3.0)
    assert told.kwh == pytest.approx(1.5)  # 3.6 MJ are 1 kWh
    assert told.kg_co2 == pytest.approx(0.15)


def test_what_is_not_measured_is_not_made_up():
    starts = [usage(1800, 1.8e6), usage(1800, None, 5e5)]
    told = energy(starts, SETTINGS)
    assert (told.how, told.device_hours, told.kwh, told.kg_co2) == ("not measured", 4.0, None, None)
    estimated = energy(starts, SETTINGS.model_copy(update={"watts_per_device": 400.0}))
    assert estimated.how == "estimated"
    assert estimated.kwh == pytest.approx(4 * 400 / 1000 * 1.5)
    assert energy([], SETTINGS.model_copy(update={"watts_per_device": 400.0})).how == "not measured"


def test_without_gpus_the_machine_is_the_device():
    assert energy([usage(3600, None, 3.6e6, "machine", 1)], SETTINGS).kwh == pytest.approx(1.5)
    assert energy([usage(3600, None, None, "machine", 1)], SETTINGS).how == "not measured"


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    monkeypatch.setattr("components.platform.energy_meters.POWERCAP", tmp_path / "powercap")
    return tmp_path / "powercap"


def test_processors_and_memory_are_counted_once(powercap):
    package = domain(powercap, "intel-rapl:0", "package-0", 400_000)
    memory = domain(powercap, "intel-rapl:0:1", "dram", 100_000)
    cores = domain(powercap, "intel-rapl:0:0", "core", 300_000)
    system = domain(powercap, "intel-rapl:1", "psys", 900_000)
    domain(powercap, "intel-rapl", "control", 0)
    meter = CpuMeter.open()
    assert meter.joules() == 0
    for counter, value in ((package, 900_000), (memory, 150_000), (cores, 350_000), (system, 950_000)):
        (counter / "energy_uj").write_text(str(value))
    assert meter.joules() == pytest.approx(0.55)
    (package / "energy_uj").write_text("200000")  # full at 1 J, then from zero again
    meter.update()
    assert meter.joules() == pytest.approx(0.55 + 0.3)


def test_no_counters_no_meter(powercap):
    assert CpuMeter.open() is None
    powercap.mkdir()
    assert CpuMeter.open() is None
    (domain(powercap, "intel-rapl:0", "package-0", 0) / "energy_uj").unlink()
    assert CpuMeter.open() is None


class FakeNvml(SimpleNamespace):
    """NVML with one GPU whose counter is `millijoules`; None: it has no counter."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != "GPU-1":
            raise self.NVMLError("not found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        assert handle == "GPU-1"
        if self.millijoules is None:
            raise self.NVMLError("not supported")
        return self.millijoules


def test_counter_of_a_gpu(monkeypatch):
    nvml = FakeNvml(millijoules=5_000)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = GpuMeter.open("GPU-1")
    nvml.millijoules = 7_500
    assert meter.joules() == 2.5
    assert GpuMeter.open("GPU-2") is None
    nvml.millijoules = None
    assert GpuMeter.open("GPU-1") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert GpuMeter.open("GPU-1") is None
