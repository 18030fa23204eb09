"""The command line: `paceline serve | up | plan | emulate | sim | policies | check | key | ...`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import click

from paceline import __version__

if TYPE_CHECKING:
    from paceline.policies.registry import Installed
    from paceline.proxy.config import Config
    from paceline.proxy.process.load import Flags

FILE = click.Path(path_type=Path)
PORT = click.IntRange(0, 65535)
WORKERS = click.IntRange(1)
KV_TOKENS = click.IntRange(1)
SPEED = click.FloatRange(0, min_open=True)

# Commands import what they need when they run: `paceline --help` must not wait for aiohttp.


def main() -> None:
    """The entry point: runs a command and exits; every error is one line on stderr."""
    try:
        sys.exit(cli.main(prog_name="paceline", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(error.exit_code)
    except click.ClickException as error:
        line = " ".join(error.format_message().split())  # click breaks some messages up
        click.echo(f"paceline: {line}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:  # Ctrl-C before the server took over the signal
        sys.exit(130)


class _Group(click.Group):
    """Also has the commands of other modules, imported when one is run and not to list them."""

    elsewhere: ClassVar = {
        "sim": ("paceline.sim.cli", "Run the scheduler offline, against models of engines."),
        "plan": ("paceline.plan.cli", "Plan engine settings for a GPU and a load."),
        "lint": ("paceline.lint.cli", "Say where prefixes break in a log of requests."),
        "up": ("paceline.up.cli", "Start engines and the proxy in front of them."),
        "calibrate": ("paceline.sim.calibrate_cli", "Fit step times to an engine."),
        "migrate": ("paceline.migrate", "Translate another router's command line."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.elsewhere])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.elsewhere:
            return click.Command(cmd_name, short_help=self.elsewhere[cmd_name][1])
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in self.elsewhere:
            module, _ = self.elsewhere[args[0]]
            return args[0], getattr(import_module(module), args[0]), args[1:]
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 96,
        "show_default": True,
    },
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """A prefix-aware scheduling proxy in front of SGLang and vLLM.

    It holds requests while engines are busy and sends those that share a prompt prefix one after
    the other, so that the engine's KV cache is hit instead of thrashed.

    \b
      paceline serve                                    with two emulated engines
      paceline serve --backend http://10.0.0.7:8000     in front of your own
    """
    sys.path.append(os.getcwd())  # so that `module:Class` finds a policy in a loose file


@cli.command()
@click.option("-c", "--config", "path", metavar="FILE", type=FILE, help="TOML file to read.")
@click.option("--backend", "backends", multiple=True, metavar="URL", help="An engine; repeatable.")
@click.option("--policy", metavar="NAME", help="Installed policy or module:Class.")
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", metavar="N", type=PORT, help="TCP port.  [default: 8000]")
@click.option("--log-format", type=click.Choice(["console", "json"]), help="[default: console]")
@click.option("--record", metavar="FILE", help="Append the scheduler's events, for `sim --trace`.")
@click.option("--workers", metavar="N", type=WORKERS, help="Processes.  [default: 1]")
@click.option("--replace", metavar="PID", type=int, help="Take over that proxy's port; it drains.")
def serve(
    path: Path | None,
    backends: tuple[str, ...],
    policy: str | None,
    host: str | None,
    port: int | None,
    log_format: str | None,
    record: str | None,
    workers: int | None,
    replace: int | None,
) -> None:
    """Run the proxy.

    Without backends, two emulated engines are started inside: one plays vLLM, one SGLang. Options
    given here override the file's. SIGTERM and SIGINT let open streams finish first, SIGHUP
    reloads the file.
    """
    from paceline.proxy.process.load import Flags, load_config

    flags = Flags(host=host, port=port, backends=backends, policy=policy, workers=workers)
    flags.log_format, flags.record = log_format, record
    config = _load(path, flags)
    from paceline.proxy.process.life import CannotReplace, Plan, run
    from paceline.proxy.process.listen import CannotListen
    from paceline.proxy.telemetry.recorder import CannotRecord

    plan = Plan(
        config=config,
        reread=lambda: load_config(path, flags),
        file=str(path or ""),
        replaces=replace,
    )
    try:
        run(plan)
    except (CannotListen, CannotReplace, CannotRecord) as error:
        raise click.ClickException(str(error)) from error


@cli.command()
@click.argument("tenant")
def key(tenant: str) -> None:
    """Make an API key for TENANT.

    The key goes to stderr, and only there; the line for `keys_file`, with its hash, to stdout:
    `paceline key acme >> keys`.
    """
    from paceline.proxy.access.keys import BadKeys, make

    try:
        made, line = make(tenant)
    except BadKeys:
        raise click.ClickException("a name has letters, digits and . _ @ : - only") from None
    click.echo(made, err=True)
    click.echo(line)


@cli.command()
@click.option("--kind", type=click.Choice(["vllm", "sglang"]), required=True, help="Its dialect.")
@click.option("--port", metavar="N", type=PORT, required=True, help="0 for a free one.")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", help="Where to listen.")
@click.option("--preset", metavar="NAME", default="llama-3.1-8b-h100", help="Model and GPU.")
@click.option("--kv-tokens", metavar="N", type=KV_TOKENS, help="KV pool instead of the preset's.")
@click.option("--speed", metavar="FACTOR", type=SPEED, default=1.0, help="2 takes half the time.")
def emulate(
    kind: Literal["vllm", "sglang"],
    port: int,
    host: str,
    preset: str,
    kv_tokens: int | None,
    speed: float,
) -> None:
    """Run an engine that has no GPU.

    It answers in vLLM's or SGLang's dialect and takes as long as a model of their scheduler, cache
    and kernels says; what it generates is filler.
    """
    from paceline.engines.emulator.config import EmulatorConfig
    from paceline.engines.model.presets import PRESETS
    from paceline.policies.decode import hint
    from paceline.proxy.process.emulate import run
    from paceline.proxy.process.listen import CannotListen

    if preset not in PRESETS:
        raise click.ClickException(f"no preset `{preset}`; {hint(preset, list(PRESETS))}")
    try:
        run(EmulatorConfig(kind=kind, preset=preset, kv_tokens=kv_tokens, speed=speed), host, port)
    except CannotListen as error:
        raise click.ClickException(str(error)) from error


@cli.group(invoke_without_command=True)
@click.pass_context
def policies(ctx: click.Context) -> None:
    """List the installed policies with their settings, or begin one."""
    from paceline.policies.registry import installed

    if ctx.invoked_subcommand is None:
        for policy in installed():
            click.echo(_describe(policy))


@policies.command()
@click.argument("name")
@click.option("--into", metavar="DIR", type=FILE, default=".", help="Where its folder goes.")
def new(name: str, into: Path) -> None:
    """Write a package with a policy called NAME: module, tests that run the simulator, README."""
    from paceline.kit.package import KitError, write_package

    try:
        click.echo(write_package(name, into))
    except KitError as error:
        raise click.ClickException(str(error)) from None


@cli.command()
@click.option("-c", "--config", "path", metavar="FILE", type=FILE, required=True)
def check(path: Path) -> None:
    """Validate a configuration file."""
    from paceline.up.load import starts_engines

    config = _load_up(path) if starts_engines(path) else _load(path)
    many = "two emulated engines" if not config.backends else f"{len(config.backends)} backend(s)"
    click.echo(f"{path}: ok, {many}, policy {config.policy.name}")


def _load_up(path: Path) -> Config:
    from paceline.proxy.process.load import ConfigError
    from paceline.proxy.process.secure import secure
    from paceline.up.load import load

    try:
        config = load(path).config
        secure(config)
        return config
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _load(path: Path | None, flags: Flags | None = None) -> Config:
    from paceline.proxy.process.load import ConfigError, load_config
    from paceline.proxy.process.secure import secure

    try:
        config = load_config(path, flags)
        secure(config)
        return config
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _describe(policy: Installed) -> str:
    lines = [f"{click.style(policy.name, bold=True)}  ({policy.package})"]
    if policy.error:
        return f"{lines[0]}\n  broken: {policy.error}\n"
    lines.append(click.wrap_text(policy.doc, 94, "  ", "  "))
    for setting in policy.settings:
        head = f"  {setting.name}: {setting.type}"
        lines.append(head if setting.default is None else f"{head} = {setting.default}")
        if setting.doc:
            lines.append(click.wrap_text(setting.doc, 94, "      ", "      "))
    return "\n".join(lines) + "\n"
