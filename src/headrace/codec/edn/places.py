"""Where the parts of an EDN text stand: line and column of every path, for problems that are found later.

Only for texts that ``codec.edn.read`` accepts; read once more, when somebody asks. Called by ``codec.wire``.
"""

from __future__ import annotations

from typing import Any

from headrace.codec.edn import tokens
from headrace.codec.edn.values import Keyword
from headrace.codec.positions import Lines, Place
from headrace.model.naming import path_text

_Path = tuple[str | int, ...]
_OPENS = frozenset({"[", "(", "{", "#{"})


def places(data: bytes) -> dict[str, Place]:
    """Line and column of every path. A path names record fields without their namespace, as problems do."""
    text = data.decode()
    lines = Lines(text)
    walk = _Walk()
    for word, offset in zip(tokens.cut(text).words, tokens.found(text), strict=False):
        walk.word(word, offset)
    return {path_text(path): lines.place(offset) for path, offset in walk.found.items()}


class _Walk:
    """The path of each word. ``skip`` counts values that a discard still has to swallow, per level."""

    def __init__(self) -> None:
        self.found: dict[_Path, int] = {}
        self._levels: list[_Level] = [_Level((), keyed=False, root=True)]

    def word(self, word: str, offset: int) -> None:
        level = self._levels[-1]
        if word in _OPENS:
            path = level.begin(offset, self.found)
            self._levels.append(_Level(path, keyed=word == "{", muted=level.skip > 0 or level.muted))
        elif word in ("]", ")", "}"):
            if len(self._levels) > 1:
                self._levels.pop()
                self._levels[-1].end(None)
        elif word == "#_":
            level.skip += 1
        elif word and (word[0] != "#" or word.startswith("##")):
            level.begin(offset, self.found)
            level.end(word)


class _Level:
    """One container: what the next value in it is called."""

    def __init__(self, path: _Path, *, keyed: bool, muted: bool = False, root: bool = False) -> None:
        self.path = path
        self.keyed = keyed
        self.muted = muted
        self._root = root
        self.skip = 0
        self._at = 0
        self._key: str | None = None

    def begin(self, offset: int, found: dict[_Path, int]) -> _Path:
        """A value begins here: its path."""
        if self.skip or self.muted or (self.keyed and self._key is None):
            return self.path
        path = self.path if self._root else (*self.path, self._key if self._key is not None else self._at)
        found.setdefault(path, offset)
        return path

    def end(self, word: str | None) -> None:
        """A value has ended; ``word`` when it was a single one."""
        if self.skip:
            self.skip -= 1
        elif self.keyed and self._key is None:
            self._key = _name(word)
        else:
            self._at += 1
            self._key = None


def _name(word: str | None) -> str:
    try:
        value: Any = tokens.keyword(word) if word and word[0] == ":" else tokens.string(word or "")
    except ValueError:
        return word or ""
    return value.name.rpartition("/")[2] if isinstance(value, Keyword) else value
