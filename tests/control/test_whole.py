"""Control and the real agent together, in one process: work goes through, and goes on after either began again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from control.whole import Whole, until
from headrace.agent.spool import decode_inline
from headrace.control.changes.agents import AGENT, read_agent
from headrace.core.work import Dispatch
from headrace.link.records import LogRecord, Seal, StopOrder
from headrace.model.changes import SYSTEM, Cancel
from headrace.model.definition import JobDefinition
from headrace.model.errors import StoreError, UnknownOutcome
from headrace.model.states import RunState, TaskState


def run(work: Coroutine[Any, Any, None]) -> None:
    """Drive one test on the loop that the product uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, 60))


def command(*argv: str, **more: Any) -> dict[str, Any]:
    return {"name": "t", "tasks": [{"name": "a", "command": list(argv), **more}]}


async def until_running(whole: Whole, runs: list[int]) -> None:
    """Wait until the store knows that these run."""

    async def all_run() -> bool:
        states = [c.state for r in runs for c in await whole.tasks(r)]
        return states == [TaskState.running] * len(runs)

    await until(all_run)


def test_a_command_runs_and_its_log_is_kept(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            runs = await whole.submit(command("sh", "-c", "echo out; echo err >&2; exit 3"))
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (row.cell.state, cell.exit_code, cell.attempt) == (RunState.failed, 3, 1)
            records = decode_inline(msgspec.msgpack.decode(cell.seal, type=Seal).inline)
            assert {(r.stream, r.data) for r in records} == {("stdout", b"out\n"), ("stderr", b"err\n")}

    run(work())


def test_what_an_attempt_may_open_with_does_not_stand_in_its_log(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            said = 'env >&2; echo one; printf "%s" "$HEADRACE_TOKEN"; printf hrr'
            runs = await whole.submit(command("sh", "-c", said))
            await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            records = decode_inline(msgspec.msgpack.decode(cell.seal, type=Seal).inline)
            out = b"".join(r.data for r in records if r.stream == "stdout")
            err = b"".join(r.data for r in records if r.stream == "stderr")
            assert b"HEADRACE_TOKEN=***\n" in err
            assert b"hrr_" not in err
            assert out == b"one\n***hrr"

    run(work())


def test_a_large_log_is_fetched_into_the_store_and_dropped_by_the_agent(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            (r,) = await whole.submit(command("sh", "-c", "seq 1 60000"))
            await whole.ended([r])
            await until(lambda: not whole.agent.attempts.spool.waiting())
            segments = await whole.node.store.reader.segments((r, 0, -1), 1)
            data = b""
            for s in segments:
                raw = s.data if s.data is not None else await whole.node.store.blobs.get(s.digest)
                data += b"".join(x.data for x in msgspec.msgpack.decode(raw, type=list[LogRecord]))
            assert data == "".join(f"{i}\n" for i in range(1, 60001)).encode()

    run(work())


def test_files_of_an_earlier_task_reach_the_later_one(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            make = {"name": "make", "command": ["sh", "-c", 'echo 42 > "$HEADRACE_OUTPUTS/n.txt"']}
            read = {
                "name": "read",
                "needs": ["make"],
                "command": ["sh", "-c", 'cat "$HEADRACE_INPUTS/make/n.txt" > "$HEADRACE_RESULT"'],
            }
            runs = await whole.submit({"name": "files", "tasks": [make, read]})
            (row,) = await whole.ended(runs)
            cells = await whole.tasks(runs[0])
            assert row.cell.state is RunState.succeeded, cells
            assert cells[1].result is not None
            assert cells[1].result.data == b"42"

    run(work())


def test_more_work_than_room_waits_and_is_all_done_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path, slots=1) as whole:
            trace = tmp_path / "trace"
            runs = await whole.submit(command("sh", "-c", f"echo $HEADRACE_RUN >> {trace}"), 30)
            await whole.ended(runs)
            assert sorted(map(int, trace.read_text().split())) == runs

    run(work())


def test_work_goes_on_while_control_is_away_and_is_told_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            trace = tmp_path / "trace"
            runs = await whole.submit(command("sh", "-c", f"sleep 0.5; echo $HEADRACE_ATTEMPT >> {trace}"), 2)
            await until_running(whole, runs)
            await whole.stop_control()
            await until(lambda: trace.exists() and len(trace.read_text().split()) == 2)
            await whole.start_control()
            rows = await whole.ended(runs)
            assert {r.cell.state for r in rows} == {RunState.succeeded}
            assert trace.read_text().split() == ["1", "1"]

    run(work())


def test_what_was_claimed_but_never_delivered_is_given_again_without_costing_an_attempt(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            await until_linked(whole)
            lost: list[Dispatch] = []
            session = whole.node.links.session(1)
            assert session is not None
            session.starter.take = lost.extend  # type: ignore[method-assign] # the POST that never happens
            runs = await whole.submit(command("true"))
            await until(lambda: bool(lost))
            await whole.stop_control()
            await whole.start_control()
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert row.cell.state is RunState.succeeded
            assert cell.epoch > lost[0].epoch
            assert not cell.lost

    run(work())


def test_what_was_to_follow_a_commit_in_doubt_happens_all_the_same(tmp_path: Path) -> None:
    """The attempt was claimed in a commit of which nobody knew: the same process finds it and gives it out."""
    armed = False

    def fault(name: str, /) -> None:
        nonlocal armed
        if armed and name == "ledger.after_commit":
            armed = False
            raise UnknownOutcome("the line was cut at COMMIT")

    async def work() -> None:
        nonlocal armed
        async with Whole(tmp_path, fault=fault) as whole:
            await until_linked(whole)
            before = await whole.submit(command("true"))
            await whole.ended(before)
            await whole.node.ids.take()
            armed = True
            with pytest.raises(UnknownOutcome):
                await whole.submit(command("true"))
            await whole.ended([before[0] + 2])

    run(work())


def test_what_was_to_follow_happens_although_its_own_commit_failed(tmp_path: Path) -> None:
    """More follow-ups than one commit holds; the second one, of which nobody waits for an answer, does not happen."""
    armed = 0

    def fault(name: str, /) -> None:
        nonlocal armed
        if armed and name == "ledger.before_commit":
            armed += 1
            if armed == 3:
                raise StoreError("no space left")

    async def work() -> None:
        nonlocal armed
        async with Whole(tmp_path, fault=fault) as whole:
            await until_linked(whole)
            wait = {"name": "w", "wait": {"for": "1ms"}, "each": list(range(1_000))}
            document = {"name": "waits", "tasks": [wait]}
            await whole.node.ledger.keep(msgspec.convert(document, JobDefinition))
            armed = 1
            (row,) = await whole.ended(await whole.submit(document))
            assert (row.cell.state, armed > 3) == (RunState.succeeded, True)

    run(work())


def test_the_work_of_an_agent_that_began_again_is_lost_and_retried(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            flag = tmp_path / "flag"
            runs = await whole.submit(command("sh", "-c", f"test -e {flag} && exit 0; touch {flag}; sleep 60"))
            await until_running(whole, runs)
            await until(flag.exists)
            await whole.stop_agent()
            whole.start_agent()
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (row.cell.state, cell.attempt) == (RunState.succeeded, 2)

    run(work())


@pytest.mark.parametrize("what", ['"$HEADRACE_OUTPUTS"', '"$(dirname "$HEADRACE_OUTPUTS")"'])
def test_a_task_that_removes_its_own_folders_ends_as_it_says(what: str, tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            runs = await whole.submit(command("sh", "-c", f"rm -rf {what}; exit 3"), 3)
            await whole.ended(runs)
            for r in runs:
                (cell,) = await whole.tasks(r)
                assert (cell.state, cell.exit_code) == (TaskState.failed, 3)

    run(work())


def test_cancel_ends_what_runs(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            runs = await whole.submit(command("sleep", "60"))
            await until_running(whole, runs)
            await whole.node.ledger.ask(Cancel(runs[0], "enough"), SYSTEM)
            (row,) = await whole.ended(runs)
            assert row.cell.state is RunState.canceled
            assert not whole.node.placement.agents()[0].held

    run(work())


def deaf(whole: Whole, *, but_fences: bool = False) -> None:
    """From now on the agent takes stop orders, and does nothing about them."""
    obey = whole.agent.attempts.stop

    def stop(order: StopOrder) -> None:
        if but_fences and order.fence:
            obey(order)

    whole.agent.attempts.stop = stop  # type: ignore[method-assign] # an agent with a fault


def test_what_does_not_end_is_fenced_and_its_place_is_free_while_the_link_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.core.waking.FENCE_US", 100_000)

    async def work() -> None:
        async with Whole(tmp_path, slots=1) as whole:
            runs = await whole.submit(command("sleep", "600", grace="0s"))
            await until_running(whole, runs)
            deaf(whole, but_fences=True)
            await whole.node.ledger.ask(Cancel(runs[0], "enough"), SYSTEM)
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (row.cell.state, cell.reason) == (RunState.canceled, "fenced")
            await until(lambda: whole.agent.attempts.running == 0)
            (row,) = await whole.ended(await whole.submit(command("true")))
            assert row.cell.state == RunState.succeeded

    run(work())


def test_a_stop_that_the_last_link_may_not_have_told_is_told_again_by_the_next(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            runs = await whole.submit(command("sleep", "600", grace="30s"))
            await until_running(whole, runs)
            obey = whole.agent.attempts.stop
            deaf(whole)
            await whole.node.ledger.ask(Cancel(runs[0], "enough"), SYSTEM)
            await until(lambda: _asked(whole, runs[0]))
            await whole.stop_control()
            whole.agent.attempts.stop = obey  # type: ignore[method-assign] # mended
            await whole.start_control()
            await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (cell.state, cell.signal, cell.reason) == (TaskState.canceled, 15, "canceled")

    run(work())


async def _asked(whole: Whole, number: int) -> bool:
    return bool((await whole.tasks(number))[0].due_at)


@pytest.mark.parametrize("damage", ["gone", "changed"])
@pytest.mark.parametrize("made", ["result", "artifact"])
def test_an_attempt_whose_bytes_the_agent_lost_has_failed_and_the_feed_goes_on(
    damage: str, made: str, tmp_path: Path
) -> None:
    result = 'seq -s, 1 80000 | sed "s/.*/[&]/" > "$HEADRACE_RESULT"'
    text = result if made == "result" else 'echo 1 > "$HEADRACE_OUTPUTS/a"; echo 2 > "$HEADRACE_OUTPUTS/b"'

    async def work() -> None:
        async with Whole(tmp_path) as whole:
            gate = tmp_path / "gate"
            waits = f"while test ! -e {gate}; do sleep 0.01; done; "
            runs = await whole.submit(command("sh", "-c", waits + text))
            await until_running(whole, runs)
            await whole.stop_control()
            gate.touch()
            await until(lambda: whole.agent.attempts.outbox.waiting == 1)
            kept = min((tmp_path / "agent" / "blobs" / "out").iterdir())
            kept.unlink() if damage == "gone" else kept.write_bytes(b"not these")
            await whole.start_control()
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (row.cell.state, cell.state, cell.result) == (RunState.failed, TaskState.failed, None)
            assert "the agent lost what the attempt made" in (cell.reason or "")
            (row,) = await whole.ended(await whole.submit(command("true")))
            assert row.cell.state == RunState.succeeded

    run(work())


def test_a_retry_comes_by_itself_when_it_is_due(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            retries = {"max": 2, "delay": "100ms", "jitter": 0}
            flag = tmp_path / "flag"
            runs = await whole.submit(
                command("sh", "-c", f"test -e {flag} || {{ touch {flag}; exit 1; }}", retries=retries)
            )
            (row,) = await whole.ended(runs)
            (cell,) = await whole.tasks(runs[0])
            assert (row.cell.state, cell.attempt) == (RunState.succeeded, 2)

    run(work())


async def until_linked(whole: Whole) -> None:
    await until(lambda: bool(whole.node.placement.offers()))


@pytest.mark.parametrize("count", [200])
def test_nothing_is_held_when_all_is_done(tmp_path: Path, count: int) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            runs = await whole.submit(command("true"), count)
            await whole.ended(runs)
            assert not whole.node.placement.agents()[0].held
            assert not await whole.node.store.reader.leased(1, None, 10)

    run(work())


def test_commits_and_the_agents_row_name_the_life_of_control_that_wrote_them(tmp_path: Path) -> None:
    async def work() -> None:
        async with Whole(tmp_path) as whole:
            nodes, linked = [], []
            for life in range(2):
                if life:
                    await whole.stop_control()
                    await whole.start_control()
                (r,) = await whole.submit(command("true"))
                await whole.ended([r])
                reader = whole.node.store.reader
                history = await reader.history(r)
                nodes.append({row.node for row in await reader.commits([row.commit for row in history])})
                agent = await reader.entity((AGENT, "a"))
                assert agent is not None
                linked.append({read_agent(agent.image).node})
            assert linked == nodes
            assert nodes[0] != nodes[1]
            assert 0 not in nodes[0] | nodes[1]

    run(work())
