"""``/health/ready`` tells progress, not up-ness; and the key of run tokens is the store's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from api_world import HELLO, World, run_async
from tests.control.whole import until

from headrace.control import node as node_module
from headrace.control.app import open_control
from headrace.control.changes.admin import RunSecret
from headrace.control.progress import Progress
from headrace.control.settings import ControlSettings
from headrace.model.changes import SYSTEM
from headrace.model.errors import StoreError


@run_async
async def test_a_node_whose_loop_has_ended_is_not_ready(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.serve(ready=world.node.problems)
        assert (await world.call("GET", "/health/ready", role=None)).status == 200
        task = world.node._tasks[-1]
        task.cancel()
        await asyncio.wait([task])
        answer = await world.call("GET", "/health/ready", role=None)
        assert answer.status == 503
        assert "not all of its loops run" in answer.json["detail"]
        assert (await world.call("GET", "/health/live", role=None)).status == 200


@run_async
async def test_a_ledger_that_commits_nothing_while_changes_wait_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "STUCK_S", 0.0)
    async with World(tmp_path) as world:
        world.serve(ready=world.node.problems)
        await world.post("/jobs", HELLO)
        assert world.node.problems() == []
        writer = world.node.store.writer
        go, real = asyncio.Event(), writer.commit
        reached = asyncio.Event()

        async def stuck() -> None:
            reached.set()
            await go.wait()
            await real()

        monkeypatch.setattr(writer, "commit", stuck)
        asked = asyncio.create_task(world.post("/jobs/hello/runs", {}))
        await reached.wait()
        answer = await world.call("GET", "/health/ready", role=None)
        assert answer.status == 503
        assert "nothing has been committed" in answer.json["detail"]
        go.set()
        assert (await asked).status == 201
        assert (await world.call("GET", "/health/ready", role=None)).status == 200


@run_async
async def test_a_node_whose_store_refuses_to_write_is_not_ready_until_it_writes_or_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        world.serve(ready=world.node.problems)
        await world.post("/jobs", HELLO)
        writer = world.node.store.writer
        real = writer.commit

        async def full() -> None:
            raise StoreError("COMMIT did not happen: database or disk is full")

        monkeypatch.setattr(writer, "commit", full)
        assert (await world.post("/jobs/hello/runs", {})).status == 503
        answer = await world.call("GET", "/health/ready", role=None)
        assert answer.status == 503
        assert "refused to write" in answer.json["detail"]
        monkeypatch.setattr(node_module, "REFUSED_S", 0.0)
        assert (await world.call("GET", "/health/ready", role=None)).status == 200
        monkeypatch.undo()
        monkeypatch.setattr(writer, "commit", real)
        assert (await world.post("/jobs/hello/runs", {})).status == 201
        assert (await world.call("GET", "/health/ready", role=None)).status == 200


@run_async
async def test_the_first_key_of_run_tokens_stays_and_every_node_gets_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await world.node.ledger.change(RunSecret(b"a" * 32), SYSTEM)).value
        second = (await world.node.ledger.change(RunSecret(b"b" * 32), SYSTEM)).value
        assert (first, second) == (b"a" * 32, b"a" * 32)


@run_async
async def test_control_takes_the_key_of_its_store_and_tells_its_progress(tmp_path: Path) -> None:
    settings = ControlSettings(data=tmp_path, host="127.0.0.1", port=0)
    control = await open_control(settings)
    before = control.node.secret
    await control.close()
    os.close(control._folder._lock)  # held for as long as the process lives
    (tmp_path / "run-secret").unlink()
    control = await open_control(settings)
    assert control.node.secret == before
    await control.close()


@run_async
async def test_readiness_tells_how_much_there_is_to_do_and_since_when_nothing_begins(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.serve(ready=world.node.problems, progress=Progress(lambda: world.node.placement.given_out))
        elsewhere = {**HELLO, "agent": {"labels": {"gpu": "yes"}}}
        await world.put("/jobs/hello", elsewhere)
        await world.post("/jobs/hello/runs", {})

        async def told() -> dict[str, Any]:
            answer = await world.call("GET", "/health/ready", role=None)
            assert answer.status == 200
            return dict(answer.json)

        first = await told()
        assert {k: first[k] for k in ("status", "runs_open", "tasks_ready", "tasks_leased", "slots_free")} == {
            "status": "ready", "runs_open": 1, "tasks_ready": 1, "tasks_leased": 0, "slots_free": 0,
        }  # fmt: skip
        assert first["nothing_begins_since"] is None, "nobody has room"
        await world.agent(slots=2)
        since = (await told())["nothing_begins_since"]
        assert since is not None
        assert (await told())["nothing_begins_since"] == since
        await world.post("/runs", {"job": {**HELLO, "name": "other"}})
        await until(lambda: world.node.placement.given_out == 1)
        later = (await told())["nothing_begins_since"]
        assert later > since, "something was given out between the looks"


@run_async
async def test_however_often_health_is_asked_for_the_store_counts_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        world.serve(ready=world.node.problems)
        reader = world.node.store.reader
        real, reads = reader.counts, []

        async def counted() -> dict[str, int]:
            reads.append(1)
            return await real()

        monkeypatch.setattr(reader, "counts", counted)
        answers = await asyncio.gather(*[world.call("GET", "/health/ready", role=None) for _ in range(20)])
        assert {answer.status for answer in answers} == {200}
        assert len(reads) == 1
