"""What a request must look like before anybody looks at who sent it: its Host, its Origin, its size.

The Host allow-list defeats DNS rebinding, the origin check other people's web pages. Called by
``control.api.dispatch`` (and by whoever opens sockets) before authentication.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.model.errors import Forbidden, HeadraceError, Invalid

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PATH_MAX = 4096
QUERY_MAX = 16_384
HEADERS_MAX = 100
HEADER_BYTES_MAX = 65_536


class Misdirected(HeadraceError):
    """The Host header names no name of this server."""

    status = 421


class TooLong(HeadraceError):
    """The address is longer than any of ours."""

    status = 414


class HeadersTooLarge(HeadraceError):
    """More headers, or longer ones, than are read."""

    status = 431


class Guard:
    """Remembers which Host headers are good; everything else is checked each time."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._names = frozenset({*LOOPBACK, *(h.lower() for h in hosts)})
        self._good: frozenset[bytes] = frozenset()

    def check(self, scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> None:
        """Raise Invalid, Misdirected, TooLong or HeadersTooLarge."""
        if "\0" in scope["path"]:
            raise Invalid("the path has a NUL character", malformed=True)
        host = headers.get(b"host", b"")
        if host not in self._good:
            self._check_host(host)
        if len(scope["path"]) > PATH_MAX or len(scope["query_string"]) > QUERY_MAX:
            raise TooLong(f"the path may have {PATH_MAX} characters, the query {QUERY_MAX}")
        if len(scope["headers"]) > HEADERS_MAX or sum(map(len, headers.values())) > HEADER_BYTES_MAX:
            raise HeadersTooLarge(f"at most {HEADERS_MAX} headers and {HEADER_BYTES_MAX} bytes of them")

    def _check_host(self, host: bytes) -> None:
        text = host.decode("latin-1").lower()
        name, _, port = text.rpartition(":")
        if not name or not port.isdigit():
            name = text
        if name not in self._names:
            raise Misdirected(f"this server is not called {text[:100]!r}; a setting names further hosts")
        if len(self._good) < 64:
            self._good |= {host}


def from_own_page(headers: Mapping[bytes, bytes], *, secure: bool, surely: bool) -> None:
    """Raise Forbidden for what another site's page asks for. A browser says where a page came from; tools say nothing.

    ``secure``: we speak TLS, and so must the page (without it a proxy before us may). ``surely``: the caller came by cookie, which only browsers send: saying nothing is refused too.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None and site not in {b"same-origin", b"none"}:
        raise Forbidden("this request comes from another site's page")
    origin = headers.get(b"origin")
    if origin is not None and _is_other(origin, headers.get(b"host", b""), secure=secure):
        raise Forbidden("this request comes from another origin's page")
    if surely and site is None and origin is None:
        raise Forbidden("a session's cookie alone is not enough: the header Origin or Sec-Fetch-Site is missing")


def _is_other(origin: bytes, host: bytes, *, secure: bool) -> bool:
    scheme, _, place = origin.partition(b"://")
    return place != host or (secure and scheme != b"https")
