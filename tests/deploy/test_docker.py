"""The image is built from the locked wheel and runs as nobody; the composition hangs together."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from paceline.proxy.process.load import load_config
from tests.deploy.files import DEPLOY, ROOT, load, run

DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = load("compose/compose.yaml")


def instructions(name: str) -> list[list[str]]:
    """The arguments of every instruction called so, in order."""
    found = re.findall(rf"^{name} (.*)$", DOCKERFILE, re.M)
    return [shlex.split(line) for line in found]


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile keeps hadolint's rules, its warnings included."""
    run("hadolint", "--failure-threshold", "style", DEPLOY / "docker/Dockerfile")


def test_the_last_stage_is_slim_and_nobody() -> None:
    """What runs has no build tools, no root and a health check."""
    *_, stage = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    assert stage.startswith("python:3.13-slim")
    assert re.search(r"^USER 65532", stage, re.M)
    assert re.search(r"^HEALTHCHECK .*/health", stage, re.M)
    assert re.search(r"^COPY --from=build", stage, re.M)
    assert "pip install" not in stage


def test_the_image_can_do_what_a_configuration_may_ask() -> None:
    """Every extra that a setting needs is in it."""
    settings = (ROOT / "docs/configuration.md").read_text()
    ((argument,),) = [found for found in instructions("ARG") if found[0].startswith("EXTRAS=")]
    assert set(argument.removeprefix("EXTRAS=").split()) == set(
        re.findall(r"paceline\[([\w-]+)\]", settings)
    )


def test_the_build_sees_what_it_copies() -> None:
    """The ignore file lets through each source of a COPY, and each exists."""
    allowed = (DEPLOY / "docker/Dockerfile.dockerignore").read_text().split()
    sources = [
        name for copy in instructions("COPY") if "--from" not in copy[0] for name in copy[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed


def test_the_extras_exist() -> None:
    """The image asks for extras that the project has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (argument,) = instructions("ARG")
    assert set(argument[0].partition("=")[2].split()) <= set(extras)


def test_docker_compose_takes_the_composition() -> None:
    """`docker compose config` resolves it."""
    run("docker-compose", "--file", DEPLOY / "compose/compose.yaml", "config", "--quiet")


def test_the_composed_proxy_knows_its_neighbours() -> None:
    """Backends are services, and Prometheus scrapes the admins' port of the proxy."""
    config = load_config(DEPLOY / "compose/paceline.toml")
    services = COMPOSE["services"]
    assert {backend.name for backend in config.backends} <= set(services)
    targets = [
        target
        for job in load("compose/prometheus.yaml")["scrape_configs"]
        for target in job["static_configs"][0]["targets"]
    ]
    assert f"paceline:{config.admin.port}" in targets
    assert {target.partition(":")[0] for target in targets} <= set(services)


def test_a_composed_proxy_may_drain() -> None:
    """Docker waits longer than streams may go on."""
    config = load_config(DEPLOY / "compose/paceline.toml").server
    patience = COMPOSE["services"]["paceline"]["stop_grace_period"]
    assert float(patience.removesuffix("s")) > config.grace_seconds + config.drain_seconds


def test_mounted_files_exist() -> None:
    """Docker would make a folder of a missing one."""
    mounts = [mount for one in COMPOSE["services"].values() for mount in one.get("volumes", [])]
    files = [mount.partition(":")[0] for mount in mounts if mount.startswith(".")]
    assert files
    assert all((DEPLOY / "compose" / file).exists() for file in files)
    assert (DEPLOY / "compose" / Path(COMPOSE["configs"]["paceline"]["file"])).exists()
