"""A process that says so dies with another one, even with a shell in between that lives on."""

import subprocess
import sys
import time

import psutil

CHILD = """
import os, signal, sys, time
from components.platform.launcher.processes import die_with
die_with(int(sys.argv[1]), signal.SIGTERM)
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys
subprocess.run(["sh", "-c", '"$0" -c "$1" "$2"; true', sys.executable, sys.argv[1], str(os.getpid())])
"""


def test_death_of_a_grandparent():
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    assert child.ppid() != parent.pid, "a shell stands between them"
    time.sleep(0.2)
    assert child.is_running()
    parent.kill()
    parent.wait()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running()
    parent.stdout.close()
