"""Instants and durations as query parameters give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.control.api.call import Call
from headrace.core.durations import millis
from headrace.model.errors import HeadraceError, Invalid, Problem

NO_INSTANT = "must be an instant such as 2026-03-29T01:30:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds_of(call: Call, name: str, most: float) -> float:
    """A duration parameter (``30s``, ``500ms``, or a plain number of seconds), at most ``most``; 0 when absent."""
    text = call.text(name)
    if not text:
        return 0.0
    try:
        seconds = float(text) if text.replace(".", "", 1).isdigit() else millis(text) / 1000
    except (HeadraceError, ValueError, OverflowError) as error:
        raise _bad(name, "must be a duration such as 30s") from error
    return min(max(seconds, 0.0), most)


def instant_of(call: Call, name: str) -> int | None:
    """An instant parameter (ISO 8601, UTC when it names no zone) in microseconds; None when absent."""
    text = call.text(name)
    if not text:
        return None
    # a plus sign that was not percent-encoded arrives as a space
    at = micros(text.replace(" ", "+") if "T" in text else text)
    if at is None:
        raise _bad(name, NO_INSTANT)
    return at


def micros(text: str) -> int | None:
    """Microseconds of an instant (ISO 8601, UTC when it names no zone); None for a text that is none."""
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return (at - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _bad(name: str, message: str) -> Invalid:
    return Invalid(f"query parameter {name}: {message}", problems=(Problem(f"query.{name}", message),), malformed=True)
