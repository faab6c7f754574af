"""A large definition keeps nobody waiting: it is read, checked and compiled beside the loop, and compiled once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_world import World, run_async

from headrace.control import graphs, ledger
from headrace.control.api import incoming, jobs
from headrace.control.aside import HEAVY, aside
from headrace.control.graphs import Graphs

Worked = list[tuple[str, bool]]
SMALL: dict[str, Any] = {"name": "small", "tasks": [{"name": "t", "command": ["x"]}]}
LARGE: dict[str, Any] = {"name": "large", "tasks": [{"name": f"t{n}", "command": ["x"]} for n in range(HEAVY // 20)]}


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> Worked:
    """What was worked on, and whether on the loop's own thread."""
    found: Worked = []
    here = threading.get_ident()

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*args: Any, **more: Any) -> Any:
            found.append((name, threading.get_ident() == here))
            return work(*args, **more)

        return inner

    for module in (graphs, ledger):
        monkeypatch.setattr(module, "compile_job", watched("compile", module.compile_job))  # type: ignore[attr-defined]  # reason: as it is imported there
    for module_ in (incoming, jobs):
        monkeypatch.setattr(module_, "check", watched("check", module_.check))  # type: ignore[attr-defined]  # reason: likewise
    monkeypatch.setattr(incoming, "read_document", watched("read", incoming.read_document))
    return found


@run_async
async def test_work_over_a_small_document_is_done_at_once_and_over_a_large_one_in_a_thread() -> None:
    here = threading.get_ident()
    assert await aside(HEAVY, threading.get_ident) == here
    assert await aside(HEAVY + 1, threading.get_ident) != here


@run_async
async def test_a_large_job_is_saved_and_submitted_beside_the_loop_and_compiled_once(
    tmp_path: Path, worked: Worked
) -> None:
    async with World(tmp_path) as world:
        for _ in range(2):
            assert (await world.put("/jobs/large", LARGE)).status in {200, 201}
        run = (await world.post("/jobs/large/runs", {})).json["id"]
        row = await world.node.store.reader.run(run)
        assert row is not None
        assert worked == [("read", False), ("check", False), ("compile", False)] * 2
        worked.clear()
        assert (await world.post("/runs", {"job": LARGE})).status == 201
        assert (await world.post("/jobs/check", LARGE)).json["problems"] == []
        assert {*worked} == {("read", False), ("check", False), ("compile", False)}
        worked.clear()
        known = await Graphs(world.node.store.reader).load(row.input.graph)
        assert (len(known.graph.nodes), worked) == (len(LARGE["tasks"]), [("compile", False)])


@run_async
async def test_a_small_job_takes_no_thread(tmp_path: Path, worked: Worked) -> None:
    async with World(tmp_path) as world:
        assert (await world.put("/jobs/small", SMALL)).status == 201
        assert (await world.post("/runs", {"job": SMALL})).status == 201
        assert worked[:3] == [("read", True), ("check", True), ("compile", True)]
        assert all(at_once for _, at_once in worked)
