"""``print``, logging and warnings of user code become log records at once; nothing to set up.

Installs ``sys.stdout``, ``sys.stderr`` and one handler on the root logger; touches no file. Called by ``runner.main``.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from headrace.runner.outbox import Outbox


class Stream(io.RawIOBase):
    """The bytes below ``sys.stdout`` or ``sys.stderr``."""

    def __init__(self, outbox: Outbox, stream: str, fd: int) -> None:
        self._outbox = outbox
        self._stream = stream
        self._fd = fd

    def write(self, data: ReadableBuffer, /) -> int:
        """Into the log, at once."""
        piece = bytes(data)
        if piece:
            self._outbox.log(self._stream, piece)
        return len(piece)

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The real descriptor, for subprocesses: it is captured as well."""
        return self._fd


class Handler(logging.Handler):
    """The root logger's handler."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """One record, with its level and its logger's name."""
        try:
            text = self.format(record) + "\n"
            self._outbox.log("log", text.encode("utf-8", "backslashreplace"), record.levelname, record.name)
        except Exception:  # reason: logging must never fail the work; the standard way to say so
            self.handleError(record)


def install(outbox: Outbox) -> None:
    """From here on everything that user code says is captured."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        outbox.capture(fd, name)
        raw = Stream(outbox, name, fd)
        text = io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)  # type: ignore[type-var]  # reason: a raw stream is a buffer that holds nothing back
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    logging.root.addHandler(Handler(outbox))
    logging.root.setLevel(logging.INFO)
    logging.captureWarnings(True)
