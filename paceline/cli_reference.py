"""Writes docs/cli.md out of the commands' own help."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import cleandoc

import click

from paceline.cli import cli

HEAD = """# Command line

<!-- Made by scripts/docs from the commands' help: change it there. -->

Errors are one line on stderr. Exit status: 0, 1 for what went wrong while running, 2 for options
that do not fit; `paceline lint` has its own. A policy's `NAME` may be `module:Class`, looked for in
the working directory, too.
"""


def reference() -> str:
    """The page, in Markdown."""
    sections = (_section(path, command) for path, command in _commands("paceline", cli))
    return "\n".join([HEAD, *sections])


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command below this one with all its words, sorted."""
    if not isinstance(command, click.Group):
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        _, found, _ = command.resolve_command(context, [name])
        assert found is not None
        yield f"{path} {name}", found
        yield from _commands(f"{path} {name}", found)


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, show_default=True)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    about = "\n\n".join(_paragraph(part) for part in cleandoc(command.help or "").split("\n\n"))
    options = (one for one in command.params if isinstance(one, click.Option))
    records = (one.get_help_record(context) for one in options)
    rows = "".join(_row(*record) for record in records if record)
    table = f"\n| option | |\n|---|---|\n{rows}" if rows else ""
    return f"## {path}\n\n`{usage}`\n\n{about}\n{table}"


def _paragraph(text: str) -> str:
    """One of a command's help; click does not wrap what begins with a backspace: its examples."""
    if not text.startswith("\b\n"):
        return " ".join(text.split())
    code = "\n".join(line.strip() for line in text.splitlines()[1:])
    return f"<!-- example: shown the help's, with files that it makes up -->\n```sh\n{code}\n```"


def _row(option: str, text: str) -> str:
    escaped = option.replace("|", "\\|")
    return f"| `{escaped}` | {text} |\n"


if __name__ == "__main__":
    sys.stdout.write(reference())
