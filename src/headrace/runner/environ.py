"""The environment variables of the running call: given before it, taken back after it, whatever it did to them.

Most are the same for thousands of calls, so only what differs is set. Texts that change with each call lie in memory of
ours: ``setenv`` keeps every text it was ever given, and a runner would grow by each of its calls. Called by
``runner.place`` only.
"""

from __future__ import annotations

import ctypes
import os
import sys

from headrace.runner.protocol import Call
from headrace.runner.variables import parameters

OWN = (
    "HEADRACE_RUN",
    "HEADRACE_TASK",
    "HEADRACE_ATTEMPT",
    "HEADRACE_EPOCH",
    "HEADRACE_JOB",
    "HEADRACE_URL",
    "HEADRACE_TOKEN",
)
RUN, TASK, ATTEMPT, EPOCH, JOB, URL, TOKEN = (os.fsencode(name) for name in OWN)
ENCODING, ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class Environ:
    """The variables that every call has, with ``fixed`` among them, and those of the call."""

    def __init__(self, fixed: dict[str, str]) -> None:
        self._base = dict(os.environ)
        self._fixed = fixed
        self._given: dict[str, str] = {}
        self._given_due = False
        self._last: Call | None = None
        """Whose variables they are."""
        self._set: dict[bytes, bytes] = {}
        """What the variables were after ``enter``."""
        self._plain = False
        """They are as ``enter`` left them, and it was for a call without any of its own."""
        self._texts: dict[bytes, ctypes.Array[ctypes.c_char]] = {}
        """The memory of ours, never given back: somebody may look at it still."""
        self._placed: set[bytes] = set()
        """Which of it the C library has."""
        self._putenv = ctypes.PyDLL(None).putenv

    def give(self, params: bytes) -> None:
        """The parameters of the calls from here on."""
        given = parameters(params)
        if self._given.keys() - given.keys():
            self._plain = False
        self._given_due = self._given_due or given != self._given
        self._given = given

    def enter(self, call: Call) -> None:
        """These are the variables of this call."""
        plain = not (call.env or call.outputs or call.inputs)
        last = self._last
        known, self._plain = plain and self._plain, False
        if known and last is not None:
            self._change(call, last)
            if self._given_due:
                for name, value in self._given.items():
                    self._put(os.fsencode(name), os.fsencode(value))
        else:
            self._replace(call)
        self._last, self._given_due, self._plain = call, False, plain

    def leave(self) -> None:
        """The call is over: did it change them?"""
        if os.environ._data != self._set:  # type: ignore[attr-defined]  # noqa: SLF001  # reason: comparing all variables decoded costs 20 µs a call
            self._plain = False

    def _change(self, call: Call, last: Call) -> None:
        if call.run != last.run:
            self._put(RUN, b"%d" % call.run)
        if call.token != last.token:
            self._put(TOKEN, call.token.encode(ENCODING, ERRORS))
        if call.task != last.task:
            self._put(TASK, call.task.encode(ENCODING, ERRORS))
        if call.job != last.job:
            self._put(JOB, call.job.encode(ENCODING, ERRORS))
        if call.attempt != last.attempt:
            self._put(ATTEMPT, b"%d" % call.attempt)
        if call.epoch != last.epoch:
            self._put(EPOCH, b"%d" % call.epoch)
        if call.url != last.url:
            self._put(URL, call.url.encode(ENCODING, ERRORS))

    def _put(self, key: bytes, value: bytes) -> None:
        """What ``os.environ`` does, but for the memory."""
        os.environ._data[key] = self._set[key] = value  # type: ignore[attr-defined]  # noqa: SLF001  # reason: see above
        text = self._texts.get(key)
        line = key + b"=" + value
        if text is None or len(line) >= len(text):
            text = ctypes.create_string_buffer(2 * len(line) + 32)
            self._placed.discard(key)
        text.value = line
        if key not in self._placed:
            self._putenv(text)
            self._placed.add(key)
            # Only now: the one before must live until the C library looks at it no longer.
            self._texts[key] = text

    def _replace(self, call: Call) -> None:
        own = (call.run, call.task, call.attempt, call.epoch, call.job, call.url, call.token)
        mine = {name: str(value) for name, value in zip(OWN, own, strict=True)}
        os.environ.clear()
        os.environ.update({**self._base, **call.env, **self._fixed, **mine, **self._given, **folders(call)})
        self._set = dict(os.environ._data)  # type: ignore[attr-defined]  # noqa: SLF001  # reason: see above
        self._placed.clear()


def folders(call: Call) -> dict[str, str]:
    """Variables of the folders that are the call's own."""
    named = {"HEADRACE_OUTPUTS": call.outputs, "HEADRACE_INPUTS": call.inputs}
    return {name: path for name, path in named.items() if path}
