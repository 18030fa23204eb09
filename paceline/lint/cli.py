"""`paceline lint`: where prefixes break in a log of requests, or in those that pass now."""

from __future__ import annotations

from pathlib import Path

import click

from paceline.lint.check import check
from paceline.lint.errors import LintError
from paceline.lint.log import Entry, read_log, write_log
from paceline.lint.output import as_json, as_text
from paceline.lint.rules.registry import chosen

FILE = click.Path(path_type=Path)
POSITIVE = click.FloatRange(0, min_open=True)
COUNT = click.IntRange(1)


class CannotLint(click.ClickException):
    """Told apart from findings, which are 1."""

    exit_code = 2


def codes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """What stands between the commas."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


def overheard(url: str, listen: str, seconds: float, requests: int) -> tuple[list[Entry], int]:
    """What passes through a tap, whose address is told on stderr."""
    from paceline.lint.live.gather import Live, gather  # a log is linted without a loop and sockets

    def announce(address: str) -> None:
        click.echo(f"point clients at {address} instead of {url}", err=True)

    return gather(Live(url=url, listen=listen, seconds=seconds, requests=requests), announce)


@click.command()
@click.argument("path", metavar="[FILE]", type=FILE, required=False)
@click.option("--live", metavar="URL", help="Instead of FILE: what clients send there now.")
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8001", help="Of --live.")
@click.option("--seconds", metavar="S", type=POSITIVE, default=60.0, help="Of --live, at most.")
@click.option("--requests", metavar="N", type=COUNT, default=1000, help="Of --live, at most.")
@click.option("--select", metavar="A,B", callback=codes, help="Only these codes.")
@click.option("--ignore", metavar="A,B", callback=codes, help="Not these codes.")
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows and count them.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--write", metavar="FILE", type=FILE, help="Write the log with all of it mended.")
@click.pass_context
def lint(
    ctx: click.Context,
    path: Path | None,
    live: str | None,
    listen: str,
    seconds: float,
    requests: int,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    skip_bad: bool,
    as_object: bool,
    write: Path | None,
) -> None:
    """Say where prompts that could share a prefix do not, and what mending that saves.

    FILE has a request a line, `{"body": {...}}`, gzipped or not, as `paceline sim --trace` reads
    it. With --live URL there is no log: clients send to --listen what they sent to URL, it goes on
    there unchanged, and is linted once there are enough. Codes may be shortened: --select PL00.
    Exits with 1 if there are findings.
    """
    if (path is None) == (live is None):
        raise click.UsageError("either FILE or --live URL is needed")
    try:
        rules = chosen(select, ignore)
        if path is not None:
            log, skipped = read_log(path, skip_bad=skip_bad)
        else:
            log, skipped = overheard(str(live), listen, seconds, requests)
        report = check(log, rules)
        if write is not None:
            write_log(write, report.mended)
    except LintError as error:
        raise CannotLint(str(error)) from None
    click.echo(
        as_json(report, skipped) if as_object else as_text(str(path or live), report, skipped)
    )
    ctx.exit(1 if report.findings else 0)
