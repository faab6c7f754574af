"""Finds a key that stands twice in one object of a MessagePack text: msgspec keeps the last one and says nothing.

Only for texts that msgspec has read already, so every length is within the text. Never recursive. Called by
``codec.wire`` for texts that are not written as msgspec would write them.
"""

from __future__ import annotations

from typing import Final

_SIZES: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8, 0xCA: 4, 0xCB: 8}
"""Bytes of a number behind its mark."""
_FIXED: Final = {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
"""Bytes of an extension of fixed size behind its mark."""
_COUNTED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""Bytes of the length of texts, bytes and extensions."""
_MANY: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""Bytes of the count of arrays and maps."""


def key_twice(data: bytes) -> str | None:
    """The first key that an object names a second time, or None."""
    stack: list[list[int]] = []
    seen: list[set[bytes] | None] = []
    at = 0
    while at < len(data):
        keys = seen[-1] if seen else None
        is_key = keys is not None and stack[-1][0] % 2 == 0
        start = at
        at, count, keyed = _head(data, at)
        if is_key and keys is not None:
            key = _text(data[start:at])
            if key in keys:
                return key.decode(errors="replace")
            keys.add(key)
        if stack:
            stack[-1][0] -= 1
        if count:
            stack.append([count])
            seen.append(set() if keyed else None)
        while stack and not stack[-1][0]:
            stack.pop()
            seen.pop()
    return None


def _head(data: bytes, at: int) -> tuple[int, int, bool]:
    """Behind one value (or the head of a container): place, values that follow, whether they are keys and values."""
    mark = data[at]
    at += 1
    if mark <= 0x7F or mark >= 0xE0 or mark in (0xC0, 0xC2, 0xC3):
        return at, 0, False
    if mark <= 0x8F:
        return at, 2 * (mark & 0x0F), True
    if mark <= 0x9F:
        return at, mark & 0x0F, False
    if mark <= 0xBF:
        return at + (mark & 0x1F), 0, False
    if mark in _MANY:
        size = _MANY[mark]
        count = int.from_bytes(data[at : at + size], "big")
        keyed = mark >= 0xDE
        return at + size, 2 * count if keyed else count, keyed
    if mark in _COUNTED:
        size = _COUNTED[mark]
        extra = 1 if 0xC7 <= mark <= 0xC9 else 0
        return at + size + extra + int.from_bytes(data[at : at + size], "big"), 0, False
    return at + (_SIZES.get(mark) or _FIXED.get(mark, 1)), 0, False


def _text(raw: bytes) -> bytes:
    """A key's bytes without its mark and length, so that the same text in two lengths of mark is the same key."""
    mark = raw[0]
    if 0xA0 <= mark <= 0xBF:
        return raw[1:]
    size = {0xD9: 2, 0xDA: 3, 0xDB: 5}.get(mark, 0)
    return raw[size:]
