"""`paceline up`: starts engines, looks after them, and runs the proxy in front of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from paceline.proxy.process.load import ConfigError


@click.command()
@click.option(
    "-c", "--config", "path", metavar="FILE", type=click.Path(path_type=Path), required=True,
    help="TOML file to read.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print the engines' commands and start nothing.")
def up(path: Path, dry_run: bool) -> None:
    """Start engines and the proxy in front of them.

    FILE is the proxy's, with a table [[engines]] for each engine to start. Those that end are
    started again. SIGTERM and SIGINT let open streams finish first, then end the engines; SIGHUP
    reloads all but the engines.

    \b
      paceline plan ./Llama-3.1-8B --gpu h100 --up up.toml
      paceline up -c up.toml
    """
    if sys.platform == "win32":
        raise click.ClickException("engines are started on Linux and macOS only")
    from paceline.proxy.process.life import CannotReplace
    from paceline.proxy.process.listen import CannotListen
    from paceline.proxy.telemetry.recorder import CannotRecord
    from paceline.up.command import command
    from paceline.up.keeper import EngineFailed
    from paceline.up.load import load
    from paceline.up.run import run

    try:
        loaded = load(path)
        if not dry_run:
            return run(path, loaded)
    except (ConfigError, EngineFailed, CannotListen, CannotRecord, CannotReplace) as error:
        raise click.ClickException(str(error)) from error
    for engine in loaded.engines:
        click.echo(command(engine))
    return None
