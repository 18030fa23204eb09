"""Screenshots of the dashboard over emulated engines that have more to do than they can.

    python -m bench.dashboard [--seconds 60] [--out docs/img]

Two engines, one of each kind, behind `paceline serve --record`; three tenants' chats, each with a
system prompt for all and a document that its family shares. Needs Chromium, playwright and Pillow.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import aiohttp
import click
from PIL import Image
from playwright.async_api import async_playwright

from bench.processes import free_port, paceline

TENANTS = ("search", "support", "agents")
WORDS = ("wind", "rider", "leader", "draft", "prefix", "block", "token", "cache", "engine", "batch")
SPEEDS = {"vllm": "0.4", "sglang": "0.2"}
KV_TOKENS = "40000"
CALM, BUSY = 8.0, 30.0
"""Requests a second, below and above what such engines can do."""
LEADER_SECONDS = 60.0
"""Longest wait for a leader to be seen: they lead for a few tenths of a second."""
COLOURS = 256
"""Of the picture: a third of the bytes, and nothing that can be seen is lost."""


def text(seed: str, words: int) -> str:
    """The same words for the same seed."""
    rng = random.Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(words))


async def chat(session: aiohttp.ClientSession, url: str, family: int, number: int) -> None:
    """One chat of a family, read to its end."""
    system = text("system", 200) + text(f"document {family}", 1500)
    body = {
        "model": "emulated",
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": text(f"question {number}", 150)},
        ],
        "max_tokens": 16 + 37 * number % 180,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    headers = {"x-paceline-tenant": TENANTS[family % len(TENANTS)]}
    async with session.post(f"{url}/v1/chat/completions", json=body, headers=headers) as reply:
        await reply.read()


async def send(url: str, seconds: float) -> None:
    """Chats by Poisson's law, calm for the first half; families by Pareto's."""
    rng = random.Random(3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as chats,
    ):
        for number in itertools.count():
            rate = CALM if loop.time() < began + seconds / 2 else BUSY
            family = min(int(rng.paretovariate(0.6)), 40)
            chats.create_task(chat(session, url, family, number))
            await asyncio.sleep(rng.expovariate(rate))


async def shoot(url: str, scheme: str) -> bytes:
    """The whole page, once somebody leads on it."""
    async with async_playwright() as playwright:
        options = ["--no-sandbox", "--disable-lcd-text"]
        browser = await playwright.chromium.launch(executable_path=which("chromium"), args=options)
        page = await browser.new_page(
            viewport={"width": 1160, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        await page.goto(f"{url}/paceline/ui")
        await page.wait_for_selector("#live.on")
        await page.wait_for_selector(".node.lead", timeout=LEADER_SECONDS * 1000)
        picture = await page.screenshot(full_page=True)
        await browser.close()
        return picture


async def run(url: str, seconds: float, out: Path) -> None:
    """Send for so long, then take the pictures."""
    sending = asyncio.create_task(send(url, 2 * seconds))
    await asyncio.sleep(seconds + 20)
    for scheme in ("light", "dark"):
        picture = Image.open(BytesIO(await shoot(url, scheme))).convert("RGB")
        file = out / f"dashboard-{scheme}.png"
        picture.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            file, optimize=True
        )
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


def engine(kind: str) -> AbstractContextManager[str]:
    """One emulated engine; yields its base URL."""
    options = ("--kind", kind, "--kv-tokens", KV_TOKENS, "--speed", SPEEDS[kind])
    return paceline("emulate", *options, port=free_port(), ready="/v1/models")


@contextmanager
def proxy(folder: Path) -> Iterator[str]:
    """`paceline serve` in front of both engines; yields its base URL."""
    file = folder / "paceline.toml"
    with engine("vllm") as vllm, engine("sglang") as sglang:
        named = {"vllm-0": vllm, "sglang-0": sglang}
        blocks = [f'[[backends]]\nname = "{name}"\nurl = "{url}"\n' for name, url in named.items()]
        file.write_text("".join(blocks))
        serve = ("serve", "-c", str(file), "--record", str(folder / "events.jsonl"))
        with paceline(*serve, port=free_port(), ready="/ready") as url:
            yield url


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Calm, before it gets busy.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/img"))
def main(seconds: float, out: Path) -> None:
    """Run the load and write dashboard-light.png and dashboard-dark.png."""
    with TemporaryDirectory() as folder, proxy(Path(folder)) as url:
        asyncio.run(run(url, seconds, out))


if __name__ == "__main__":
    main()
