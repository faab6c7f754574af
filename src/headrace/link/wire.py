"""Names, targets and bytes that both ends of the link must agree on. Pure; called by ``link.unix`` and ``agent.api``."""

from __future__ import annotations

import re

import msgspec

from headrace.link.port import Bell
from headrace.link.records import AttemptName
from headrace.model.errors import Invalid, LinkError

MSGPACK = "application/msgpack"
JSON = "application/json"
EDN = "application/edn"

BODY_MAX = 16 * 1024 * 1024
"""The largest request body an agent takes, packages and blobs apart."""

PACKAGE_MAX = 64 * 1024 * 1024
"""The largest package or input blob."""

FETCH_PIECE = 1024 * 1024
"""Bytes of a blob per request."""

DOORBELL_PATH = "/api/v1/link/doorbell"
"""Where control's socket takes doorbells."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_BELLS = msgspec.msgpack.Decoder(Bell)
_ENCODER = msgspec.msgpack.Encoder()


def encode_bell(record: Bell) -> bytes:
    """One doorbell record as MessagePack."""
    return _ENCODER.encode(record)


def decode_bell(data: bytes) -> Bell:
    """One doorbell record. Raises ``LinkError``."""
    try:
        record: Bell = _BELLS.decode(data)
    except msgspec.MsgspecError as e:
        raise LinkError(f"not a doorbell record: {e}") from e
    return record


def name_text(name: AttemptName) -> str:
    """An attempt's name as one path segment: ``run.no.index.epoch``."""
    return f"{name.run}.{name.no}.{name.index}.{name.epoch}"


def parse_name(text: str) -> AttemptName:
    """The opposite of ``name_text``. Raises ``Invalid``; never lets anything but digits and dots through."""
    parts = text.split(".")
    if len(parts) != 4 or not all(re.fullmatch(r"-?[0-9]{1,19}", p) for p in parts):
        raise Invalid(f"not the name of an attempt: {text[:80]!r}", malformed=True)
    return AttemptName(*(int(p) for p in parts))


def check_digest(text: str) -> str:
    """A SHA-256 in lower-case hex, safe as a file name. Raises ``Invalid``."""
    if not _DIGEST.match(text):
        raise Invalid(f"not a digest: {text[:80]!r}", malformed=True)
    return text
