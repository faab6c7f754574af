"""What a process left when it ended: exit code, exit status text, result file; made into an ``Ending``.

The files are read by ``runner.left``, which believes nothing of them. Called by
``executors.command``.
"""

from __future__ import annotations

import errno
import signal

import msgspec

from headrace.agent.executors.port import Ending
from headrace.agent.places import FilePlace
from headrace.link.records import Artifact, Assignment
from headrace.model.changes import OutcomeKind
from headrace.runner.left import exit_status_in, result_in


class _Error(msgspec.Struct):
    type: str
    message: str
    traceback: str = ""
    frames: tuple[str, ...] = ()
    cause: str | None = None


def error_text(kind: str, message: str) -> bytes:
    """The JSON text of an error without a traceback."""
    return msgspec.json.encode(_Error(kind, message))


_SHORT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN})


def is_short(e: BaseException) -> bool:
    """The machine lacks something that will be there again: it is not the task that failed."""
    return isinstance(e, OSError) and e.errno in _SHORT


def failed_to_start(a: Assignment, e: Exception, now: int) -> Ending:
    """The main process could not be started: for want of space or memory it may be elsewhere, or later."""
    program = a.argv[0] if a.argv else "sh"
    code = {errno.ENOENT: 127, errno.EACCES: 126, errno.ENOEXEC: 126}.get(getattr(e, "errno", None) or 0)
    why = getattr(e, "strerror", None) or str(e)
    message = f"cannot start {program!r}: {why}"
    if getattr(e, "errno", None) == errno.E2BIG:
        message += "; an argument or variable may have 128 KiB: large values stand in the file $HEADRACE_PARAMS"
    if is_short(e):
        return Ending(OutcomeKind.refused, 0, now, reason=message)
    return Ending(
        OutcomeKind.failed,
        0,
        now,
        exit_status=None if code is None else str(code),
        exit_code=code,
        error=error_text("CannotStart", message),
        error_types=("CannotStart",),
        reason=message,
    )


def ending_of(
    place: FilePlace, code: int, times: tuple[int, int], artifacts: tuple[Artifact, ...], trouble: str
) -> Ending:
    """The end of a process with this exit code (negative: a signal)."""
    kind = OutcomeKind.succeeded if code == 0 else OutcomeKind.failed
    status = str(code) if code >= 0 else f"signal:{-code}"
    message = "" if code == 0 else (f"exit code {code}" if code > 0 else f"killed by {_signal_name(-code)}")
    error_type = "" if code == 0 else ("ExitCode" if code > 0 else "Signal")
    result, bad, said = None, "", None
    if place.touched("files"):
        said = exit_status_in(place.exit_status)
        result, bad = result_in(place.result)
    status = said or status
    for problem, name in ((bad, "InvalidResult"), (trouble, "OutputsLost")):
        if problem and kind is OutcomeKind.succeeded:
            kind, message, error_type = OutcomeKind.failed, problem, name
    return Ending(
        kind,
        times[0],
        times[1],
        exit_status=status,
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        result=result,
        error=error_text(error_type, message) if message else None,
        error_types=(error_type,) if message else (),
        reason=message or None,
        artifacts=artifacts,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
