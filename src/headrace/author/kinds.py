"""Tasks of other kinds in a job's body: ``command(…)``, ``http(…)``, ``wait(…)`` …; also kinds that later versions run.

Each call adds a task and gives its handle; ``.options``-like settings are keyword arguments. Pure. Called by users.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from headrace.author.errors import duration_text
from headrace.author.handles import Handle
from headrace.author.task import Span, TaskOptions, fields_of, need_on
from headrace.author.trace import tracing


def add(kind: str, value: Any, default_name: str, options: Mapping[str, Any], after: Sequence[object] = ()) -> Any:
    """Add a task of this kind to the job that is being traced."""
    tracer = tracing(f"{kind}(…)")
    fields: dict[str, Any] = {kind: value, **fields_of(options)}
    if after:
        fields["needs"] = [need_on(x, None, None) for x in after]
    return tracer.add(str(options.get("name", default_name)), fields)


def command(*argv: object, after: Sequence[object] = (), **options: Unpack[TaskOptions]) -> Any:
    """Run a program: ``command("curl", "-o", "x.csv", url, outputs=["x.csv"])``. Never goes through a shell."""
    words = [word if not isinstance(word, int | float | os.PathLike) else str(word) for word in argv]
    first = os.path.basename(str(argv[0])) if argv else "command"
    return add("command", words, first, options, after)


def script(
    text: str, *, interpreter: Sequence[str] | None = None, after: Sequence[object] = (), **options: Unpack[TaskOptions]
) -> Any:
    """Text for an interpreter (default ``sh -eu``). Parameters never become code: pass them by ``env``."""
    tracer = tracing("script(…)")
    fields: dict[str, Any] = {"script": text, **fields_of(options)}
    if interpreter is not None:
        fields["interpreter"] = list(interpreter)
    if after:
        fields["needs"] = [need_on(x, None, None) for x in after]
    return tracer.add(str(options.get("name", "script")), fields)


def container(image: str, *argv: object, after: Sequence[object] = (), **options: Unpack[TaskOptions]) -> Any:
    """A command in a container."""
    return add("container", {"image": image, "command": list(argv)}, "container", options, after)


def approve(
    message: str = "", *, after: Sequence[object] = (), expires: Span | None = None, **options: Unpack[TaskOptions]
) -> Any:
    """Wait for a person's decision."""
    value: dict[str, Any] = {"message": message}
    if expires is not None:
        value["expires"] = duration_text(expires)
    return add("approve", value, "approve", options, after)


def wait(
    for_: Span | None = None,
    *,
    until: str | datetime | None = None,
    topic: str | None = None,
    after: Sequence[object] = (),
    **options: Unpack[TaskOptions],
) -> Any:
    """Wait for a time (``wait("10m")``) or until an instant with its zone; a parameter or a task's result may say it.

    Holds no slot. In a job that is called in this process nothing is waited for.
    """
    written = for_ is None or isinstance(for_, Handle) or (isinstance(for_, str) and "${" in for_)
    span = for_ if written else duration_text(for_)  # type: ignore[arg-type]  # reason: only what is a span is left
    value = {"for": span, "until": until.isoformat() if isinstance(until, datetime) else until, "topic": topic}
    return add("wait", {k: v for k, v in value.items() if v is not None}, "wait", options, after)


def http(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, Any] | None = None,
    body: object = None,
    expect: str | int | Sequence[int | str] = "2xx",
    after: Sequence[object] = (),
    **options: Unpack[TaskOptions],
) -> Any:
    """One HTTP request; its result is ``{"status", "headers", "body"}``, the body as data if it is JSON.

    ``expect``: the status, statuses or class (``2xx``) that count as success; any other fails the attempt, and is its
    exit status. Redirects are not followed.
    """
    value: dict[str, Any] = {"url": url, "method": method, "headers": dict(headers or {}), "expect": expect}
    if body is not None:
        value["body"] = body
    return add("http", value, "http", options, after)


def run_job(
    job: str,
    /,
    params: Mapping[str, Any] | None = None,
    *,
    after: Sequence[object] = (),
    **options: Unpack[TaskOptions],
) -> Any:
    """A child run of a saved job, with its result. It holds no slot while the child lives."""
    return add("job", {"name": job, "params": dict(params or {})}, job, options, after)
