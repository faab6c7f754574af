"""What every answer of the API is made of: the base of all views, errors, problems.

Records only. Named everywhere through ``model.views``.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from headrace.model.errors import Problem


class View(Struct, frozen=True, kw_only=True):
    """Base: every field is always written, null when unknown."""


class ErrorFrame(Struct, frozen=True):
    """One line of a traceback; ``yours`` says it is user code."""

    file: str
    line: int
    function: str
    code: str = ""
    yours: bool = False


class ErrorView(Struct, frozen=True):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str = ""
    frames: list[ErrorFrame] = []
    cause: Any = None


class ProblemView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    instance: str | None = None
    problems: list[Problem] = []


class Ids(View, kw_only=True, frozen=True):
    """The ids of a batch, in the order of the request."""

    ids: list[int]
