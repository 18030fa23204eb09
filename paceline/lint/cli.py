"""`paceline lint`: where prefixes break in a log of requests."""

from __future__ import annotations

from pathlib import Path

import click

from paceline.lint.check import check
from paceline.lint.errors import LintError
from paceline.lint.log import read_log, write_log
from paceline.lint.output import as_json, as_text
from paceline.lint.rules.registry import chosen

FILE = click.Path(path_type=Path)


class CannotLint(click.ClickException):
    """Told apart from findings, which are 1."""

    exit_code = 2


def codes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """What stands between the commas."""
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@click.command()
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--select", metavar="A,B", callback=codes, help="Only these codes.")
@click.option("--ignore", metavar="A,B", callback=codes, help="Not these codes.")
@click.option("--skip-bad", is_flag=True, help="Leave out bad rows and count them.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--write", metavar="FILE", type=FILE, help="Write the log with all of it mended.")
@click.pass_context
def lint(
    ctx: click.Context,
    path: Path,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    skip_bad: bool,
    as_object: bool,
    write: Path | None,
) -> None:
    """Say where prompts that could share a prefix do not, and what mending that saves.

    FILE has a request a line, `{"body": {...}}`, gzipped or not, as `paceline sim --trace` reads
    it. Codes may be shortened: --select PL00. Exits with 1 if there are findings.
    """
    try:
        rules = chosen(select, ignore)
        log, skipped = read_log(path, skip_bad=skip_bad)
        report = check(log, rules)
        if write is not None:
            write_log(write, report.mended)
    except LintError as error:
        raise CannotLint(str(error)) from None
    click.echo(as_json(report, skipped) if as_object else as_text(path, report, skipped))
    ctx.exit(1 if report.findings else 0)
