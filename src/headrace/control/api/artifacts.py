"""Files that a run left: the list, and the bytes of one. Bytes come from the blobs by digest; a path is only a key.

Answers are never shown inside a page: they are sent as downloads with a type that no browser runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from headrace.control.api.call import LIMIT_MAX, Call, Reply
from headrace.control.api.cursors import cursor_of, place_of
from headrace.control.api.lookup import run_of, task_number
from headrace.control.api.table import ANYTHING, BASE, BYTES, PAGE, Query, Route
from headrace.control.auth import Permission
from headrace.control.graphs import Known
from headrace.control.lineage import artifacts_of
from headrace.model.errors import Invalid, NotFound
from headrace.model.ids import WHOLE
from headrace.model.views import ArtifactPage, ArtifactView
from headrace.store.rows import ArtifactRow, RunRow

TYPES = {
    "txt": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "html": "text/html; charset=utf-8",
    "svg": "image/svg+xml",
}


async def list_artifacts(call: Call) -> Reply:
    """``GET /runs/{id}/artifacts``: by task, instance and path."""
    row, known = await run_of(call)
    limit = call.limit(LIMIT_MAX)
    after = place_of(call.text("cursor"), tuple[int, int, str])
    rows = await _rows(call, row, known, after)
    shown = rows[:limit]
    following = None if len(rows) <= limit else cursor_of((shown[-1].no, shown[-1].index, shown[-1].path))
    return Reply(ArtifactPage(items=[_view(r, known) for r in shown], next_cursor=following))


async def get_artifact(call: Call) -> Reply:
    """``GET /runs/{id}/artifacts/{path}``: ``?task=`` and ``?index=`` where several tasks left the same path."""
    row, known = await run_of(call)
    found, after = [], None
    while rows := await _rows(call, row, known, after):
        found += _named(call, rows, known)
        after = (rows[-1].no, rows[-1].index, rows[-1].path)
    if not found:
        raise NotFound(f"run {row.cell.run} left no file {call.values['path'][:200]!r}")
    if len(found) > 1:
        tasks = ", ".join(sorted({known.graph.nodes[r.no].name for r in found}))
        raise Invalid(f"several tasks left this path ({tasks}): say ?task= and ?index=", malformed=True)
    artifact = found[0]
    name = artifact.path.rpartition("/")[2]
    headers = (
        (b"content-length", str(artifact.size).encode()),
        (b"content-disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}".encode()),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"etag", f'"{artifact.digest}"'.encode()),
    )
    media = TYPES.get(name.rpartition(".")[2].lower(), BYTES)
    return Reply(media=media, headers=headers, stream=call.services.blobs.stream(artifact.digest))


async def _rows(call: Call, row: RunRow, known: Known, after: tuple[int, int, str] | None = None) -> list[ArtifactRow]:
    """Its own files, and those of the tasks that it has taken over or found done before; those behind ``after``."""
    reader = call.services.reader
    restarted = row.input.more is not None and row.input.more.restarted_from
    if not restarted and not any(node.cache for node in known.graph.nodes):
        return list(await reader.artifacts(row.cell.run, after=after))
    nodes = known.graph.nodes if after is None else known.graph.nodes[after[0] :]
    found = [one for node in nodes for one in await artifacts_of(reader, row.cell.run, node.no)]
    return found if after is None else [one for one in found if (one.no, one.index, one.path) > after]


def _named(call: Call, rows: Sequence[ArtifactRow], known: Known) -> list[ArtifactRow]:
    path, task, index = call.values["path"], call.text("task"), call.text("index")
    if task is not None:
        no = task_number(known, task)
        at = WHOLE if index is None else call.whole("index", 0, most=999_999_999)
        return [r for r in rows if (r.no, r.path) == (no, path) and (index is None or r.index == at)]
    return [r for r in rows if path in {r.path, _full(r, known)}]


def _full(row: ArtifactRow, known: Known) -> str:
    """The path as dependents see it: with the task's name, and the instance's number, in front."""
    name = known.graph.nodes[row.no].name
    return f"{name}/{row.path}" if row.index == WHOLE else f"{name}/{row.index}/{row.path}"


def _view(row: ArtifactRow, known: Known) -> ArtifactView:
    index = None if row.index == WHOLE else row.index
    return ArtifactView(
        task=known.graph.nodes[row.no].name, index=index, path=row.path, size=row.size, digest=row.digest
    )


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/runs/{id}/artifacts",
        permission=Permission.runs_read,
        handler=list_artifacts,
        summary="The files that a run left",
        response=ArtifactPage,
        query=PAGE,
        run_token=True,
    ),
    Route(
        method="GET",
        path=BASE + "/runs/{id}/artifacts/{path...}",
        permission=Permission.runs_read,
        handler=get_artifact,
        summary="The bytes of one file; the path may begin with the task's name",
        media=ANYTHING,
        query=(Query("task", "the task that left it"), Query("index", "the instance of a task with `each`")),
        run_token=True,
    ),
)
