"""Checks what only tasks of the kinds ``job``, ``wait`` and ``http`` have. Linear.

Pure. Texts with expressions are looked at when they are rendered; their grammar is ``core.check_texts``'. Called by
``core.check`` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import UNSET

from headrace.core.check_texts import Found
from headrace.core.durations import instant_us, millis
from headrace.model.definition import ChildJob, Http, Task, Wait
from headrace.model.errors import Invalid

_METHOD = re.compile(r"[A-Z]{1,32}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_URL = re.compile(r"https?://[^\s/?#]+[^\s]*", re.IGNORECASE)
_STATUS = re.compile(r"[1-5](?:xx|[0-9]{2})")
_SET_BY_US = frozenset({"content-length", "transfer-encoding", "host", "connection"})


def check_kind(task: Task, path: str, found: Found) -> None:
    """The problems of a task of one of these kinds."""
    if isinstance(task.job, ChildJob):
        _child(task.job, task, f"{path}.job", found)
    elif isinstance(task.wait, Wait):
        _wait(task.wait, f"{path}.wait", found)
    elif isinstance(task.http, Http):
        _http(task.http, f"{path}.http", found)


def idle_fields(task: Task, path: str, found: Found) -> None:
    """Warns of fields that change nothing, because no agent does the task."""
    if task.job is UNSET and task.wait is UNSET:
        return
    kind = "wait" if task.job is UNSET else "child run"
    for field, given in (
        ("env", task.env),
        ("outputs", task.outputs),
        ("agent", task.agent is not UNSET),
        ("grace", task.grace is not UNSET),
        ("on_disconnect", task.on_disconnect is not UNSET),
    ):
        if given:
            found.add(f"{path}.{field}", f"no agent does this task, it is a {kind}: {field} changes nothing")


def _child(child: ChildJob, task: Task, path: str, found: Found) -> None:
    for name in child.params:
        if name in task.with_:
            found.add(f"{path}.params.{name}", "given twice: it stands in with, too")


def _wait(wait: Wait, path: str, found: Found) -> None:
    given = [
        name for name, value in (("for", wait.for_), ("until", wait.until), ("topic", wait.topic)) if value is not UNSET
    ]
    if wait.topic is not UNSET:
        found.add(f"{path}.topic", "not available yet: wait for a message on a topic")
    elif len(given) != 1:
        found.add(path, "write one of for (a duration) and until (an instant)")
    _literal(wait.for_, f"{path}.for", millis, found)
    _literal(wait.until, f"{path}.until", instant_us, found)


def _literal(text: object, path: str, read: Callable[[str], int], found: Found) -> None:
    if isinstance(text, str) and "${" not in text:
        try:
            read(text)
        except Invalid as error:
            found.add(path, error.message)


def _http(http: Http, path: str, found: Found) -> None:
    if "${" not in http.url and not _URL.fullmatch(http.url):
        found.add(f"{path}.url", f"{http.url[:80]!r} is no address; write http://… or https://…")
    if "${" not in http.method and not _METHOD.fullmatch(http.method):
        found.add(f"{path}.method", f"{http.method[:40]!r} is no method; write GET, POST, PUT, PATCH, DELETE or HEAD")
    for name, value in http.headers.items():
        if not _HEADER.fullmatch(name) or "\r" in value or "\n" in value:
            found.add(f"{path}.headers", f"{name[:80]!r}: a header's name is a word and its value one line")
        elif name.lower() in _SET_BY_US:
            found.add(f"{path}.headers", f"{name} is set by headrace")
    wanted = http.expect if isinstance(http.expect, list) else [http.expect]
    if not wanted or not all(_is_status(one) for one in wanted):
        found.add(f"{path}.expect", "write a status as 200, a class as 2xx, or a list of statuses")


def _is_status(one: object) -> bool:
    return 100 <= one <= 599 if isinstance(one, int) else isinstance(one, str) and bool(_STATUS.fullmatch(one))
