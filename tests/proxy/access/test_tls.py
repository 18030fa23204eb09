"""TLS for clients and to engines, with certificates on both sides.

The folder pem has a certificate for 127.0.0.1 with its key (`leaf.pem`), the authority that made
it (`ca.pem`) and another one (`other.pem`); they are good for nothing but these tests.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from paceline.proxy.access import tls
from paceline.proxy.config import BackendConfig, Config, TlsConfig
from paceline.proxy.process.load import load_config
from paceline.proxy.process.reload import Reloader
from paceline.proxy.process.secure import secure
from paceline.proxy.upstream.address import BadAddress, reach
from paceline.proxy.upstream.probe import Probe, open_session
from tests.proxy.rig import Caller
from tests.proxy.scripted import Scripted, always
from tests.proxy.whole import MODELS, Whole, whole

PEM = Path(__file__).parent / "pem"
LEAF, CA, OTHER = (str(PEM / f"{name}.pem") for name in ("leaf", "ca", "other"))
GET = b"GET /health HTTP/1.1\r\nHost: p\r\n\r\n"


def trusting(ca: str = CA, own: str = "") -> ssl.SSLContext:
    """A client's side."""
    context = ssl.create_default_context(cafile=ca)
    if own:
        context.load_cert_chain(own)
    return context


async def status(proxy: Whole, context: ssl.SSLContext) -> int:
    """The status of a request over TLS."""
    caller = Caller(*await asyncio.open_connection("127.0.0.1", proxy.port, ssl=context))
    caller.say(GET)
    try:
        return (await caller.answer()).status
    finally:
        caller.hang_up()


async def test_clients_are_served_over_tls() -> None:
    """Those who trust another authority turn away; plain HTTP gets nothing."""
    async with whole(Config(tls=TlsConfig(cert_file=LEAF)), up=False) as proxy:
        assert await status(proxy, trusting()) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await status(proxy, trusting(OTHER))
        plain = await proxy.dial()
        plain.say(GET)
        with suppress(ConnectionError):
            assert b"HTTP" not in await plain.rest()
        plain.hang_up()


async def test_clients_must_show_a_certificate() -> None:
    """With `client_ca_file`, one of that authority."""
    config = Config(tls=TlsConfig(cert_file=LEAF, client_ca_file=CA))
    async with whole(config, up=False) as proxy:
        assert await status(proxy, trusting(own=LEAF)) == 200
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await status(proxy, trusting())


async def test_a_new_certificate_is_shown_after_a_reload(tmp_path: Path) -> None:
    """Short-lived certificates take no restart."""
    path, cert = tmp_path / "paceline.toml", tmp_path / "cert.pem"
    shutil.copy(LEAF, cert)
    path.write_text(f'[tls]\ncert_file = "{cert}"\n')
    config = load_config(path)
    security = secure(config)
    async with whole(config, up=False, security=security) as proxy:
        reloader = Reloader(proxy.proxy, config, lambda: load_config(path), security.tls)
        assert await status(proxy, trusting()) == 200
        cert.write_text("nothing")
        assert not reloader.reload()
        shutil.copy(LEAF, cert)
        assert reloader.reload()
        assert await status(proxy, trusting()) == 200


async def secure_engine(context: ssl.SSLContext) -> tuple[Scripted, asyncio.Server]:
    """An engine over TLS."""
    scripted = Scripted(always(MODELS))
    server = await asyncio.start_server(scripted.connected, "127.0.0.1", 0, ssl=context)
    scripted.port = server.sockets[0].getsockname()[1]
    return scripted, server


@pytest.mark.parametrize(
    ("ca", "cert", "status"),
    [(CA, LEAF, 200), (CA, "", 503), (OTHER, LEAF, 503), ("", "", 503)],
    ids=["mutual", "no certificate", "another authority", "the system's authorities"],
)
async def test_engines_over_tls(ca: str, cert: str, status: int) -> None:
    """Watched and asked over TLS alone, and only if both sides can prove who they are."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=CA)
    context.load_cert_chain(LEAF)
    context.verify_mode = ssl.CERT_REQUIRED
    scripted, server = await secure_engine(context)
    url = f"https://127.0.0.1:{scripted.port}"
    backend = BackendConfig(url=url, name="e", kind="openai", ca_file=ca, cert_file=cert)
    async with whole(Config(backends=[backend]), up=status == 200) as proxy:
        if status != 200:
            entry = proxy.proxy.backends.directory["e"]
            probe = Probe(session := open_session(), entry.address, 5.0)
            assert await probe.ask("/v1/models") is None
            await session.close()
        assert (await proxy.ask("GET", "/v1/responses/m")).status == status
    server.close()
    await scripted.stop()


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (TlsConfig(key_file=LEAF), "cert_file: must be given"),
        (TlsConfig(cert_file="/none"), "/none: No such file or directory"),
        (TlsConfig(cert_file=CA), r"ca.pem: \S"),
        (TlsConfig(cert_file=LEAF, client_ca_file=__file__), r"test_tls.py: \S"),
    ],
)
def test_certificates_that_cannot_be_used(config: TlsConfig, error: str) -> None:
    """The file is named."""
    with pytest.raises(tls.BadCertificate, match=error):
        tls.for_clients(config)


def test_certificates_need_https() -> None:
    """On a plain connection they would protect nothing."""
    with pytest.raises(BadAddress, match="Certificates need https"):
        reach(BackendConfig(url="http://127.0.0.1:1", ca_file=CA))
