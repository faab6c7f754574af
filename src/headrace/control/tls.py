"""TLS of the API's door, and the rule that there is no door beyond this machine without it.

Imports OpenSSL only where it is used: a control on loopback never does. Called by ``control.app`` and by ``headrace up``.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.control.settings import ControlSettings
from headrace.model.errors import Invalid

if TYPE_CHECKING:  # 4 MB that a control on loopback does not need
    from ssl import SSLContext


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


PORT_MAX = 65_535


def check_doors(settings: ControlSettings) -> None:
    """Raise Invalid, with what to do, for an address that must not be listened on so, or half a certificate."""
    if not 0 <= settings.port <= PORT_MAX:
        raise Invalid(f"a port is a number from 0 (any free one) to {PORT_MAX}, not {settings.port}")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise Invalid("TLS needs both: --tls-cert FILE and --tls-key FILE")
    for path in (settings.tls_cert, settings.tls_key):
        if path and not Path(path).is_file():
            raise Invalid(f"there is no file {str(path)!r} for TLS")
    if not settings.tls_cert and not is_loopback(settings.host):
        raise Invalid(
            f"{settings.host} can be reached from other machines, and without TLS everybody between reads tokens and "
            "passwords: give --tls-cert FILE and --tls-key FILE, or listen on 127.0.0.1 and put a TLS proxy before it"
        )


def url_of(settings: ControlSettings, port: int) -> str:
    """What people and attempts are told to call."""
    if settings.url:
        return settings.url
    host = settings.host
    if host in {"0.0.0.0", "::"}:  # noqa: S104 -- compared, not listened on
        host = settings.hosts[0] if settings.hosts else "127.0.0.1"
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


def names_of(settings: ControlSettings, url: str) -> tuple[str, ...]:
    """Host names by which this server may be called, beside those of loopback."""
    called = url.partition("://")[2].partition("/")[0]
    name = called.rpartition(":")[0] if called.rpartition(":")[2].isdigit() else called
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    return tuple({name, own, *settings.hosts} - {"0.0.0.0", "[::]"})  # noqa: S104 -- no names to be called by


def context_of(settings: ControlSettings) -> SSLContext | None:
    """TLS 1.2 or newer with this certificate; None without one. Raises Invalid when it cannot be read."""
    if not settings.tls_cert or not settings.tls_key:
        return None
    import ssl  # see above

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(
            f"the certificate {settings.tls_cert} with the key {settings.tls_key} is no good: {error}"
        ) from error
    return context
