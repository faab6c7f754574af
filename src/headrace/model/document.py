"""What every document of ours is made of: the base record, and the texts that have a form of their own.

No rules. Used by ``model.definition`` and ``model.schedule``, and by the records of requests.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

# ``$(?!\n)`` is the end of the text, both here and in the published JSON Schema: Python's ``$`` alone lets a line break follow.
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$(?!\n)",
        description="1 to 63 lower-case letters, digits, _ and -; the first is a letter or digit",
    ),
]
LABEL_MAX = 1_024
LabelText = Annotated[str, Meta(max_length=LABEL_MAX, pattern=r"^[^\x00]*$(?!\n)")]
"""A label's name or value: a text without a NUL character."""
Duration = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$(?!\n)", description="250ms, 5s, 10m, 2h, 1d")]
DurationOrInstant = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d)|[0-9]{4}-[0-9]{2}-[0-9]{2}[ -~]*)$(?!\n)",
        description="5s, 10m, 2h, 1d, or an instant as 2026-03-29T01:30:00Z",
    ),
]
Size = Annotated[str, Meta(pattern=r"^[0-9]+[KMGT]?$(?!\n)", description="512K, 512M, 2G")]
State = Annotated[str, Meta(extra={"edn": "keyword"})]
"""A state's name: a text in JSON, a keyword in EDN."""
Ours = Annotated[dict[str, Any], Meta(extra={"edn": "record"})]
"""A dictionary whose keys are ours, not a user's: keywords in EDN."""
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Priority = Annotated[int, Meta(ge=-100, le=100)]
StateWord = Literal["succeeded", "failed", "skipped", "canceled", "ended"]
Text = Annotated[str, Meta(max_length=1_048_576)]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", description="2026-03-29")]
WallTime = Annotated[
    str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$(?!\n)", description="02:00, 23:59:30")
]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the document's records: unknown fields are errors, what was not said is not written."""
