"""Which format an answer takes and how a body is read: ``Accept`` and ``Content-Type``, nothing else.

Called by ``control.api.dispatch`` for every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from headrace.codec import edn
from headrace.codec.documents import attach, read_document
from headrace.codec.shape import shape
from headrace.codec.strict_json import surely_strict
from headrace.codec.wire import plain
from headrace.control.api.table import ANYTHING, EDN, HTML, JSON, MSGPACK, MSGPACK_OLD, PROBLEM, RECORDS, TEXT
from headrace.model.errors import HeadraceError, Invalid

ALIASES = {MSGPACK_OLD: MSGPACK, "application/x-yaml": "application/yaml", "text/yaml": "application/yaml"}
T = TypeVar("T")
AT_ONCE, AT_ONCE_JSON = 65_536, 1_048_576
"""Bytes of a body that is read on the loop: of most formats, and of JSON, which mostly is read by msgspec."""
_JSON_BY_DEFAULT = frozenset({b"*/*", b"application/json", b"application/json, */*", b"application/*", b""})


class NotAcceptable(HeadraceError):
    """None of the media types that the caller accepts can be written here."""

    status = 406


class Unsupported(HeadraceError):
    """The body's media type is not one of those that this call reads."""

    status = 415


def media_of(header: bytes | None, offered: tuple[str, ...]) -> str:
    """The media type of the answer. ``offered`` is in order of preference. Raises NotAcceptable.

    Bytes that are what they are (``ANYTHING``) are given to everybody: their own type says what they are.
    """
    if header is None or header in _JSON_BY_DEFAULT or offered is ANYTHING:
        return offered[0]
    ranges = _ranges(header)
    best, best_quality = "", 0.0
    for media in offered:
        quality = _quality(media, ranges)
        if quality > best_quality:
            best, best_quality = media, quality
    if best:
        return best
    raise NotAcceptable(f"this call answers {', '.join(offered)}")


def content_type(header: bytes | None, accepted: tuple[str, ...]) -> str:
    """The media type of the body, ``accepted[0]`` when none was sent. Raises Unsupported."""
    if header is None or header == b"application/json":
        media = JSON if header is not None else accepted[0]
    else:
        media = header.decode("latin-1").partition(";")[0].strip().lower()
        media = ALIASES.get(media, media)
    if media in accepted:
        return media
    if media == "application/x-www-form-urlencoded" and JSON in accepted:
        raise Unsupported(f"the body must be one of {', '.join(accepted)}: send the header Content-Type")
    raise Unsupported(f"{media[:80]!r} is not read here; this call reads {', '.join(accepted)}")


async def apart(read: Callable[[bytes, str], T], raw: bytes, media: str) -> T:
    """What ``read`` makes of a body; of a large one in a thread, because our own readers take a second for 4 MiB."""
    if len(raw) <= (AT_ONCE_JSON if media == JSON else AT_ONCE):
        return read(raw, media)
    return await asyncio.to_thread(read, raw, media)


class Decoders:
    """Fast readers of the request records, one per route and format; the slow way only to list what is wrong."""

    def __init__(self, record: Any) -> None:
        self._record = record
        self._json = msgspec.json.Decoder(record)
        self._msgpack = msgspec.msgpack.Decoder(record)

    def decode(self, raw: bytes, media: str) -> Any:
        """The request record. An empty body stands for an empty object. Raises Invalid with every problem."""
        if not raw:
            raw = b"\x80" if media == MSGPACK else b"{}"
        if media == MSGPACK:
            data = plain(raw, MSGPACK)
            try:
                return self._msgpack.decode(raw)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
                return shape(data, self._record)
        if media == EDN:
            return self._shaped(raw, EDN)
        try:
            record = self._json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
            return self._shaped(raw, JSON)
        if surely_strict(raw):
            return record
        read_document(raw, media=JSON)
        return record

    def _shaped(self, raw: bytes, media: str) -> Any:
        """The record by way of plain data, which says where everything that is wrong stands."""
        document = read_document(raw, media=media, type_=self._record)
        try:
            return shape(document.data, self._record)
        except Invalid as error:
            raise Invalid(error.message, problems=tuple(attach(error.problems, document.positions))) from error


def encode(record: Any, media: str) -> bytes:
    """A view in JSON, EDN or MessagePack. All hold the same; instants are texts in JSON and MessagePack."""
    if media == EDN:
        return edn.write(record)
    if media == MSGPACK:
        # by way of JSON, so that both formats cannot differ: texts that are JSON already stand in some views
        try:
            return msgspec.msgpack.encode(msgspec.json.decode(msgspec.json.encode(record)))
        except (OverflowError, RecursionError) as error:
            raise NotAcceptable(f"this answer does not fit into {media} ({error}): ask for {JSON}") from error
    return msgspec.json.encode(record)


def problem_media(header: bytes | None) -> str:
    """The media type of a problem document: JSON unless the caller likes another one better."""
    if header is None or header in _JSON_BY_DEFAULT:
        return PROBLEM
    ranges = _ranges(header)
    best = max(RECORDS, key=lambda media: _quality(media, ranges))
    return PROBLEM if best == JSON else best


def header_of(media: str) -> bytes:
    """The ``Content-Type`` of an answer."""
    return f"{media}; charset=utf-8".encode() if media in {TEXT, HTML} else media.encode()


def _ranges(header: bytes) -> list[tuple[str, float]]:
    """(media range, quality) of an Accept header; nonsense counts as not acceptable, never as an error."""
    found = []
    for piece in header[:1024].decode("latin-1").split(",")[:32]:
        name, *options = [p.strip().lower() for p in piece.split(";")]
        quality = 1.0
        for option in options:
            if option.startswith("q="):
                try:
                    quality = float(option[2:])
                except ValueError:
                    quality = 0.0
        found.append((ALIASES.get(name, name), quality))
    return found


def _quality(media: str, ranges: list[tuple[str, float]]) -> float:
    """The quality of the most specific range that fits."""
    group = media.partition("/")[0] + "/*"
    for wanted in (media, group, "*/*"):
        fitting = [q for name, q in ranges if name == wanted]
        if fitting:
            return max(fitting)
    return 0.0
