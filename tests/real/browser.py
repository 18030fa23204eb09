"""A real headless Chromium, and the dashboard opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

SECONDS = 15.0
"""Until something must be seen, on a machine that others use as well."""


def chromium() -> str:
    """Its path. It is never skipped: without it the test fails and says why."""
    name = os.environ.get("PACELINE_CHROMIUM", "chromium")
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"no {name}; run tests/real/install_browser", pytrace=False)
    return path


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A browser; closed at the block's end."""
    async with async_playwright() as playwright:
        # its sandbox does not work for root, and it sees nothing but this machine's own page
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = await playwright.chromium.launch(executable_path=chromium(), args=options)
        try:
            yield browser
        finally:
            await browser.close()


class Opened:
    """The dashboard in a tab, with whatever went wrong there."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._url = url
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.on("request", lambda request: self.requests.append(request.url))

    async def go(self) -> None:
        """Open it and wait for its first state."""
        await self.page.goto(f"{self._url}/paceline/ui")
        await self.page.wait_for_selector("#live.on", timeout=SECONDS * 1000)

    async def shows(self, selector: str, text: str) -> None:
        """Wait until an element has this in its text."""
        found = self.page.locator(selector, has_text=text).first
        await found.wait_for(state="attached", timeout=SECONDS * 1000)

    async def text(self, selector: str) -> str:
        """The text of an element."""
        return await self.page.locator(selector).inner_text()

    async def polls(self) -> int:
        """How many states it has drawn."""
        return int(await self.page.locator("body").get_attribute("data-polls") or 0)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)


@asynccontextmanager
async def dashboard(browser: Browser, port: int, **options: Any) -> AsyncIterator[Opened]:
    """The dashboard of the proxy on that port, drawn once; nothing may have gone wrong there."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, **options)
    opened = Opened(await context.new_page(), f"http://127.0.0.1:{port}")
    await opened.go()
    yield opened
    await context.close()
    assert opened.errors == []
    assert {url.rpartition("/paceline/")[0] for url in opened.requests} == {opened._url}
