"""Work that is shared out over processes."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.platform.errors import InputError, UserError
from components.platform.workers import THREAD_VARIABLES, share_out

pytestmark = pytest.mark.slow

PARENT = """
import sys, time
from components.platform.workers import share_out
from tests.platform.test_workers import note_and_sleep
if __name__ == "__main__":
    list(share_out(note_and_sleep, sys.argv[1], ["a", "b"], 2))
"""


class Counted:
    """Counts how often it is sent."""

    sent = 0

    def __reduce__(self):
        Counted.sent += 1
        return Counted, ()


class OddError(Exception):
    """Made with something else than its message."""

    def __init__(self, number, place):
        super().__init__(f"{number} at {place}")


def add(shared, item):
    time.sleep(0.2 / (1 + item))  # the last ones are finished first
    return shared + item, os.getpid()


def nothing(shared, item):
    return item


def fail(shared, item):
    (Path(shared) / str(item)).touch()
    if item == 1:
        raise InputError("notes.jsonl: line 7 is not JSON")
    time.sleep(0.01)
    return item


def fail_oddly(shared, item):
    raise OddError(item, "here")


def die(shared, item):
    os.kill(os.getpid(), signal.SIGKILL)


def environment(shared, item):
    return {name: os.environ.get(name) for name in THREAD_VARIABLES}


def disposition(shared, item):
    return signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def note_and_sleep(folder, item):
    Path(folder, f"{item}.{os.getpid()}").touch()
    time.sleep(60)


def test_results_come_in_the_order_of_the_items():
    results = list(share_out(add, 100, [0, 1, 2, 3, 4], 2))
    assert [sum_ for sum_, _ in results] == [100, 101, 102, 103, 104]
    processes = {process for _, process in results}
    assert len(processes) == 2
    assert os.getpid() not in processes


@pytest.mark.parametrize(("items", "workers"), [([0, 1, 2], 1), ([5], 8), ([], 8)])
def test_one_worker_or_one_item_needs_no_process(items, workers):
    unsendable = ctypes.c_void_p(1)
    assert list(share_out(lambda shared, item: (shared is unsendable, os.getpid()), unsendable, items, workers)) == [
        (True, os.getpid()) for _ in items
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work_and_keeps_its_message(tmp_path, workers):
    results = share_out(fail, str(tmp_path), list(range(1000)), workers)
    assert next(results) == 0
    with pytest.raises(InputError, match=r"^notes.jsonl: line 7 is not JSON$"):
        list(results)
    assert len(list(tmp_path.iterdir())) < 100


def test_an_error_that_does_not_survive_the_way_back_is_told_all_the_same():
    with pytest.raises(RuntimeError, match=r"^OddError: 0 at here$"):
        list(share_out(fail_oddly, None, [0, 1], 2))


def test_a_killed_worker_is_explained():
    with pytest.raises(UserError, match=r"a worker process was killed, most likely for want of memory; set fewer"):
        list(share_out(die, None, [0, 1], 2))


def test_what_all_share_is_pickled_once():
    Counted.sent = 0
    assert list(share_out(nothing, Counted(), list(range(50)), 2)) == list(range(50))
    assert Counted.sent == 1


@pytest.mark.timeout(60)
def test_what_can_not_be_sent_is_an_error_at_once():
    with pytest.raises(ValueError, match="ctypes objects containing pointers cannot be pickled"):
        list(share_out(nothing, ctypes.c_void_p(1), [0, 1], 2))
    with pytest.raises(ValueError, match="ctypes objects containing pointers cannot be pickled"):
        list(share_out(nothing, None, [ctypes.c_void_p(1), 1], 2))


def test_workers_have_one_thread_each_and_the_parent_what_it_had(monkeypatch):
    monkeypatch.setenv(THREAD_VARIABLES[0], "7")
    for name in THREAD_VARIABLES[1:]:
        monkeypatch.delenv(name, raising=False)
    before = environment(None, None)
    results = share_out(environment, None, [0, 1], 2)
    assert next(results) == dict.fromkeys(THREAD_VARIABLES, "1")
    assert environment(None, None) == before, "while the work is under way too"
    results.close()


def test_ctrl_c_is_left_to_the_parent():
    assert list(share_out(disposition, None, [0, 1], 2)) == [True, True]


def test_workers_die_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    notes = tmp_path / "notes"
    notes.mkdir()
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, script, notes], cwd=root, env=environment)
    while len(list(notes.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(note.suffix[1:])) for note in notes.iterdir()]
    parent.kill()
    parent.wait()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
