"""Progress lines say how far, how fast and how long still."""

from components.platform import progress
from components.platform.progress import Progress


def test_lines(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 4.0, 4.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = Progress("pretrain", 40, "iterations")
    bar.update(2, loss=8.25)  # one second in: too early for a line
    bar.update(8, loss=7.5)
    bar.close()
    assert capsys.readouterr().out.splitlines() == [
        "pretrain  10/40 iterations  25%  2.5 iterations/s  ETA 0:12  loss=7.5",
        "pretrain  10/40 iterations  25%  1 iterations/s  took 0:10  loss=7.5",
    ]


def test_resumed_work_is_shown_but_not_counted_in_the_rate(monkeypatch, capsys):
    clock = iter([0.0, 10.0, 10.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    Progress("pretrain", 40, "iterations", done=20).update(10)
    assert "30/40 iterations  75%  1 iterations/s  ETA 0:10" in capsys.readouterr().out


def test_unknown_total(capsys):
    with Progress("corpus", None, "documents") as bar:
        bar.update(1234)
    assert capsys.readouterr().out.startswith("corpus  1,234 documents  ")
