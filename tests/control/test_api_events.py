"""``GET /events`` and the stream: everything once, in commit order, from any cursor; and who may see what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from api_world import HELLO, World, run_async
from watching import Doored

from headrace.control.auth import Role
from headrace.control.events.cursor import read_cursor
from headrace.link.websocket import PONG, TEXT


async def everything(world: World, query: str = "", limit: int = 500, after: str = "") -> list[Any]:
    """All pages."""
    found: list[Any] = []
    while True:
        page = (await world.get(f"/events?limit={limit}{query}" + (f"&after={after}" if after else ""))).json
        found += page["items"]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            return found
        after = page["next_cursor"]


def told(events: list[Any]) -> list[tuple[str, int, str]]:
    return [(e["subject"], e["sequence"], e["kind"]) for e in events]


async def some_runs(world: World, count: int = 3) -> None:
    await world.agent()
    await world.post("/jobs", HELLO)
    for _ in range(count):
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        await world.settle(run)


@run_async
async def test_events_of_runs_and_named_things_come_in_commit_order(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await some_runs(world, 2)
        events = await everything(world)
        kinds = [e["kind"] for e in events]
        assert kinds.index("token.made") < kinds.index("job.saved") < kinds.index("run.submitted")
        assert told(events)[-1][0].startswith("runs/2")
        assert {e["kind"] for e in events if e["subject"] == "runs/1"} >= {"run.submitted", "run.ended"}
        saved = next(e for e in events if e["kind"] == "job.saved")
        assert (saved["subject"], saved["sequence"], saved["actor"][:6]) == ("jobs/hello", 1, "token:")
        assert [e["at"] for e in events] == sorted(e["at"] for e in events)
        of_run = (await world.get("/runs/2/events")).json["items"]
        assert told(of_run) == [t for t in told(events) if t[0].startswith("runs/2")]


@run_async
async def test_the_end_of_a_run_is_the_last_that_is_told_of_it(tmp_path: Path) -> None:
    job = {
        "name": "two",
        "tasks": [{"name": "a", "command": ["true"]}, {"name": "b", "needs": ["a"], "command": ["true"]}],
    }
    async with World(tmp_path) as world:
        await world.agent()
        run = (await world.post("/runs", {"job": job})).json["id"]
        await world.settle(run, 0)
        await world.settle(run, 1)
        kinds = [e["kind"] for e in await everything(world) if e["subject"].startswith(f"runs/{run}")]
        assert kinds[0] == "run.submitted"
        assert kinds[-2:] == ["task.ended", "run.ended"]
        of_run = [e["kind"] for e in (await world.get(f"/runs/{run}/events")).json["items"]]
        assert of_run[-1] == "run.ended"


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@run_async
async def test_pages_of_any_size_leave_nothing_out_and_repeat_nothing(tmp_path: Path, limit: int) -> None:
    async with World(tmp_path) as world:
        await some_runs(world)
        whole = await everything(world)
        assert await everything(world, limit=limit) == whole
        for place in (0, 3, len(whole) - 2):
            assert await everything(world, limit=limit, after=whole[place]["cursor"]) == whole[place + 1 :]


@run_async
async def test_a_poller_goes_on_from_its_last_cursor(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await some_runs(world, 1)
        page = (await world.get("/events?after=latest")).json
        assert (page["items"], page["next_cursor"]) == ([], None)
        assert (await world.get(f"/events?after={page['cursor']}")).json == page
        await world.post("/jobs/hello/runs", {})
        following = (await world.get(f"/events?after={page['cursor']}")).json
        assert following["items"][0]["kind"] == "run.submitted"


@run_async
async def test_subjects_are_whole_words_or_beginnings(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await some_runs(world, 12)
        whole = await everything(world)
        for query, fits in (
            ("runs/1", lambda s: s == "runs/1" or s.startswith("runs/1/")),
            ("runs/1/tasks/say", lambda s: s.startswith("runs/1/tasks/say")),
            ("runs/1*", lambda s: s.startswith("runs/1")),
            ("jobs/hello", lambda s: s == "jobs/hello"),
            ("jobs/he*", lambda s: s == "jobs/hello"),
            ("jobs/hell", lambda s: False),
            ("runs", lambda s: s.startswith("runs/")),
            ("jobs,runs/2", lambda s: s.startswith(("jobs/", "runs/2/")) or s == "runs/2"),
        ):
            found = await everything(world, f"&subject={query}", limit=2)
            assert found == [e for e in whole if fits(e["subject"])], query
            assert found or query == "jobs/hell"
        assert (await world.get("/events?subject=a*b")).status == 400


@run_async
async def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await some_runs(world, 1)
        for text in ("x", "AAAA", "%F0%9F%92%A9", "a" * 300, "lQECAwQFBg", "lf8BAgME"):
            assert (await world.get(f"/events?after={text}")).status == 400, text


@run_async
async def test_a_cursor_of_before_a_restore_is_gone(tmp_path: Path) -> None:
    from headrace.control.events.cursor import Cursor

    async with World(tmp_path) as world:
        await some_runs(world, 1)
        assert (await world.get(f"/events?after={Cursor(7, 1, 0).text()}")).status == 410


@run_async
async def test_the_stream_tells_what_was_and_what_comes(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        await some_runs(world, 2)
        whole = await everything(world)
        async with await world.watch() as watcher:
            assert await watcher.events(len(whole)) == whole
            run = (await world.post("/jobs/hello/runs", {})).json["id"]
            event = await watcher.event()
            assert (event["kind"], event["subject"]) == ("run.submitted", f"runs/{run}")
        more = await everything(world)
        async with await world.watch(f"?after={whole[4]['cursor']}") as watcher:
            assert await watcher.events(len(more) - 5) == more[5:]
        async with await world.watch("?after=latest&subject=jobs") as watcher:
            await world.post("/jobs/hello/runs", {})
            await world.put("/jobs/hello", {**HELLO, "description": "other"})
            assert told([await watcher.event()]) == [("jobs/hello", 2, "job.saved")]


@run_async
async def test_many_watchers_of_a_busy_store_each_see_everything_once(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        await some_runs(world, 1)
        watchers = [await world.watch() for _ in range(20)]
        await some_runs(world, 40)
        whole = await everything(world)
        for watcher in watchers:
            assert await watcher.events(len(whole)) == whole
            watcher.writer.close()


@run_async
async def test_a_stream_is_refused_as_any_request_is(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        assert b"401" in (await world.dial(token="hr_" + "A" * 51))[0]
        assert b"403" in (await world.dial(more="Origin: https://evil.test\r\n"))[0]
        assert b"101" in (await world.dial(more="Origin: http://localhost\r\n"))[0]
        assert b"400" in (await world.dial("?after=nonsense"))[0]
        assert b"400" in (await world.dial("?what=x"))[0]
        assert (await world.get("/events/stream")).status == 426


@run_async
async def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    from headrace.control.auth import hash_token, token_name
    from headrace.control.changes.tokens import RevokeToken
    from headrace.model.changes import SYSTEM

    async with Doored(tmp_path) as world:
        token = world.tokens[Role.watcher]
        status, watcher = await world.dial("?after=latest", token=token)
        assert b"101" in status
        await world.node.ledger.change(RevokeToken(token_name(hash_token(token))), SYSTEM)
        world.services.auth.forget()
        events = []
        while (event := await watcher.event()) is not None:
            events.append(event["kind"])
        assert set(events) <= {"token.revoked"}


@run_async
async def test_a_stream_ends_when_the_server_does(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world, await world.watch("?after=latest") as watcher:
        await world.doors.close()
        assert await watcher.event() is None


@run_async
async def test_a_watcher_that_reads_nothing_is_not_buffered_for(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        await some_runs(world, 1)
        async with (await world.dial(small=True))[1] as watcher:
            watcher.reader._transport.pause_reading()  # type: ignore[attr-defined]  # reason: a peer that is stuck
            (connection,) = world.doors.http.connections
            size = 0
            for _ in range(8):
                await world.post("/runs/batch", {"runs": [{"job": "hello"}] * 500})
                # each answer lets the stream write on, were it to
                await world.get("/events?after=latest")
                size = max(size, connection.transport.get_write_buffer_size())
            assert size < 300_000
            watcher.reader._transport.resume_reading()  # type: ignore[attr-defined]  # reason: it goes on
            whole = await everything(world)
            assert await watcher.events(len(whole)) == whole


@run_async
async def test_what_a_watcher_says_means_nothing_but_nonsense_ends_it(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world, await world.watch("?after=latest") as watcher:
        ws = watcher._ws
        for opcode, payload in ((TEXT, b"hello"), (PONG, b""), (0x9, b"are you there")):
            ws._frame(opcode, payload)
        watcher.writer.write(ws.to_write())
        await world.post("/jobs", HELLO)
        assert (await watcher.event())["kind"] == "job.saved"
        watcher.writer.write(b"\xff\xff\xff\xff\xff\xff")
        assert await watcher.event() is None


@run_async
async def test_a_poller_may_wait_for_the_first_event(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await some_runs(world, 1)
        cursor = (await world.get("/events?after=latest")).json["cursor"]
        waiting = asyncio.ensure_future(world.get(f"/events?after={cursor}&wait=30s&subject=jobs"))
        await world.post("/jobs/hello/runs", {})
        await asyncio.wait({waiting}, timeout=0.05)
        assert not waiting.done()
        await world.put("/jobs/other", {**HELLO, "name": "other"})
        assert told((await waiting).json["items"]) == [("jobs/other", 1, "job.saved")]
        assert world.node.tail.watchers == 0
        assert (await world.get("/events?after=latest&wait=10ms")).json["items"] == []


@run_async
async def test_what_is_not_kept_any_more_is_a_gap_and_stops_nothing(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        await some_runs(world, 3)
        whole = await everything(world)
        write = world.node.store.writer._conn.execute  # type: ignore[attr-defined]  # reason: what a prune will leave
        write("DELETE FROM history_run WHERE run = 2")
        write("DELETE FROM run WHERE id = 2")
        left = await everything(world)
        gaps = [e for e in left if e["kind"] == "gap"]
        assert {(e["subject"], e["body"]["reason"]) for e in gaps} == {("runs/2", "pruned")}
        others = [e for e in whole if not e["subject"].startswith("runs/2")]
        assert [e for e in left if e["kind"] != "gap"] == others
        place = world.node.tail.feed
        middle = next(e for e in left if e["subject"].startswith("runs/2"))
        cursor = read_cursor(middle["cursor"])
        write(f"INSERT INTO meta VALUES ('pruned', '{cursor.position} 0 1')")
        assert (await world.get(f"/events?after={whole[0]['cursor']}")).status == 410
        rest = [e for e in left if read_cursor(e["cursor"]).position > cursor.position]
        assert rest
        assert await everything(world) == rest
        async with await world.watch(f"?after={whole[0]['cursor']}") as watcher:
            first = await watcher.event()
            assert (first["kind"], first["cursor"]) == ("gap", (await place.oldest()).text())
            assert await watcher.events(len(rest)) == rest
