"""The report beside the recording is shown as it is, and cannot run anything."""

from __future__ import annotations

from pathlib import Path

from paceline.proxy.http.request import Reply
from paceline.proxy.ui import report
from paceline.proxy.ui.page import REPORT, Dashboard
from tests.proxy.requests import request


async def ask(recording: Path | None) -> Reply:
    shown = None if recording is None else str(recording)
    return Dashboard(lambda: b"{}", lambda: shown).answer(await request("GET", REPORT))


async def test_what_the_simulator_wrote_is_shown(tmp_path: Path) -> None:
    """Byte for byte, never kept, in a sandbox."""
    (tmp_path / "events.html").write_bytes(b"<h1>Report</h1>")
    shown = await ask(tmp_path / "events")
    assert (shown.status, shown.body) == (200, b"<h1>Report</h1>")
    assert shown.headers["Cache-Control"] == "no-store"
    policy = shown.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "script-src" not in policy
    assert policy.endswith("sandbox")


async def test_without_a_report_there_is_none(tmp_path: Path) -> None:
    """Not recorded, not simulated yet, an empty file, a folder in its place."""
    assert (await ask(None)).status == 404
    assert (await ask(tmp_path / "events")).status == 404
    (tmp_path / "empty.html").touch()
    assert (await ask(tmp_path / "empty")).status == 404
    (tmp_path / "folder.html").mkdir()
    assert (await ask(tmp_path / "folder")).status == 404


async def test_a_report_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    """Reading it would keep requests waiting."""
    with (tmp_path / "events.html").open("wb") as file:
        file.truncate(report.LARGEST + 1)
    assert report.written_at(str(tmp_path / "events")) is None
    assert (await ask(tmp_path / "events")).status == 404
