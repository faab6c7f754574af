"""What the client says to the server, without IO: each call is a generator that yields requests and receives answers.

The sync and the async client drive the same generators; nothing is written twice. Called by ``client.sync`` and
``client.aio``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from headrace.model import errors, views

T = TypeVar("T")
BASE = "/api/v1"
PAGE = 500
"""So many things of a list are asked for at once: what a server gives at most."""
FAILED_PAGES = 4
"""So many pages of instances are looked through for one that failed."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request; ``wait`` is how many seconds the answer may take beyond the usual."""

    method: str
    path: str
    body: bytes = b""
    content: str = "application/json"
    accept: str = "application/json"
    key: str | None = None
    wait: float = 0.0


class Response(msgspec.Struct, frozen=True):
    """The whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Page(msgspec.Struct, Generic[T]):
    """A page of a list. ``next_cursor`` is where the next one begins; None at the end."""

    items: list[T]
    next_cursor: str | None = None


Flow = Generator[Request, Response, T]
Target = str | Mapping[str, Any]


def expect(response: Response, kind: type[T]) -> T:
    """Decode a good answer; raise the error that a problem document stands for."""
    check(response)
    try:
        return msgspec.json.decode(response.body, type=kind)
    except msgspec.MsgspecError as error:
        raise errors.LinkError(f"the server's answer is not what was expected: {error}") from error


def check(response: Response) -> None:
    """Raise the error that the answer stands for, if it is one."""
    if response.status < 400:
        return
    try:
        problem = msgspec.json.decode(response.body, type=views.ProblemView)
    except msgspec.MsgspecError:
        text = response.body[:300].decode("utf-8", "replace")
        problem = views.ProblemView(status=response.status, title=f"HTTP {response.status}", detail=text)
    raise error_of(response.status, problem, response.headers)


def error_of(status: int, problem: views.ProblemView, headers: Mapping[str, str]) -> errors.HeadraceError:
    """The error of our tree for a status."""
    message, problems = problem.detail or problem.title, tuple(problem.problems)
    if status in (429, 503):
        wait = headers.get("retry-after", "1")
        return errors.Busy(message, retry_after=int(wait) if wait.isdigit() else 1, status=status)
    if status in (400, 422):
        return errors.Invalid(message, problems=problems, malformed=status == 400)
    kinds: dict[int, type[errors.HeadraceError]] = {
        401: errors.Unauthorized,
        403: errors.Forbidden,
        404: errors.NotFound,
        409: errors.Conflict,
        410: errors.Gone,
        412: errors.Outdated,
        413: errors.TooLarge,
        501: errors.NotAvailable,
    }
    return kinds.get(status, errors.HeadraceError)(message, problems=problems)


def query(path: str, **values: Any) -> str:
    """The path with those of the parameters that have a value."""
    given = [(k, v) for k, v in values.items() if v is not None and v != ""]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def address(*parts: object) -> str:
    """The path of a thing, each part quoted."""
    return BASE + "".join("/" + quote(str(part), safe="") for part in parts)


def version() -> Flow[views.VersionView]:
    """Which server answers."""
    return expect((yield Request("GET", address("version"))), views.VersionView)


def submit(
    target: Target, params: Mapping[str, Any], options: Mapping[str, Any], key: str | None
) -> Flow[views.RunView]:
    """Make one run of a saved job (by name) or of what ``target`` holds (``job``, ``command``, ``script``, ``task``)."""
    if isinstance(target, str):
        body: dict[str, Any] = {"params": params, **options}
        request = Request("POST", address("jobs", target, "runs"), _json(body), key=key)
    else:
        request = Request("POST", address("runs"), _json({**target, "params": params, **options}), key=key)
    return expect((yield request), views.RunView)


def run_task(
    reference: str, params: Mapping[str, Any], options: Mapping[str, Any], key: str | None
) -> Flow[views.RunView]:
    """Make a run of one registered task; ``params`` are its arguments. Options: package, retries, timeout, as of a run."""
    body = _json({"params": params, **options})
    return expect((yield Request("POST", address("tasks", reference, "runs"), body, key=key)), views.RunView)


def submit_many(runs: Sequence[Mapping[str, Any]], key: str | None) -> Flow[list[int]]:
    """Many runs, all or none. At most 10,000."""
    return expect((yield Request("POST", address("runs", "batch"), _json({"runs": runs}), key=key)), views.Ids).ids


def run(number: int, *, wait: float = 0.0, output: bool = False, as_of: str | None = None) -> Flow[views.RunView]:
    """One run; with ``wait`` (seconds) the answer comes when it has ended or the time is over. ``as_of``: as it was then."""
    path = query(
        address("runs", number),
        wait=f"{wait:g}s" if wait else None,
        as_of=as_of,
        **{"with": "output" if output else None},
    )
    return expect((yield Request("GET", path, wait=wait)), views.RunView)


def runs(**where: Any) -> Flow[views.RunPage]:
    """A page of runs, by the query parameters of ``GET /runs``. It may be short, or empty, and have a next one."""
    return expect((yield Request("GET", query(address("runs"), **where))), views.RunPage)


def all_events(*, wait: float = 0.0, **where: Any) -> Flow[views.FeedPage]:
    """A page of events: after, subject, limit. With ``wait`` (seconds) an empty page comes only when the time is over."""
    where["wait"] = f"{wait:g}s" if wait else None
    return expect((yield Request("GET", query(address("events"), **where), wait=wait)), views.FeedPage)


def named(task: str, index: int | None = None) -> tuple[str, int | None]:
    """``per-region[3]`` as logs and people write it: the task's name and the instance's number."""
    name, bracket, rest = task.partition("[")
    number = rest.removesuffix("]")
    if index is None and bracket and rest.endswith("]") and number.isascii() and number.isdigit() and len(number) < 10:
        return name, int(number)
    return task, index


def _of(number: int, task: str | None, index: int | None) -> list[object]:
    """The parts of the path of a run, one of its tasks, or an instance."""
    if task is None:
        return ["runs", number]
    name, at = named(task, index)
    return ["runs", number, "tasks", name] if at is None else ["runs", number, "tasks", name, at]


def task(number: int, name: str, index: int | None = None) -> Flow[views.TaskView]:
    """One task of a run, or one instance: by its number, or named ``name[3]``."""
    return expect((yield Request("GET", address(*_of(number, name, index)))), views.TaskView)


def instances(number: int, name: str, cursor: str | None = None, limit: int = PAGE) -> Flow[views.TaskPage]:
    """A page of the instances of a task with ``each``, in order."""
    path = query(address("runs", number, "tasks", name), limit=limit, cursor=cursor)
    return expect((yield Request("GET", path)), views.TaskPage)


def failures(run: views.RunView) -> Flow[list[views.TaskView]]:
    """The tasks of a run that failed; in the place of one with ``each`` its first instance that did, if it is near."""
    found = []
    for task in run.tasks:
        if task.state not in ("failed", "lost"):
            continue
        found.append(((yield from failed_instance(run.id, task.name)) if task.counts else None) or task)
    return found


def failed_instance(number: int, name: str) -> Flow[views.TaskView | None]:
    """The first instance that failed, among the first few pages."""
    cursor = None
    for _ in range(FAILED_PAGES):
        page = yield from instances(number, name, cursor, PAGE)
        for one in page.items:
            if one.state in ("failed", "lost"):
                return one
        if (cursor := page.next_cursor) is None:
            return None
    return None


def logs(number: int, task: str | None = None, index: int | None = None, **where: Any) -> Flow[views.LogPage]:
    """A page of log records: of a run, a task (``name``), or an instance (``name[3]``, or by ``index``)."""
    wait = float(where.pop("wait", 0.0))
    where["wait"] = f"{wait:g}s" if wait else None
    path = query(address(*_of(number, task, index), "logs"), **where)
    return expect((yield Request("GET", path, wait=wait)), views.LogPage)


def log_text(number: int, task: str | None = None, index: int | None = None, **where: Any) -> Flow[bytes]:
    """The log as the bytes that were written."""
    response = yield Request("GET", query(address(*_of(number, task, index), "logs"), **where), accept="text/plain")
    check(response)
    return response.body


def artifacts(number: int) -> Flow[list[views.ArtifactView]]:
    """The files that the run left."""
    found: list[views.ArtifactView] = []
    cursor = None
    while True:
        where = query(address("runs", number, "artifacts"), limit=500, cursor=cursor)
        page = expect((yield Request("GET", where)), views.ArtifactPage)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def artifact(number: int, task: str, path: str, index: int | None = None) -> Flow[bytes]:
    """The bytes of one file."""
    where = query(address("runs", number, "artifacts", *path.split("/")), task=task, index=index)
    response = yield Request("GET", where, accept="*/*")
    check(response)
    return response.body


def definition(number: int) -> Flow[dict[str, Any]]:
    """The document that a run was made of."""
    return expect((yield Request("GET", address("runs", number, "definition"))), dict[str, Any])


def explain(number: int) -> Flow[views.ExplainView]:
    """Why it runs, or does not."""
    return expect((yield Request("GET", address("runs", number, "explain"))), views.ExplainView)


def events(number: int, **where: Any) -> Flow[Any]:
    """What happened to the run, as facts."""
    return expect((yield Request("GET", query(address("runs", number, "events"), **where))), Any)


def command(number: int, verb: str, reason: str | None) -> Flow[None]:
    """Ask the run to ``cancel``, ``stop``, ``pause``, ``resume`` or ``abandon``."""
    check((yield Request("POST", address("runs", number, verb), _json({"reason": reason} if reason else {}))))


def amend(number: int, fields: Mapping[str, Any]) -> Flow[views.RunView]:
    """Another priority, other labels, another phase."""
    return expect((yield Request("PATCH", address("runs", number), _json(fields))), views.RunView)


def statistics(name: str, runs: int | None = None) -> Flow[views.JobStatisticsView]:
    """How the last ended runs of a job went, and its tasks."""
    where = query(address("jobs", name, "statistics"), runs=runs)
    return expect((yield Request("GET", where)), views.JobStatisticsView)


def stats() -> Flow[views.StatsView]:
    """What the server has to do, and what it has done since it began."""
    return expect((yield Request("GET", address("stats"))), views.StatsView)


def restart(number: int, options: Mapping[str, Any], key: str | None) -> Flow[views.RunView]:
    """A new run that goes on from an ended one: from, version, code, params, reason, priority, labels."""
    return expect((yield Request("POST", address("runs", number, "restart"), _json(options), key=key)), views.RunView)


def put_job(
    name: str, document: bytes | Mapping[str, Any], content: str = "application/json", **more: Any
) -> Flow[dict[str, Any]]:
    """Save a definition; unchanged content makes no new version. ``more``: allow_missing, reason."""
    body = document if isinstance(document, bytes) else _json(document)
    return expect((yield Request("PUT", query(address("jobs", name), **more), body, content)), dict[str, Any])


def check_job(document: bytes, content: str) -> Flow[dict[str, Any]]:
    """Every problem and warning of a definition, without saving it."""
    return expect((yield Request("POST", address("jobs", "check"), document, content)), dict[str, Any])


def job(name: str, version: int | None = None, as_of: str | None = None) -> Flow[dict[str, Any]]:
    """A saved job: its definition plus version and instants. ``as_of``: as it was then."""
    return expect((yield Request("GET", query(address("jobs", name), version=version, as_of=as_of))), dict[str, Any])


def jobs(**where: Any) -> Flow[views.JobPage]:
    """A page of saved jobs."""
    return expect((yield Request("GET", query(address("jobs"), **where))), views.JobPage)


def put_package(name: str, data: bytes) -> Flow[views.PackageView]:
    """Register code under a name; the same bytes are the same version."""
    request = Request("PUT", address("packages", name), data, "application/zip", wait=60)
    return expect((yield request), views.PackageView)


def listed(*parts: str, **where: Any) -> Flow[dict[str, Any]]:
    """A list to its end: ``packages``, ``tasks``, ``agents``, ``limits``, ``jobs`` …, page by page."""
    items: list[Any] = []
    cursor: str | None = None
    while True:
        request = Request("GET", query(address(*parts), limit=PAGE, cursor=cursor, **where))
        page = expect((yield request), dict[str, Any])
        items += page.get("items", [])
        before, cursor = cursor, page.get("next_cursor")
        if cursor is None:
            return {**page, "items": items}
        if cursor == before:
            raise errors.LinkError(f"the server's list of {parts[-1]} does not go on behind {before}")


def one(kind: type[T], *parts: str) -> Flow[T]:
    """One thing by its name. Raises NotFound."""
    return expect((yield Request("GET", address(*parts))), kind)


def page(kind: type[T], *parts: str, cursor: str | None = None, **where: Any) -> Flow[T]:
    """One page of a list, from behind ``cursor``."""
    return expect((yield Request("GET", query(address(*parts), limit=PAGE, cursor=cursor, **where))), kind)


def put_limit(name: str, limit: Mapping[str, Any]) -> Flow[views.LimitView]:
    """Make or change a named limit: slots, or rate and burst; key, description."""
    return expect((yield Request("PUT", address("limits", name), _json(limit))), views.LimitView)


def patch_limit(name: str, fields: Mapping[str, Any]) -> Flow[views.LimitView]:
    """Change some fields of a limit; None takes one away."""
    return expect((yield Request("PATCH", address("limits", name), _json(fields))), views.LimitView)


def limit(name: str) -> Flow[views.LimitView]:
    """A limit, what of it is in use, and by whom."""
    return expect((yield Request("GET", address("limits", name))), views.LimitView)


def limit_verb(name: str, verb: str, reason: str | None) -> Flow[views.LimitView]:
    """``pause`` or ``resume`` a limit."""
    body = _json({"reason": reason} if reason else {})
    return expect((yield Request("POST", address("limits", name, verb), body)), views.LimitView)


def delete_limit(name: str) -> Flow[None]:
    """Delete a limit."""
    check((yield Request("DELETE", address("limits", name))))
