"""Parents and children through the outbox, with the real ledger, store and agent: once each, whatever crashes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from control.whole import Whole, until
from headrace.control.changes.jobs import PutJob
from headrace.control.changes.named import Decided
from headrace.control.group import Group
from headrace.control.unit import Unit
from headrace.link.records import Seal
from headrace.model.cells import RunInput
from headrace.model.changes import SYSTEM, Abandon, Cancel, Pause, Resume, Stop, Submit
from headrace.model.definition import JobDefinition
from headrace.model.states import RunState, TaskState
from headrace.store.rows import OutboxRow, RunFilter


def run(work: Coroutine[Any, Any, None]) -> None:
    """Drive one test on the loop that the product uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 60))


async def save(whole: Whole, name: str, *tasks: dict[str, Any], **more: Any) -> None:
    definition = msgspec.convert({"name": name, "tasks": list(tasks), **more}, JobDefinition)
    await whole.node.ledger.change(PutJob(definition, await whole.node.ledger.document(definition)), SYSTEM)


def parent(**more: Any) -> dict[str, Any]:
    return {"name": "p", "tasks": [{"name": "c", "job": "child", **more}]}


def script(text: str, **more: Any) -> dict[str, Any]:
    return {"name": "a", "script": text, **more}


async def children(whole: Whole, number: int) -> list[Any]:
    return await whole.node.store.reader.runs(RunFilter(parent=number))


async def messages(whole: Whole) -> int:
    return len(await whole.node.store.reader.outbox("child", 2**62, 500))


async def family(whole: Whole) -> tuple[int, int]:
    """A parent whose child runs: their numbers."""
    (number,) = await whole.submit(parent())

    async def begun() -> bool:
        rows = await children(whole, number)
        return bool(rows) and rows[0].cell.state is RunState.running

    await until(begun)
    return number, (await children(whole, number))[0].cell.run


def test_parent_and_child_on_one_slot_do_not_deadlock(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path, slots=1) as whole:
            await save(whole, "grandchild", script('echo "{\\"n\\": $HEADRACE_PARAM_N}" > $HEADRACE_RESULT'))
            deep = {"name": "grandchild", "params": {"n": "${params.n}"}}
            await save(whole, "child", {"name": "b", "job": deep})
            tasks = [{"name": f"c{n}", "job": {"name": "child", "params": {"n": n}}} for n in range(5)]
            runs = await whole.submit({"name": "p", "tasks": tasks, "result": "${tasks.c3.result}"})
            (row,) = await whole.ended(runs)
            assert row.cell.state is RunState.succeeded
            cells = await whole.tasks(runs[0])
            assert [msgspec.json.decode(c.result.data) for c in cells if c.result and c.result.data] == [
                {"n": n} for n in range(5)
            ]
            found = await children(whole, runs[0])
            assert [(r.input.job, r.input.version) for r in found] == [("child", 1)] * 5
            assert await messages(whole) == 0

    run(work())


def test_a_failed_child_fails_the_attempt_by_name_and_the_next_attempt_is_a_new_child(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("exit 3"))
            retries = {"max": 1, "delay": "1ms", "only": ["exit:3"]}
            (number,) = await whole.submit(parent(retries=retries))
            (row,) = await whole.ended([number])
            (cell,) = await whole.tasks(number)
            first, second = await children(whole, number)
            assert (row.cell.state, cell.state, cell.attempt, cell.reason) == (
                RunState.failed,
                TaskState.failed,
                2,
                "child",
            )
            assert cell.error is not None
            assert msgspec.json.decode(cell.error.data or b"") == {
                "type": "ChildFailed",
                "message": f"child run {second.cell.run} (child) failed: exit status 3",
            }
            (kept,) = await whole.node.store.reader.attempts(cell.key)
            assert f"child run {first.cell.run} " in (kept.cell.error.data or b"").decode()

    run(work())


def test_a_job_that_is_not_there_or_takes_other_parameters_fails_the_attempt_with_a_sentence(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
            await save(whole, "strict", script("true"), params=schema)
            jobs = ("child", {"name": "strict"}, {"name": "strict", "version": 7})
            runs = [(await whole.submit(parent(job=job)))[0] for job in jobs]
            told = []
            for row in await whole.ended(runs):
                (cell,) = await whole.tasks(row.cell.run)
                assert (row.cell.state, cell.reason) == (RunState.failed, "no_child")
                told.append(msgspec.json.decode((cell.error and cell.error.data) or b"")["message"])
            assert told[0] == "there is no job child"
            assert "the parameters do not fit job strict" in told[1]
            assert told[2] == "there is no job strict with a version 7"

    run(work())


def test_cancel_is_carried_down_to_the_last_child(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "grandchild", script("sleep 600"))
            await save(whole, "child", {"name": "b", "job": "grandchild"})
            number, child = await family(whole)

            async def works() -> bool:
                rows = await children(whole, child)
                return bool(rows) and rows[0].cell.state is RunState.running

            await until(works)
            (grandchild,) = await children(whole, child)
            await whole.node.ledger.ask(Cancel(number, "enough"), SYSTEM)
            rows = await whole.ended([number, child, grandchild.cell.run])
            assert [row.cell.state for row in rows] == [RunState.canceled] * 3
            assert rows[1].cell.reason == f"run {number} that began it: enough"

    run(work())


def test_stop_and_abandon_are_carried_down_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("sleep 0.5"), {"name": "never", "needs": ["a"], "command": ["true"]})
            number, child = await family(whole)
            await whole.node.ledger.ask(Stop(number, "enough"), SYSTEM)
            rows = await whole.ended([number, child])
            assert [row.cell.state for row in rows] == [RunState.canceled] * 2
            assert [cell.state for cell in await whole.tasks(child)] == [TaskState.succeeded, TaskState.canceled]
            number, child = await family(whole)
            await whole.node.ledger.ask(Abandon(number, "enough"), SYSTEM)
            rows = await whole.ended([number, child])
            assert [row.cell.state for row in rows] == [RunState.abandoned] * 2

            async def quiet() -> bool:
                return await messages(whole) == 0

            await until(quiet)

    run(work())


def test_an_abandoned_child_fails_the_attempt_of_its_parent(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("sleep 600"))
            number, child = await family(whole)
            await whole.node.ledger.ask(Abandon(child, "gone"), SYSTEM)
            (row,) = await whole.ended([number])
            (cell,) = await whole.tasks(number)
            assert (row.cell.state, cell.reason) == (RunState.failed, "child")
            assert b"abandoned: gone" in ((cell.error and cell.error.data) or b"")

    run(work())


def test_a_paused_run_begins_no_child_until_it_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("true"))
            tasks = [script("sleep 0.3"), {"name": "c", "needs": ["a"], "job": "child"}]
            (number,) = await whole.submit({"name": "p", "tasks": tasks})

            async def runs() -> bool:
                return (await whole.tasks(number))[0].state is TaskState.running

            async def ready() -> bool:
                return (await whole.tasks(number))[1].state is TaskState.ready

            await until(runs)
            await whole.node.ledger.ask(Pause(number), SYSTEM)
            await until(ready)
            assert await children(whole, number) == []
            await whole.stop_control()
            await whole.start_control()
            await whole.node.ledger.ask(Resume(number), SYSTEM)
            (row,) = await whole.ended([number])
            assert row.cell.state is RunState.succeeded

    run(work())


def test_a_child_past_the_timeout_of_its_task_is_ended(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("sleep 600"))
            (number,) = await whole.submit(parent(timeout="300ms"))
            (row,) = await whole.ended([number])
            (cell,) = await whole.tasks(number)
            (child,) = await children(whole, number)
            assert (row.cell.state, cell.reason, child.cell.state) == (RunState.failed, "timeout", RunState.canceled)

    run(work())


def test_family_and_waits_go_on_after_control_began_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("sleep 0.3"), {"name": "w", "wait": {"for": "300ms"}})
            number, child = await family(whole)
            await whole.stop_control()
            await whole.start_control()
            rows = await whole.ended([number, child])
            assert [row.cell.state for row in rows] == [RunState.succeeded] * 2
            assert len(await children(whole, number)) == 1

    run(work())


def test_messages_that_were_not_delivered_before_a_crash_are_delivered_after_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await save(whole, "child", script("true"))

            async def nothing(*_: object) -> None:
                pass

            whole.node.outbox._deliver = nothing  # type: ignore[method-assign]  # reason: it hears and does nothing
            (number,) = await whole.submit(parent())

            async def told() -> bool:
                return await messages(whole) == 1

            await until(told)
            await whole.stop_control()
            await whole.start_control()
            (row,) = await whole.ended([number])
            assert row.cell.state is RunState.succeeded
            assert len(await children(whole, number)) == 1

    run(work())


def test_what_was_ready_and_had_not_begun_before_a_crash_begins_after_it_without_any_agent(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await whole.stop_agent()
            await save(whole, "child", {"name": "w", "wait": {"for": "1ms"}})

            async def lost(group: Group, **_: object) -> list[Unit]:
                group.follows()
                return []

            whole.node.ledger._follow = lost  # type: ignore[method-assign]  # reason: what was to follow dies with the process
            (number,) = await whole.submit(parent())
            assert [cell.state for cell in await whole.tasks(number)] == [TaskState.ready]
            await whole.stop_control()
            await whole.start_control()
            (row,) = await whole.ended([number])
            assert row.cell.state is RunState.succeeded

    run(work())


class Odd(msgspec.Struct, frozen=True):
    """Leaves a message that nobody understands."""

    def names(self) -> tuple[()]:
        return ()

    def digests(self) -> tuple[()]:
        return ()

    def decide(self, rows: object, now: int) -> Decided:
        return Decided(outbox=(OutboxRow("child", "1", b"\xc1", 0), OutboxRow("child", "1", b"\x91\xa3odd", 0)))


def test_a_message_that_nobody_understands_holds_up_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await whole.node.ledger.change(Odd(), SYSTEM)
            await save(whole, "child", script("true"))
            (row,) = await whole.ended(await whole.submit(parent()))
            assert row.cell.state is RunState.succeeded
            assert await messages(whole) == 2
            assert whole.node.problems() == []

    run(work())
    assert caplog.text.count("is not understood") == 2


class Moody(BaseHTTPRequestHandler):
    """Not available twice, then it is."""

    asked = 0

    def do_GET(self) -> None:  # reason: the name that http.server looks for
        Moody.asked += 1
        self.send_response(503 if Moody.asked < 3 else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"[1, 2]")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_a_request_is_made_by_the_agent_and_tried_again_by_its_status(tmp_path: Path) -> None:
    async def work(url: str) -> None:
        async with Whole(tmp_path) as whole:
            task = {
                "name": "ask",
                "http": {"url": "${params.url}", "headers": {"X-Secret": "hush"}},
                "retries": {"max": 5, "delay": "1ms", "only": ["exit:503"]},
            }
            definition = msgspec.convert({"name": "p", "tasks": [task]}, JobDefinition)
            graph, number = await whole.node.ledger.keep(definition), await whole.node.ids.take()
            params = msgspec.json.encode({"url": url})
            given = RunInput(number, graph, None, None, whole.node.clock.now(), params)
            await whole.node.ledger.ask(Submit(given), SYSTEM)
            (row,) = await whole.ended([number])
            (cell,) = await whole.tasks(number)
            assert (row.cell.state, cell.attempt, cell.exit_status) == (RunState.succeeded, 3, "200")
            assert cell.result is not None
            assert msgspec.json.decode(cell.result.data or b"")["body"] == [1, 2]
            first = (await whole.node.store.reader.attempts(cell.key))[0].cell
            assert (first.exit_status, first.reason) == ("503", None)
            assert "answered 503" in ((first.error and first.error.data) or b"").decode()
            log = msgspec.msgpack.decode(cell.seal, type=Seal).inline
            assert b"/a \xe2\x86\x92 200 OK" in log
            assert b"hush" not in log

    with HTTPServer(("127.0.0.1", 0), Moody) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        run(work(f"http://127.0.0.1:{server.server_address[1]}/a"))
        server.shutdown()
        thread.join()
