"""What control and agent say to each other, as records. MessagePack or JSON; fields only added.

Control calls the agent (``Assign``, ``StopOrder``, ``Feed`` requests); the agent's socket carries ``Hello`` and
``Pulse`` only. An attempt is named by (run, no, index, epoch).
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from headrace.model.changes import OutcomeKind


class AttemptName(Struct, frozen=True, array_like=True):
    """Which attempt is meant; the epoch makes the name unique for ever."""

    run: int
    no: int
    index: int
    epoch: int


class Assignment(Struct, frozen=True, omit_defaults=True):
    """One attempt to make. Everything is rendered: the agent evaluates nothing.

    ``kind`` is command | script | python. For python: ``target`` is ``module:name``, ``package`` the digest (empty: the
    interpreter's own modules), ``args`` the JSON text of the keyword arguments. ``timeout_ms`` 0 means none; it counts
    from the start. ``graph`` and ``attempt`` are carried back in the outcome.
    """

    edn_namespace: ClassVar[str] = "attempt"

    run: int
    no: int
    index: int
    epoch: int
    attempt: int
    graph: int
    kind: str
    task: str
    job: str = ""
    label: str = ""
    argv: tuple[str, ...] = ()
    script: str = ""
    target: str = ""
    package: str = ""
    args: bytes = b"{}"
    params: bytes = b"{}"
    env: dict[str, str] = {}
    outputs: tuple[str, ...] = ()
    inputs: tuple[InputFile, ...] = ()
    timeout_ms: int = 0
    grace_ms: int = 10_000
    token: str = ""
    url: str = ""
    log_max: int = 67_108_864
    prefetch: bool = False
    shared: int = -1
    """The place of its parameters in ``Start.params`` on the way (``link.sharing``); an agent has them in ``params``."""

    @property
    def name(self) -> AttemptName:
        return AttemptName(self.run, self.no, self.index, self.epoch)


class InputFile(Struct, frozen=True, array_like=True):
    """A file an earlier task left, to be put at ``path`` under the inputs folder; the bytes are fetched by digest."""

    path: str
    digest: str
    size: int


class Start(Struct, frozen=True):
    """``POST /attempts``: a batch. Accepting is idempotent per attempt name. ``params``: what many of them share."""

    link_epoch: int
    attempts: list[Assignment]
    params: list[bytes] = []


class Accepted(Struct, frozen=True):
    """The answer: what was refused, and why; all others are the agent's now, written to its journal."""

    refused: list[tuple[AttemptName, str]] = []
    free: int = 0


class StopOrder(Struct, frozen=True):
    """``POST /attempts/stop``: ask, and after ``grace_ms`` kill. ``fence`` kills at once and reports nothing."""

    link_epoch: int
    attempts: list[tuple[AttemptName, int]]
    reason: str = "canceled"
    fence: bool = False
    take_back: bool = False
    """Give back what has not begun (reported as refused) instead of stopping what runs."""


class StreamSeal(Struct, frozen=True, array_like=True):
    """The end of one stream: ``last`` record number, bytes written by the work, bytes kept; differing means a marked cut."""

    stream: str
    last: int
    written: int
    kept: int


class Seal(Struct, frozen=True, array_like=True):
    """The log of an attempt is complete: its streams' ends, and the records themselves when they are few.

    ``inline`` is MessagePack of ``list[LogRecord]`` (at most 4 KiB); otherwise ``last`` says up to which record number
    the log can be fetched from the agent's spool. ``cut`` is the reason when bytes are missing.
    """

    last: int = 0
    streams: tuple[StreamSeal, ...] = ()
    inline: bytes = b""
    cut: str = ""


class LogRecord(Struct, frozen=True, array_like=True):
    """One piece of log. ``seq`` is dense per attempt, from 1. ``stream`` is stdout | stderr | log | system.

    ``data`` are the bytes as they were written; ``level`` and ``logger`` are set for structured records.
    """

    seq: int
    at: int
    stream: str
    data: bytes
    level: str = ""
    logger: str = ""
    fields: dict[str, Any] | None = None


class Artifact(Struct, frozen=True, array_like=True):
    """A file the attempt left; its bytes can be fetched from the agent by digest until the outcome is acknowledged."""

    path: str
    digest: str
    size: int


class Outcome(Struct, frozen=True, omit_defaults=True):
    """The end of an attempt. ``m`` is the agent's own number of it, dense per boot id.

    ``result`` is a JSON text (at most 256 KiB inline, else ``result_digest`` names bytes to fetch, JSON Lines when
    ``result_lines``). ``error`` is the JSON text of ``{type, message, traceback, frames, cause}``.
    """

    edn_namespace: ClassVar[str] = "attempt"

    m: int
    run: int
    no: int
    index: int
    epoch: int
    graph: int
    attempt: int
    kind: OutcomeKind
    started_at: int
    ended_at: int
    exit_status: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    result: bytes | None = None
    result_digest: str = ""
    result_size: int = 0
    result_lines: bool = False
    result_count: int = -1
    error: bytes | None = None
    error_types: tuple[str, ...] = ()
    stop_retry: bool = False
    skip: bool = False
    retry_after: int | None = None
    reason: str | None = None
    artifacts: tuple[Artifact, ...] = ()
    seal: Seal | None = None
    progress: bytes = b""


class StartedNote(Struct, frozen=True, array_like=True):
    """An attempt that is running while the feed is read. Told once."""

    run: int
    no: int
    index: int
    epoch: int
    graph: int
    at: int
    said: bytes = b""
    """What the work has said of itself so far, as JSON text: phase, message, done, total, note. Told when there is more."""


class Feed(Struct, frozen=True):
    """``GET /outcomes?after=m&wait=20s``: at most 4 MiB. ``first`` is the lowest ``m`` the agent still has."""

    boot: str
    outcomes: list[Outcome] = []
    started: list[StartedNote] = []
    first: int = 1
    last: int = 0


class Hello(Struct, frozen=True, tag="hello"):
    """First on the doorbell, from the agent: who it is, what it has, what it still holds."""

    agent: str
    boot: str
    slots: int
    labels: dict[str, str] = {}
    version: str = ""
    runners: tuple[str, ...] = ()
    address: str = ""
    last: int = 0
    """Highest outcome number of this boot."""
    draining: bool = False
    """It takes no new work."""


class Welcome(Struct, frozen=True, tag="welcome"):
    """Control's answer: the link epoch that every call will carry."""

    agent: int
    link_epoch: int
    after: int = 0


class Pulse(Struct, frozen=True, tag="pulse"):
    """Alive, and how busy. Answered by the same number; ``bell`` says that outcomes are ready and no GET is open."""

    n: int
    load: float = 0.0
    running: int = 0
    queued: int = 0
    bell: bool = False
    draining: bool = False
    """It takes no new work."""


class PulseAnswer(Struct, frozen=True, tag="answer"):
    """The pulse was heard."""

    n: int


class Held(Struct, frozen=True):
    """``GET /attempts``: what the agent holds now: accepted or running (not finished and acknowledged)."""

    boot: str
    attempts: list[AttemptName] = []
    finished: list[AttemptName] = []
    logs: list[AttemptName] = []
    """Ended attempts whose spooled logs were not dropped yet: what control has still to fetch after a restart."""
