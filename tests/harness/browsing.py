"""A browser, pages that are open in it, and what a visitor does there.

The fixtures ``browser`` and ``visit`` are for all tests: tests/conftest.py loads this as a plugin.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Pages that Chromium takes for hidden get no frames.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("GRAPHNN_CHROMIUM") != "required",
    reason="no chromium here",
)


class Visitor:
    """A page that is open, and what went wrong on it."""

    def __init__(self, page: Any, troubles: list[str]) -> None:
        self.page = page
        self.troubles = troubles

    def tell(self, code: str) -> Any:
        return self.page.evaluate(code)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))

    def node_named(self, name: str) -> int:
        found = self.tell(
            f"Array.from({{length: explorer.graph.count}}, (_, i) => i)"
            f".find((i) => explorer.graph.name(i) === {json.dumps(name)})"
        )
        assert isinstance(found, int), name
        return found

    def click_node(self, node: int) -> None:
        x, y = self.tell(
            f"(() => {{ const b = explorer.graph.box({node});"
            " return explorer.camera.toScreen(b.x + b.width / 2, b.y + b.height / 2); })()"
        )
        self.page.locator("#canvas").click(position={"x": x, "y": y})

    def colours(self, left: int = 0, top: int = 0, size: int = 0) -> set[tuple[int, int, int]]:
        """The colours of a square of the picture, or of all of it."""
        found = self.tell(
            "(() => { const c = explorer.canvas;"
            " const s = new OffscreenCanvas(c.width, c.height);"
            " const context = s.getContext('2d', {willReadFrequently: true});"
            " context.drawImage(c, 0, 0);"
            f" const [w, h] = [{size} || c.width, {size} || c.height];"
            f" const d = context.getImageData({left}, {top}, w, h);"
            " return [...new Set(new Uint32Array(d.data.buffer))]; })()"
        )
        return {(each & 255, each >> 8 & 255, each >> 16 & 255) for each in found}

    def until(self, condition: str) -> None:
        """Wait. Playwright's own way evaluates texts inside the page, whose policy forbids it."""
        deadline = time.monotonic() + 60
        while not self.tell(condition):
            assert time.monotonic() < deadline, condition
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        self.page.bring_to_front()
        self.until("!explorer.isWaiting")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    contexts, troubles = [], []
    allowed: list[str] = []

    def trouble(text: str) -> None:
        troubles.append(text)

    def asked(request: Any) -> None:
        if request.url.partition("#")[0] not in allowed and not request.url.startswith("data:"):
            troubles.append(f"asked for {request.url}")

    def open_page(
        content: str, hash: str = "", width: int = 1280, height: int = 800, **look: Any
    ) -> Visitor:
        path = tmp_path / "page.html"
        path.write_text(content, "utf-8")
        allowed.append(path.as_uri())
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **look
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble(str(error)))
        page.on("request", asked)
        page.goto(path.as_uri() + hash)
        page.wait_for_selector("html[data-painted]", timeout=60_000)
        return Visitor(page, troubles)

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
