"""Which hosts a URL from outside may name: the defence against being sent where it must not go."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network


class BadHosts(ValueError):
    """Not a host, a pattern or a network; the message shows it."""


class Hosts:
    """Names (`engine-1`), names below one (`*.engines.example`), and networks (`10.0.0.0/24`).

    A network stands for addresses written as numbers only: what a name resolves to can change
    between this check and the connection.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        """Raises BadHosts."""
        self._names: set[str] = set()
        self._parents: list[str] = []
        self._networks: list[IPv4Network | IPv6Network] = []
        for one in allowed:
            self._add(one.lower())

    def __contains__(self, host: object) -> bool:
        name = str(host).lower().rstrip(".")
        try:
            address = ip_address(name)
        except ValueError:
            return name in self._names or any(name.endswith(parent) for parent in self._parents)
        return any(address in network for network in self._networks)

    def _add(self, one: str) -> None:
        try:
            self._networks.append(ip_network(one))
            return
        except ValueError:
            pass
        name = one.removeprefix("*.")
        labels = name.split(".")
        if not all(label.replace("-", "").replace("_", "").isalnum() for label in labels):
            raise BadHosts(f"{one} is neither a name nor a network")
        if labels[-1].isdigit() or labels[-1].startswith("0x"):
            raise BadHosts(f"{one} is not an address as it is usually written")
        if name == one:
            self._names.add(one)
        else:
            self._parents.append("." + name)
