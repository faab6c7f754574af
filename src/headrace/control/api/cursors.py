"""The cursor of a list: the place of the last item, as text that fits into a URL. Opaque to callers; nothing secret."""

from __future__ import annotations

import base64
from typing import Any, TypeVar, cast

import msgspec

from headrace.model.errors import Invalid, Problem

T = TypeVar("T")
CURSOR_MAX = 2**62


def cursor_of(place: tuple[int | str, ...]) -> str:
    """The cursor of this place."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def place_of(cursor: str | None, kind: type[T]) -> T | None:
    """The place of a cursor; None when there is none. Raises Invalid (400) for what is not one of ours."""
    if not cursor:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(raw, type=kind)
        if any(isinstance(part, int) and abs(part) > CURSOR_MAX for part in cast(tuple[Any, ...], place)):
            raise ValueError
    except (ValueError, msgspec.DecodeError) as error:
        problem = Problem("query.cursor", "is not one of ours")
        raise Invalid("query parameter cursor: is not one of ours", problems=(problem,), malformed=True) from error
    return place
