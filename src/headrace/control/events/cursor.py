"""Where a reader of events stands: opaque text outside, a place in the order of commits inside.

Says what was read last, so that nothing is told twice and nothing is left out. Pure. Called by the feed and the API.
"""

from __future__ import annotations

import base64
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from headrace.model.errors import HeadraceError, Invalid
from headrace.store.rows import Place

_Whole = Annotated[int, Meta(ge=0, le=2**62)]
_TEXT_MAX = 100
ALL = 2**40
"""An item beyond any: the whole commit was read."""


class Gone(HeadraceError):
    """What was asked for is older than what is kept."""

    status = 410


class Cursor(Struct, frozen=True, array_like=True, order=True, gc=False, forbid_unknown_fields=True):
    """The event that was read last: the commit's place, which of its rows, which fact of that. Ordered as events are.

    ``incarnation`` is the store's: after a restore some of what was told never was.
    """

    incarnation: _Whole
    position: _Whole = 0
    second: _Whole = 0
    item: _Whole = ALL
    fact: _Whole = 0

    @property
    def before(self) -> Place:
        """The place after which commits have something to read: the last one again unless it was read whole."""
        return Place(self.position, self.second if self.item >= ALL else self.second - 1)

    def text(self) -> str:
        """As callers see it: URL-safe."""
        return base64.urlsafe_b64encode(_encode(self)).decode().rstrip("=")


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def read_cursor(text: str) -> Cursor:
    """The cursor again. Raises Invalid (400) for anything that was not given out here."""
    try:
        if len(text) > _TEXT_MAX or not text.isascii():
            raise ValueError
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = _decode(raw)
    except (ValueError, msgspec.DecodeError) as error:
        raise Invalid("the cursor is not one of ours", malformed=True) from error
    return cursor
