"""``http``: one HTTP request as the work of a task. It runs where Python tasks run, never in control.

Built on the standard library. Redirects are not followed and bodies are bounded; the log says which request was made
and how it was answered, without what may be secret: no header, no query, no body. Called by the runner, and by jobs
that are called in this process.
"""

from __future__ import annotations

import base64
import http.client
import logging
import time
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from headrace.author.context import Context
from headrace.author.errors import Fail
from headrace.author.task import task

BODY_MAX = 8 * 1024 * 1024
"""Bytes of an answer's body; a longer one fails the attempt."""

SILENCE_S = 300.0
"""Seconds without a byte from the other end; the task's ``timeout`` is for the whole of it."""

SHOWN_MAX = 500
"""Characters of an unexpected answer that the error shows."""

log = logging.getLogger("headrace.http")


class UnexpectedStatus(Exception):
    """The answer's status is none of those that were expected; it is the attempt's exit status."""


class TooLong(Exception):
    """The answer's body is longer than ``BODY_MAX``."""


@task
def request(
    ctx: Context,
    url: str,
    method: str = "GET",
    headers: dict[str, Any] | None = None,
    body: Any = None,
    expect: Any = "2xx",
) -> dict[str, Any]:
    """Make the request; gives ``{status, headers, body}``: the body as data if it is JSON, else as text.

    A body that is no text at all comes as base64, and ``encoding`` says so. Raises UnexpectedStatus, TooLong, OSError
    (no connection, no answer), and Fail for what is no request.
    """
    parts = _parts(url)
    sent, data = _sent(headers or {}, body, parts)
    began = time.monotonic()
    connection = _connection(parts)
    try:
        connection.request(method, _target(parts), data, sent)
        answer = connection.getresponse()
        raw = b"" if method == "HEAD" else answer.read(BODY_MAX + 1)
    except (http.client.InvalidURL, ValueError) as e:
        raise Fail(f"this is no request that can be sent: {e}") from e
    except http.client.HTTPException as e:
        raise ConnectionError(f"{method} {_shown(parts)}: the answer is no HTTP: {type(e).__name__} {e}") from None
    except OSError as e:
        # The frames of the standard library say nothing; the address says what is wrong.
        raise _no_answer(e, f"{method} {_shown(parts)}: {e.strerror or e}") from None
    finally:
        connection.close()
    took = (time.monotonic() - began) * 1000
    log.info("%s %s → %d %s, %d bytes in %.0f ms", method, _shown(parts), answer.status, answer.reason, len(raw), took)
    ctx.exit_status = str(answer.status)
    if len(raw) > BODY_MAX:
        raise TooLong(f"the answer of {_shown(parts)} is longer than {BODY_MAX} bytes")
    result = {"status": answer.status, "headers": _received(answer), **_read(answer, raw)}
    if not expected(answer.status, expect):
        raise UnexpectedStatus(_unexpected(method, parts, answer, expect, result["body"]))
    return result


def expected(status: int, expect: Any) -> bool:
    """Whether a status is among those: ``200``, ``2xx``, or a list of such."""
    wanted = expect if isinstance(expect, list | tuple) else [expect]
    return any(str(one) == str(status) or str(one).lower() == f"{status // 100}xx" for one in wanted)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as e:
        raise Fail(f"{url[:80]!r} is no address: {e}") from e
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Fail(f"{parts.scheme[:20]}://{(parts.hostname or '')[:80]} is no address; write http://… or https://…")
    return parts


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    host = str(parts.hostname)
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=SILENCE_S)
    import ssl  # costs more than the rest of this file, and many requests stay within a machine

    return http.client.HTTPSConnection(host, parts.port, timeout=SILENCE_S, context=ssl.create_default_context())


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return f"{path}?{query}" if query else path


def _sent(headers: dict[str, Any], body: Any, parts: SplitResult) -> tuple[dict[str, str], bytes | None]:
    """The headers and the bytes that go out."""
    given = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in headers.items()
    }
    names = {name.lower() for name in given}
    defaults = {"User-Agent": "headrace", "Accept": "*/*", "Accept-Encoding": "identity"}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        defaults["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    data: bytes | None = None
    if isinstance(body, str):
        data = body.encode()
        defaults["Content-Type"] = "text/plain; charset=utf-8"
    elif body is not None:
        data = msgspec.json.encode(body)
        defaults["Content-Type"] = "application/json"
    return {**{name: value for name, value in defaults.items() if name.lower() not in names}, **given}, data


def _received(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Headers by lower-case name; what comes several times is joined."""
    found: dict[str, str] = {}
    for name, value in answer.getheaders():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _read(answer: http.client.HTTPResponse, raw: bytes) -> dict[str, Any]:
    kind = answer.headers.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return {"body": msgspec.json.decode(raw) if raw else None}
        except (msgspec.DecodeError, RecursionError):
            pass
    try:
        return {"body": raw.decode(answer.headers.get_content_charset() or "utf-8")}
    except (UnicodeDecodeError, LookupError):
        return {"body": base64.b64encode(raw).decode(), "encoding": "base64"}


def _unexpected(method: str, parts: SplitResult, answer: http.client.HTTPResponse, expect: Any, body: Any) -> str:
    text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
    said = f": {text[:SHOWN_MAX]}" if text else ""
    wanted = ", ".join(map(str, expect)) if isinstance(expect, list | tuple) else expect
    return f"{method} {_shown(parts)} answered {answer.status} {answer.reason}, expected {wanted}{said}"


def _no_answer(error: OSError, text: str) -> OSError:
    """The same failure in words: its class, by which ``retries`` may name it, stays where it is one of Python's own."""
    if isinstance(error, TimeoutError):
        return TimeoutError(text)
    return type(error)(text) if type(error) in _KEPT else ConnectionError(text)


_KEPT = (ConnectionRefusedError, ConnectionResetError, ConnectionAbortedError, BrokenPipeError)


def _shown(parts: SplitResult) -> str:
    """The address as logs show it: without user, password and query."""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
