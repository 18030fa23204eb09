"""`paceline migrate`: the paceline.toml for a command line of sglang-router or vllm-router."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import click

Value = str | int | float
Tables = dict[str, dict[str, Value]]


def mebibytes(size: str) -> float:
    """Their limit is in bytes."""
    return int(size) / 2**20


def level(name: str) -> str:
    """Theirs may be `warn`."""
    return {"warn": "warning"}.get(name, name)


SETTINGS: dict[str, tuple[str, str, Callable[[str], Value]]] = {
    "--host": ("server", "host", str),
    "--port": ("server", "port", int),
    "--max-payload-size": ("server", "max_body_mb", mebibytes),
    "--shutdown-grace-period-secs": ("server", "drain_seconds", float),
    "--tls-cert-path": ("tls", "cert_file", str),
    "--tls-key-path": ("tls", "key_file", str),
    "--prometheus-host": ("admin", "host", str),
    "--prometheus-port": ("admin", "port", int),
    "--request-timeout-secs": ("upstream", "total_seconds", float),
    "--health-check-interval-secs": ("upstream", "probe_seconds", float),
    "--health-check-timeout-secs": ("upstream", "probe_timeout_seconds", float),
    "--queue-size": ("scheduler", "max_waiting", int),
    "--queue-timeout-secs": ("scheduler", "queue_seconds", float),
    "--log-level": ("log", "level", level),
}
"""Flags that have one value, and the same meaning here."""
PLACEMENT = ("--policy", "--enable-igw")
"""Flags that need no setting: `auto` places by prefix and load, and several models need no mode."""


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def migrate(command: tuple[str, ...]) -> None:
    """Print the paceline.toml for a router's command line.

    COMMAND starts sglang-router or vllm-router, as in `paceline migrate python -m
    sglang_router.launch_router --worker-urls ...`. Flags that it cannot translate are named on
    stderr; what they are here is in docs/compare.md.
    """
    found = list(flags(command))
    if not found:
        raise click.UsageError("COMMAND has no flags of a router, such as --worker-urls URL")
    tables: Tables = {}
    urls: list[str] = []
    left = []
    for flag, values in found:
        if flag == "--worker-urls":
            urls += values
        elif flag in SETTINGS:
            section, key, convert = SETTINGS[flag]
            tables.setdefault(section, {})[key] = _converted(flag, values, convert)
        elif flag not in PLACEMENT:
            left.append(flag)
    click.echo(toml(tables, urls))
    if left:
        click.echo(f"not translated: {' '.join(left)}", err=True)


def flags(words: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with its values, written as `--flag a b` or `--flag=a`."""
    found: tuple[str, list[str]] | None = None
    for word in words:
        if word.startswith("--"):
            if found is not None:
                yield found
            flag, equals, value = word.partition("=")
            found = (flag, [value] if equals else [])
        elif found is not None:
            found[1].append(word)
    if found is not None:
        yield found


def toml(tables: Tables, urls: Iterable[str]) -> str:
    """The file; strings of JSON are strings of TOML."""
    parts = [
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])
        for name, table in tables.items()
    ]
    parts += [f"[[backends]]\nurl = {json.dumps(url)}" for url in urls]
    return "\n\n".join(parts)


def _converted(flag: str, values: list[str], convert: Callable[[str], Value]) -> Value:
    try:
        (value,) = values
        return convert(value)
    except ValueError:
        raise click.ClickException(f"{flag}: cannot read `{' '.join(values)}`") from None
