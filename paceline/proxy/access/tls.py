"""TLS on both sides: certificates in PEM files, read again at each reload."""

from __future__ import annotations

import ssl

from paceline.proxy.config import BackendConfig, TlsConfig


class BadCertificate(ValueError):
    """A certificate, key or authority that cannot be used; the message names the file."""


def for_clients(config: TlsConfig) -> ssl.SSLContext | None:
    """What the proxy presents to clients, and demands of them; None for plain HTTP.

    Raises BadCertificate, as all do here.
    """
    if not config.cert_file:
        if config.key_file or config.client_ca_file:
            raise BadCertificate("cert_file: must be given")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    present(context, config)
    if config.client_ca_file:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, config.client_ca_file)
    return context


def present(context: ssl.SSLContext, config: TlsConfig) -> None:
    """Load the certificate into a context that is in use: handshakes from now on show it."""
    _load(context, config.cert_file, config.key_file)


def for_engine(config: BackendConfig) -> ssl.SSLContext | None:
    """What an `https` engine must prove, and what is presented to it; None for the defaults."""
    if not config.ca_file and not config.cert_file:
        return None
    context = ssl.create_default_context()
    if config.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this authority and no other
        _trust(context, config.ca_file)
    if config.cert_file:
        _load(context, config.cert_file, "")
    return context


def _trust(context: ssl.SSLContext, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:  # ssl.SSLError is one
        raise BadCertificate(f"{file}: {_what(error)}") from None


def _load(context: ssl.SSLContext, file: str, key: str) -> None:
    try:
        context.load_cert_chain(file, key or None, password=_no_password)
    except OSError as error:
        raise BadCertificate(f"{file}: {_what(error)}") from None


def _no_password() -> str:
    """Instead of asking on the terminal."""
    return ""


def _what(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "not a certificate with its key in PEM"
    return error.strerror or str(error)
