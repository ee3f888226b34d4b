"""Text from outside in what people read: reports, cards and the terminal show it, and none of it acts."""

import io
from contextlib import redirect_stdout

import pytest

from components.corpus.datacard import _table
from components.platform.report import Page, new_figure
from components.serving.terminal.conversation import ask, printable
from components.serving.terminal.model import Sampling

SCRIPT = "<script>alert(1)</script>"


def test_a_report_shows_markup_as_text():
    page = Page(SCRIPT)
    page.heading(SCRIPT)
    page.text(SCRIPT)
    page.table([SCRIPT], [[SCRIPT], ["<img src=x onerror=alert(1)>"]], caption=SCRIPT)
    figure = new_figure()
    figure.subplots().set(title=SCRIPT, xlabel=SCRIPT)
    page.figure(figure, SCRIPT)
    assert "<script" not in page.html()
    assert "<img" not in page.html()
    assert page.html().count("&lt;script&gt;") >= 8


def test_a_card_s_cells_stay_cells():
    lines = _table(("file", "licence"), [(SCRIPT, "a | b\nc"), ("[x](javascript:alert(1))", 5000)])
    assert lines[2] == "| &lt;script&gt;alert(1)&lt;/script&gt; | a \\| b c |"
    assert len(lines) == 4
    assert lines[3].endswith("| 5,000 |")


CONTROLS = {
    "\x1b[2J": "[2J",
    "\x1b]52;c;ZXZpbA==\x07": "]52;c;ZXZpbA==",  # fills the clipboard
    "\x9b2J": "2J",
    "\r": "",
    "\x00": "",
    "\u202e": "",  # turns the direction of what follows
}


@pytest.mark.parametrize("control", CONTROLS, ids=repr)
def test_an_answer_commands_no_terminal(control):
    assert printable(f"dose{control}\n\tof 5 mg") == f"dose{CONTROLS[control]}\n\tof 5 mg"


def test_what_a_model_says_is_shown_without_controls(whole_model):
    from transformers import AutoTokenizer

    class Model:
        tokenizer = AutoTokenizer.from_pretrained(whole_model)

        def answer(self, messages, sampling, streamer, stopped):
            streamer.on_finalized_text("5 mg\x1b[2J", stream_end=True)
            return "5 mg"

    shown = io.StringIO()
    with redirect_stdout(shown):
        ask(Model(), [{"role": "question", "content": "?"}], Sampling(5, 0.0, 1.0))
    assert shown.getvalue() == "5 mg[2J\n"
