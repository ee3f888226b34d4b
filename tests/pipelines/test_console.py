"""The console shows what steps print, and none of the executor's dumps."""

import io
import threading

from pipelines.console import QuietConsole

RAW = """\
08:36:40.974 - INFO - Running pipeline: 'p-x'
--------------------------------------------------------------------------------
08:36:40.977 - INFO - Executing task 'corpus'
08:36:40.977 - INFO - Streamed logs:

    [KFP Executor 2026-11-23 08:36:41,030 INFO]: Looking for component `a`
    [KFP Executor 2026-11-23 08:36:41,030 INFO]: Got executor_input:
    {
        "inputs": {
            "parameterValues": {"settings": "{"},
            "artifacts": [
                "a",
                "}"
            ]
        }
    }
    corpus  1/2 documents
      File "x.py", line 1
    [KFP Executor 2026-11-23 08:36:41,032 INFO]: Wrote executor output file to /tmp/x.


08:36:41.042 - INFO - Task [96m'corpus'[0m finished with status SUCCESS
08:36:41.043 - INFO - Task 'corpus' outputs:
    out: Dataset( name='out',
                  uri='/tmp/out' )
--------------------------------------------------------------------------------
08:36:41.102 - INFO - Pipeline 'p-x' finished with status SUCCESS
the end
"""


QUIET = [
    "08:36:40.977 - INFO - Executing task 'corpus'",
    "corpus  1/2 documents",
    '  File "x.py", line 1',
    "08:36:41.042 - INFO - Task 'corpus' finished with status SUCCESS",
    "the end",
]


def test_only_what_people_want_to_see():
    target = io.StringIO()
    console = QuietConsole(target)
    for start in range(0, len(RAW), 7):  # lines arrive in pieces
        console.write(RAW[start : start + 7])
    assert target.getvalue().splitlines() == QUIET


def test_steps_side_by_side():
    """Their lines come from two threads in turn, and the one that began later is indented by both."""
    target = io.StringIO()
    console = QuietConsole(target)
    turn, done = threading.Condition(), []

    def write(number, lines):
        for line in lines:
            with turn:
                turn.wait_for(lambda: len(done) % 2 == number)
                console.write(line)
                done.append(line)
                turn.notify_all()

    deeper = [f"    {line}" if line.startswith((" ", "-")) else line for line in RAW.splitlines(keepends=True)]
    threads = [threading.Thread(target=write, args=pair) for pair in enumerate((RAW.splitlines(keepends=True), deeper))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert target.getvalue().splitlines() == [line for line in QUIET for _ in range(2)]
