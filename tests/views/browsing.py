"""A real browser for the page's tests, where there is one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing() -> str:
    """Why there is no browser to test with; ``""`` where there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "the page is not tested in a browser: selenium is not installed"
    if not any(map(shutil.which, CHROMIUMS)):
        return "the page is not tested in a browser: there is no chromium"
    if not shutil.which("chromedriver"):
        return "the page is not tested in a browser: there is no chromedriver"
    return ""


def start(width: int = 1280, height: int = 800) -> Any:
    """A headless Chromium without a network."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(found for found in map(shutil.which, CHROMIUMS) if found)
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",  # whatever asks a network fails, and is on the console
        f"--window-size={width},{height}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    return driver


READ = """
    const names = arguments[1];
    const read = e => names.length > 1 ? names.map(n => e.getAttribute(n)) : e.getAttribute(names[0]);
    return [...document.querySelectorAll(arguments[0])].map(names.length ? read : e => e.textContent);
"""
EDGES = """
    const edges = [...document.querySelectorAll("#graph .edge")];
    return edges.map(e => [e.dataset.from, e.dataset.to, e.querySelector("title").textContent]);
"""
SEARCH = """
    const box = document.getElementById("search");
    box.value = arguments[0];
    box.dispatchEvent(new Event("input"));
    document.getElementById("results").dataset.count = "waiting";
"""
CLICK = """
    const element = document.querySelector(arguments[0]);
    const fire = name => element.dispatchEvent(new MouseEvent(name, {bubbles: true}));
    fire("click");
    if (arguments[1]) { fire("click"); fire("dblclick"); }
"""
COLOUR = """
    const box = document.getElementById("colour");
    box.value = arguments[0];
    box.dispatchEvent(new Event("change"));
"""
DETAILS = "return [...document.querySelectorAll('#details [data-field]')].map(e => [e.dataset.field, e.textContent])"


class Page:
    """One page that is open in the browser."""

    def __init__(self, browser: Any, file: Path, *, address: str = "") -> None:
        self.browser = browser
        browser.get("about:blank")
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(file.as_uri() + address)
        self.until(lambda: self.script("return document.body && document.body.dataset.ready === 'true'"), 60)

    def script(self, code: str, *arguments: Any) -> Any:
        return self.browser.execute_script(code, *arguments)

    def until(self, check: Callable[[], Any], seconds: float = 10) -> Any:
        end = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < end, f"not within {seconds} s; console: {self.browser.get_log('browser')}"
            time.sleep(0.02)
        return found

    def all(self, selector: str, *names: str) -> list[Any]:
        """Of every element its text, or the values of attributes."""
        return list(self.script(READ, selector, names))

    def one(self, selector: str, *names: str) -> Any:
        found = self.all(selector, *names)
        assert len(found) == 1, f"{selector}: {len(found)} elements"
        return found[0]

    def boxes(self, selector: str) -> list[dict[str, float]]:
        """Where elements are on the screen."""
        code = "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().toJSON())"
        return list(self.script(code, selector))

    def expand(self, path: str) -> None:
        self.script("window.modelexport.expand(arguments[0])", path)

    def collapse(self, path: str) -> None:
        self.script("window.modelexport.collapse(arguments[0])", path)

    def items(self) -> set[str]:
        return set(self.all("#graph .item", "data-id"))

    def edges(self) -> dict[tuple[str, str], int]:
        """By the ids of their ends, what the title counts."""
        return {(a, b): int(title.split()[0].replace(",", "")) for a, b, title in self.script(EDGES)}

    def search(self, text: str) -> list[str]:
        """Type into the search and return the hits that are listed."""
        self.script(SEARCH, text)
        self.until(lambda: self.one("#results", "data-count") != "waiting")
        return self.all("#results button")

    def hits(self) -> int:
        return int(self.one("#results", "data-count"))

    def click(self, selector: str, *, double: bool = False) -> None:
        self.script(CLICK, selector, double)

    def press(self, key: str, *, shift: bool = False) -> None:
        """A key to whatever has the focus."""
        from selenium.webdriver import ActionChains, Keys

        keys = ActionChains(self.browser)
        if shift:
            keys = keys.key_down(Keys.SHIFT)
        keys = keys.send_keys(getattr(Keys, key, key))
        (keys.key_up(Keys.SHIFT) if shift else keys).perform()

    def colour(self, value: str) -> None:
        self.script(COLOUR, value)

    def details(self) -> dict[str, str]:
        return dict(self.script(DETAILS))

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened, itself left out."""
        found = []
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return [address for address in found if not address.startswith(("file:", "about:", "data:"))]
