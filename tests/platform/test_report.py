"""Report pages are self-contained, escaped and the same twice."""

from components.platform.report import Page, new_figure


def build():
    page = Page("Loss < 1 & rising")
    page.table(["name", "tokens"], [["<b>", 1234567], ["x", 0.5]])
    for _ in range(2):
        figure = new_figure()
        figure.subplots().plot([1, 2], [3, 4])
        page.figure(figure, "a line")
    return page.html()


def test_page():
    html = build()
    assert "<h1>Loss &lt; 1 &amp; rising</h1>" in html
    assert "&lt;b&gt;" in html
    assert '<td class="number">1,234,567</td>' in html
    assert html.count("<svg") == 2
    assert "http://" not in html.split("<svg")[0]


def test_same_bytes_twice():
    assert build() == build()


def test_ids_of_two_figures_differ():
    import re

    ids = re.findall(r' id="([^"]+)"', build())
    assert len(ids) == len(set(ids))
