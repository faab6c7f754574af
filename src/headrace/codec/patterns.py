r"""The ``pattern`` words of JSON Schema, matched in time linear in the text, so that no parameter can hold its reader.

The engine is RE2, loaded with the first pattern. It knows no look-around and no back-references; such a pattern is
refused with a sentence that says what to write instead. As JSON Schema asks, ``\d`` and ``\w`` mean ASCII and ``$``
means the very end. Must never give a user's pattern to Python's ``re``. Called by ``codec.params`` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

MAX_MEMORY = 1 << 20
"""Bytes that one compiled pattern may take; a larger one is refused, for its size is also its time per letter."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_LOOK_AROUND = ("(?=", "(?!", "(?<=", "(?<!")
_BACK_REFERENCE = re.compile(r"(?:[^\\]|^)(?:\\\\)*(?:\\[1-9]|\\k<|\(\?P=)")

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any]]


class BadPattern(ValueError):
    """A pattern that is not read; the text says why and how to mend it."""


def searched(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text. Raises ``BadPattern``."""
    return _compiled(pattern).search(text) is not None


def refusal(pattern: str) -> str | None:
    """Why this pattern is not read, and what to write instead; None for a good one."""
    try:
        _compiled(pattern)
    except BadPattern as error:
        return str(error)
    return None


def linear(stock: Any) -> Any:
    """The library's validator class with every test of a pattern replaced."""
    from jsonschema.validators import extend

    additional = stock.VALIDATORS["additionalProperties"]
    words = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": lambda *told: _additional_properties(additional, *told),
    }
    found = extend(stock, words)
    evolve = found.evolve

    def stay(self: Any, **changes: Any) -> Any:
        """Of this class for every part of the schema: ``$schema`` inside one would bring the library's own back."""
        schema = changes.get("schema")
        if isinstance(schema, dict) and "$schema" in schema:
            changes["schema"] = {word: value for word, value in schema.items() if word != "$schema"}
        return evolve(self, **changes)

    found.evolve = stay
    return found


def _compiled(pattern: str) -> Any:
    import re2  # 2.5 MB: only who writes patterns pays for it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    try:
        return re2.compile(_ESCAPE.sub(_spelled, pattern), options)  # the engine keeps the last 128
    except (re2.error, UnicodeEncodeError) as error:
        told = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadPattern(f"{told}; {_mend(pattern, told)}") from error


def _spelled(escape: re.Match[str]) -> str:
    r"""What the standard writes ``\u00e9`` and Python ``\Z``, in the engine's spelling."""
    if escape[1]:
        return rf"\x{{{escape[1]}}}"
    return r"\z" if escape[2] == "Z" else escape[0]


def _mend(pattern: str, told: str) -> str:
    if any(sign in pattern for sign in _LOOK_AROUND):
        return "there is no look-around: write allOf: [{pattern: …}, {pattern: …}], or not: {pattern: …}"
    if _BACK_REFERENCE.search(pattern):
        return "there are no back-references: write the alternatives out, or check it in the task"
    if "repetition size" in told or "too large" in told:
        return "a pattern repeats 1000 times at most and stays small: use minLength and maxLength"
    return "patterns are written as RE2 reads them (github.com/google/re2/wiki/Syntax)"


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not searched(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for name, value in instance.items():
            if searched(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(stock: Keyword, validator: Any, more: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """What neither ``properties`` nor a pattern names, given to the library's own test without the patterns."""
    patterns = schema.get("patternProperties")
    if patterns and isinstance(instance, dict):
        instance = {
            name: value for name, value in instance.items() if not any(searched(pattern, name) for pattern in patterns)
        }
        schema = {word: value for word, value in schema.items() if word != "patternProperties"}
    yield from stock(validator, more, instance, schema) or ()
