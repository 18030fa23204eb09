"""The dashboard in a real browser: it shows what happens, to whom it may, and at no one's cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from playwright.async_api import Error

from paceline.proxy.access.keys import make
from paceline.proxy.config import AdminConfig, Config
from paceline.scheduler.config import SchedulerConfig
from tests.proxy.scripted import Conversation, Script, engine, reply
from tests.proxy.whole import MODELS, Whole, backend, whole
from tests.real.browser import SECONDS, browsing, dashboard
from tests.scheduler.dialogue import request

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]

SHARED = "the beginning of all prompts " * 300
"""About 2,000 tokens: followers wait for as much."""
MARKUP = "<img src=x onerror=alert(1)>"
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def answering(gate: asyncio.Event) -> Script:
    """An engine that answers nothing until the gate is open."""

    async def script(conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            if head.startswith("POST"):
                await gate.wait()
                usage = b'{"usage":{"prompt_tokens":2000,"completion_tokens":9,'
                details = b'"prompt_tokens_details":{"cached_tokens":1000}}}'
                await conversation.say(reply(usage + details))
            else:
                await conversation.say(MODELS)

    return script


@asynccontextmanager
async def blocked(gate: asyncio.Event, config: Config, **facts: object) -> AsyncIterator[Whole]:
    """A proxy before one such engine."""
    async with engine(answering(gate)) as one:
        backends = [msgspec.structs.replace(backend(one.port), **facts)]
        async with whole(msgspec.structs.replace(config, backends=backends)) as proxy:
            yield proxy


def chat(proxy: Whole, number: int) -> asyncio.Task[object]:
    """A request of the family, by a tenant with a name to be afraid of."""
    said = [{"role": "system", "content": SHARED}, {"role": "user", "content": f"secret {number}"}]
    body = {"model": "m", "messages": said, "stream": True}
    line = f"x-paceline-tenant: {MARKUP}"
    return asyncio.create_task(proxy.ask("POST", "/v1/chat/completions", body, line))


async def test_who_leads_and_who_waits() -> None:
    """A leader, its followers held for it, then all of them answered, with the reasons."""
    gate = asyncio.Event()
    async with (
        blocked(gate, Config(), leader_first=True) as proxy,
        browsing() as browser,
        dashboard(browser, proxy.port) as page,
    ):
        await page.shows("#findings", "Nothing needs a look.")
        await page.shows("#trie", "No two prompts share a prefix")
        chats = [chat(proxy, number) for number in range(3)]
        await page.shows("#causes", "2 held for a leader")
        await page.shows("#families", "e0 computes it since")
        await page.shows("#families", MARKUP)
        await page.shows("#trie", "leads on e0, 2 wait")
        gate.set()
        await asyncio.gather(*chats)
        await page.shows("#causes", "Nothing waits.")
        await page.shows("#decisions", "its leader had computed their prefix")
        await page.shows("#backends", "50%")
        assert await page.page.locator("#failures-section").is_hidden()
        assert "secret" not in await page.page.content()


async def test_ten_thousand_may_wait() -> None:
    """The page stays as small, the proxy answers in no time."""
    config = Config(scheduler=SchedulerConfig(max_waiting=20_000))
    gate = asyncio.Event()
    async with blocked(gate, config, max_running=1) as proxy, browsing() as browser:
        driver = proxy.proxy.driver
        now = driver.now()
        waiting = []
        for number in range(10_001):
            prefix = f"s{chr(0x4E00 + number % 1000)}{chr(0x4E00 + number // 1000)}"
            if driver.admit(request(str(number), prefix, at=now)) is None:
                waiting.append(asyncio.create_task(driver.wait(str(number))))
        async with dashboard(browser, proxy.port) as page:
            await page.shows("#figures", "10,000")
            await page.shows("#families-rest", "988 smaller families not shown.")
            elements = await page.page.locator("*").count()
            before = await page.polls()
            costs = []
            async with asyncio.timeout(SECONDS):
                while await page.polls() < before + 3:
                    state = await proxy.ask("GET", "/paceline/ui/state")
                    costs.append(json.loads(state.body)["took_ms"])
                    await asyncio.sleep(0.1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert elements < 1500
    assert min(costs) < 20  # ms


async def test_nobody_looks_nobody_asks() -> None:
    """While the page is hidden or paused it is silent; seen again, it asks at once."""
    gate = asyncio.Event()
    async with blocked(gate, Config()) as proxy, browsing() as browser:
        async with dashboard(browser, proxy.port) as page:
            pause = page.page.get_by_role("button", name="Pause")
            await pause.click()
            await page.shows("#live", "paused")
            await page.page.get_by_role("button", name="Go on").click()
            await page.shows("#live", "live")
        async with dashboard(browser, proxy.port) as page:
            await page.page.evaluate(HIDE, True)
            asked = len(page.requests)
            await page.page.wait_for_timeout(2500)
            assert len(page.requests) <= asked + 1  # one may have been on its way
            asked = len(page.requests)
            await page.page.evaluate(HIDE, False)
            async with asyncio.timeout(SECONDS):
                while len(page.requests) == asked:
                    await asyncio.sleep(0.05)


async def test_a_proxy_that_is_gone_is_said_to_be() -> None:
    """The last state stays, marked as old."""
    gate = asyncio.Event()
    async with browsing() as browser:
        context = await browser.new_context()
        page = await context.new_page()
        async with blocked(gate, Config()) as proxy:
            await page.goto(f"http://127.0.0.1:{proxy.port}/paceline/ui")
            await page.wait_for_selector("#live.on")
        await page.wait_for_selector("#live.lost", timeout=SECONDS * 1000)
        assert await page.locator("main.stale").count() == 1
        assert "Nothing waits." in await page.locator("#causes").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read(scheme: str) -> None:
    """In light and in dark, text stands out as WCAG asks: 4.5 to 1."""
    gate = asyncio.Event()
    async with (
        blocked(gate, Config()) as proxy,
        browsing() as browser,
        dashboard(browser, proxy.port, color_scheme=scheme) as page,
    ):
        colours = await page.page.evaluate(
            """() => {
              const of = (selector) => getComputedStyle(document.querySelector(selector));
              const texts = ["body", "dt", "#ttft .c-run", "#cached .c-lead"];
              return [of("body").backgroundColor, ...texts.map((text) => of(text).color)];
            }"""
        )
    ground, *texts = map(luminance, colours)
    assert (ground > 0.5) is (scheme == "light")
    for text in texts[:2]:
        assert contrast(ground, text) >= 4.5
    for text in texts[2:]:
        assert contrast(ground, text) >= 3


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in colour[4:-1].split(",")]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    """Between two luminances (WCAG 2.2)."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


async def test_an_admin_logs_in(tmp_path: Path) -> None:
    """The browser asks for a password, which is the key; the page's own requests carry it."""
    key, line = make("ops")
    (tmp_path / "admins").write_text(line)
    config = Config(admin=AdminConfig(keys_file=str(tmp_path / "admins")))
    gate = asyncio.Event()
    async with blocked(gate, config) as proxy, browsing() as browser:
        stranger = await browser.new_page()
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
            await stranger.goto(f"http://127.0.0.1:{proxy.port}/paceline/ui")
        login = {"username": "ops", "password": key}
        async with dashboard(browser, proxy.port, http_credentials=login) as page:
            await page.shows("#live", "live")
