"""What work leaves behind in files of ours: the text of its exit status, and its result as JSON.

Work may have written anything to them: links are not followed, sizes are bounded. Called by ``runner.place`` and
``agent.executors.left``.
"""

from __future__ import annotations

import os
import stat

import msgspec

EXIT_STATUS_MAX = 1024
RESULT_MAX = 64 * 1024 * 1024


def exit_status_in(path: str) -> str | None:
    """The text of the exit status; None when none was written."""
    data = read_file(path, EXIT_STATUS_MAX)
    text = "" if data is None else data.strip().decode(errors="replace")
    return text or None


def result_in(path: str) -> tuple[bytes | None, str]:
    """(JSON text or None, what is wrong with it or an empty text)."""
    data = read_file(path, RESULT_MAX + 1)
    if data is None or not data.strip():
        return None, ""
    if len(data) > RESULT_MAX:
        return None, f"the result is larger than {RESULT_MAX} bytes"
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        return None, f"the file $HEADRACE_RESULT does not hold JSON: {e}"
    return data.strip(), ""


def read_file(path: str, most: int) -> bytes | None:
    """At most ``most`` bytes of a regular file; None when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, "rb") as f:
        return f.read(most)
