"""The proxies that are compared, and the command that starts each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from bench.processes import free_port

PEERS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paceline" / "peers"
"""Where a virtual environment of each peer is kept."""

Command = Callable[[int, Sequence[int], Path], list[str]]
"""From the port to listen on, the engines' ports and a folder for files."""


class Target(Struct, frozen=True, kw_only=True):
    """One proxy."""

    name: str
    command: Command
    package: str = ""
    """On PyPI, with the version that was measured; empty for what is not from there."""
    ours: bool = False
    scenarios: tuple[str, ...] = ()
    """Those that it is asked to do; empty for all."""

    def install(self) -> None:
        """Put it into its own environment, unless it is there."""
        home = PEERS / self.name
        if self.package and not (home / "bin" / "python").exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            subprocess.run([str(home / "bin/pip"), "install", "-q", self.package], check=True)

    @property
    def available(self) -> bool:
        """Whether it can be started: what is not from PyPI has to be installed already."""
        return self.ours or bool(self.package) or debian(self.name) is not None


def urls(ports: Sequence[int]) -> list[str]:
    """Base addresses on this machine."""
    return [f"http://127.0.0.1:{port}" for port in ports]


def _paceline(*python: str) -> Command:
    def command(port: int, engines: Sequence[int], folder: Path) -> list[str]:
        backends = [word for url in urls(engines) for word in ("--backend", url)]
        serve = [*python, "-m", "paceline", "serve", "--log-format", "json"]
        return [*serve, "--port", str(port), *backends]

    return command


def _reference(port: int, engines: Sequence[int], folder: Path) -> list[str]:
    return [sys.executable, "-m", "bench.relay.reference", str(port), *map(str, engines)]


def _router(peer: str, *words: str) -> Command:
    """The three routers take the same options."""

    def command(port: int, engines: Sequence[int], folder: Path) -> list[str]:
        listen = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
        program = [str(PEERS / peer / "bin" / words[0]), *words[1:]]
        return [*program, *listen, "--policy", "cache_aware", "--worker-urls", *urls(engines)]

    return command


def _litellm(port: int, engines: Sequence[int], folder: Path) -> list[str]:
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        + "".join(
            f"  - model_name: m\n    litellm_params: "
            f"{{model: openai/m, api_base: '{url}/v1', api_key: key}}\n"
            for url in urls(engines)
        )
    )
    program = str(PEERS / "litellm" / "bin" / "litellm")
    permit = "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true"
    serve = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return ["env", permit, *serve]


def _nginx(port: int, engines: Sequence[int], folder: Path) -> list[str]:
    config = folder / "nginx.conf"
    servers = "".join(f"server 127.0.0.1:{engine};" for engine in engines)
    config.write_text(
        f"daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;\n"
        "events { worker_connections 16384; }\n"
        "http { access_log off; client_max_body_size 64m; client_body_buffer_size 1m;\n"
        f"client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
        f"upstream engines {{ {servers} keepalive 512; }}\n"
        f"server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000; location / {{\n"
        "proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection '';\n"
        "proxy_buffering off; } } }\n"
    )
    return [debian("nginx") or "nginx", "-c", str(config), "-p", str(folder)]


def _haproxy(port: int, engines: Sequence[int], folder: Path) -> list[str]:
    config = folder / "haproxy.cfg"
    servers = "".join(f"  server e{engine} 127.0.0.1:{engine}\n" for engine in engines)
    config.write_text(
        "global\n  nbthread 1\n  maxconn 9000\n"
        "defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
        "  option abortonclose\n  option http-no-delay\n  http-reuse always\n"
        f"listen l\n  bind 127.0.0.1:{port}\n  balance roundrobin\n{servers}"
    )
    return [debian("haproxy") or "haproxy", "-db", "-f", str(config)]


def debian(name: str) -> str | None:
    """Where Debian's package has put the program; /usr/sbin is not in everybody's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def another(python: Path) -> Target:
    """Paceline as that interpreter has it installed: isolated, so not the one of this checkout."""
    return Target(name="another", command=_paceline(str(python), "-I"), ours=True)


PACELINE = Target(name="paceline", command=_paceline(sys.executable), ours=True)
REFERENCE = Target(name="reference", command=_reference, ours=True)

TARGETS = (
    PACELINE,
    REFERENCE,
    Target(
        name="sglang-router",
        command=_router("sglang-router", "python", "-m", "sglang_router.launch_router"),
        package="sglang-router==0.3.2",
    ),
    Target(name="smg", command=_router("smg", "smg", "launch"), package="smg==1.13.0"),
    Target(
        name="vllm-router",
        command=_router("vllm-router", "vllm-router"),
        package="vllm-router==0.1.17",
    ),
    Target(
        name="litellm",
        command=_litellm,
        package="litellm[proxy]==1.106.2",
        scenarios=("json32",),  # at some 15 ms a request the others tell nothing more
    ),
    Target(name="nginx", command=_nginx),
    Target(name="haproxy", command=_haproxy),
)
