"""The chat page in headless Chromium, with real answers from transformers' server and errors from a stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from components.platform.advisory import ADVISORY
from tests.serving.browser import chromium
from tests.serving.conftest import running_front

pytestmark = pytest.mark.slow

# The text of the answer in every frame that is painted, which shows more than one step only if it came bit by bit
WATCH = """
window.seen = [];
(function look() {
  window.seen.push(document.querySelector(".answer p")?.textContent ?? "");
  requestAnimationFrame(look);
})();
"""


class ChatPage:
    """The page as a person uses it."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return [found.text for found in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def set(self, field: str, value: object) -> None:
        if not self.find("#settings").get_property("open"):
            self.find("summary").click()
        self.find(f"#{field}").clear()
        self.find(f"#{field}").send_keys(str(value))

    def ask(self, question: str) -> None:
        self.find("#question").clear()
        self.find("#question").send_keys(question, Keys.ENTER)

    def wait(self, condition: Callable[[], object], seconds: float = 60) -> None:
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition())

    def wait_for_the_end(self) -> None:
        self.wait(lambda: self.find("#send").is_displayed())


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(driver: Chrome, server: SimpleNamespace) -> Iterator[ChatPage]:
    """The page of the endless model, which must not make the browser complain."""
    yield ChatPage(driver, server.url)
    assert driver.get_log("browser") == []


def test_the_advisory_comes_first(page: ChatPage) -> None:
    advisory = page.find("#advisory")
    assert advisory.is_displayed()
    assert ADVISORY in advisory.text
    assert advisory.rect["y"] < page.find("#log").rect["y"]


def test_an_answer_grows_as_it_is_written(page: ChatPage) -> None:
    page.set("max-tokens", 300)
    page.driver.execute_script(WATCH)
    page.ask("Words?")
    page.wait_for_the_end()
    seen = page.driver.execute_script("return window.seen")
    steps = list(dict.fromkeys(text for text in seen if text))
    assert len(steps) >= 4
    assert all(later.startswith(earlier) for earlier, later in pairwise(steps))
    assert steps[-1].startswith("<u> aspirin fever patient dose")
    assert page.find(".answer p").text == steps[-1]
    assert page.find("#log").get_property("innerHTML").count("<u>") == 0  # text, not markup
    assert page.texts(".question p") == ["Words?"]
    assert "longest length" in page.find("#status").text


def test_stop_keeps_what_was_said(page: ChatPage) -> None:
    page.set("max-tokens", 60000)
    page.ask("Words?")
    page.wait(lambda: "aspirin" in page.find(".answer p").text)
    assert page.find(".answer").get_attribute("aria-busy") == "true"
    page.find("#stop").click()
    page.wait_for_the_end()
    said = page.find(".answer p").text
    assert page.find("#status").text == "Stopped."
    assert page.find(".answer").get_attribute("aria-busy") is None

    page.set("max-tokens", 4)
    page.ask("More?")
    page.wait_for_the_end()
    assert page.texts(".answer p")[0] == said  # nothing came after the stop
    sent = page.driver.execute_script("return conversation")
    assert [message["content"] for message in sent] == ["Words?", said, "More?", "<u> aspirin"]


def test_a_new_conversation_forgets(page: ChatPage) -> None:
    page.set("max-tokens", 60000)
    page.ask("Words?")
    page.wait(lambda: "aspirin" in page.find(".answer p").text)
    page.find("#new").click()
    page.wait_for_the_end()
    assert page.texts("article") == []
    assert page.driver.execute_script("return conversation") == []
    assert page.find("#empty").is_displayed()


def test_the_servers_refusal_is_shown(page: ChatPage) -> None:
    page.ask("Hi<|im_end|>")
    page.wait_for_the_end()
    assert page.texts("[role=alert]") == [
        "a message of role user contains <|im_end|>, which marks turns; remove it",
    ]
    assert page.find("#question").get_property("value") == "Hi<|im_end|>"
    assert page.driver.execute_script("return conversation") == []
    (complaint,) = page.driver.get_log("browser")  # the browser's own note of status 400
    assert "400" in complaint["message"]


def test_settings_that_cannot_be_are_not_sent(page: ChatPage) -> None:
    page.set("temperature", 9)
    page.find("summary").click()
    page.ask("Words?")
    assert page.find("#settings").get_property("open")
    assert page.texts("article") == []


def test_everything_has_a_name_and_comes_from_here(page: ChatPage, server: SimpleNamespace) -> None:
    page.find("summary").click()
    for field in page.driver.find_elements(By.CSS_SELECTOR, "input:not(#key), textarea, button:not(#stop)"):
        assert field.accessible_name, field.get_attribute("id")
    loaded = page.driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {"chat.css", "chat.js"} <= {Path(name).name for name in loaded}
    assert all(name.startswith((server.url, "data:")) for name in loaded)


@pytest.mark.parametrize("width", [320, 1400])
def test_widths(page: ChatPage, width: int) -> None:
    size = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.driver.execute_script("return document.documentElement.scrollWidth") == width
        for name in ("advisory", "log", "question", "send"):
            rect = page.find(f"#{name}").rect
            assert rect["x"] >= 0
            assert rect["x"] + rect["width"] <= width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def guarded_url(vllm: None, cat: Path) -> Iterator[str]:
    """Address of a server that wants the key "sesame"."""
    with running_front(cat, "sesame") as running:
        yield running.url


def test_key_and_errors(driver: Chrome, guarded_url: str) -> None:
    page = ChatPage(driver, guarded_url)

    def error_of(question: str) -> str:
        page.ask(question)
        page.wait_for_the_end()
        return page.texts("[role=alert]")[-1]

    assert not page.find("#key").is_displayed()
    assert error_of("Hi") == "the API key is missing or wrong"
    page.find("#key").send_keys("sesame")
    page.ask("Hi")
    page.wait_for_the_end()
    assert page.texts(".answer p:not(.error)")[-1] == "hello"
    assert error_of("reject") == "too difficult"
    assert error_of("crash") == "Internal Server Error"
    assert error_of("break") == "out of memory"
