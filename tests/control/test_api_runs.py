"""Reading runs: lists, tasks, results, errors, logs, events, explain; waiting; canceling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from api_world import HELLO, World, run_async

from headrace.control.auth import Role
from headrace.control.values import SHOWN_MAX
from headrace.link.records import LogRecord, Seal, StreamSeal
from headrace.model.cells import Value
from headrace.model.changes import SYSTEM, OutcomeKind
from headrace.model.document import LABEL_MAX
from headrace.store.rows import LogSegment

CHAIN = {
    "name": "chain",
    "tasks": [
        {"name": "a", "command": ["a"], "retries": {"max": 1, "delay": "0s"}},
        {"name": "b", "command": ["b"], "needs": ["a"]},
        {"name": "c", "command": ["c"], "needs": ["b"]},
    ],
}


def value(data: Any) -> Value:
    text = msgspec.json.encode(data)
    return Value(len(text), "inline", text)


def record(seq: int, data: bytes, stream: str = "stdout", level: str = "", at: int = 0) -> LogRecord:
    return LogRecord(seq, at or 1_800_000_000_000_000 + seq, stream, data, level, "app" if level else "")


def seal(*records: LogRecord, inline: bool = True, last: int | None = None) -> bytes:
    ends = (StreamSeal("stdout", len(records), 1, 1),)
    inner = msgspec.msgpack.encode(list(records)) if inline else b""
    return msgspec.msgpack.encode(Seal(len(records) if last is None else last, ends, inner))


async def submitted(world: World, job: dict[str, Any] = HELLO, **body: Any) -> int:
    await world.put(f"/jobs/{job['name']}", job)
    run: int = (await world.post(f"/jobs/{job['name']}/runs", body)).json["id"]
    return run


@run_async
async def test_a_run_that_succeeded_shows_its_result_and_its_task(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        await world.settle(run, exit_status="0", exit_code=0, result=value({"n": 1}))
        got = (await world.get(f"/runs/{run}")).json
        assert (got["state"], got["result"]) == ("succeeded", {"n": 1})
        task = got["tasks"][0]
        assert (task["name"], task["state"], task["attempt"], task["exit_code"], task["agent"]) == (
            "say",
            "succeeded",
            1,
            0,
            "fake",
        )
        assert task["result"] == {"n": 1}
        assert [(a["attempt"], a["state"]) for a in task["attempts"]] == [(1, "succeeded")]
        assert got["ended_at"].endswith("Z")


@run_async
async def test_a_result_too_large_for_a_page_is_left_out_and_stands_where_it_is_asked_for_alone(tmp_path: Path) -> None:
    job = {"name": "large", "tasks": [{"name": n, "command": ["x"]} for n in "ab"]}
    async with World(tmp_path) as world:
        await world.agent(slots=4)
        run = await submitted(world, job)
        text = "x" * (SHOWN_MAX // 2)
        for no in range(2):
            await world.settle(run, no, result=value(text))
        got = (await world.get(f"/runs/{run}")).json
        assert [len(t["result"] or "") for t in got["tasks"]] == [len(text), 0]
        assert got["tasks"][1]["result_omitted"].endswith(f"ask for /runs/{run}/tasks/b")
        assert (await world.get(f"/runs/{run}/tasks/b")).json["result"] == text
        one = await submitted(world, HELLO)
        await world.settle(one, result=value(text * 3))
        got = (await world.get(f"/runs/{one}")).json
        assert (got["state"], got["result"]) == ("succeeded", None)
        assert "bytes of values are shown" in got["result_omitted"]
        assert (await world.get(f"/runs/{one}/tasks/say")).json["result"] == text * 3


@run_async
async def test_what_messagepack_cannot_hold_is_told_and_json_can(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        await world.settle(run, result=Value(30, "inline", b"9" * 30))
        assert (await world.get(f"/runs/{run}")).json["result"] == int("9" * 30)
        answer = await world.get(f"/runs/{run}", headers={"accept": "application/msgpack"})
        assert answer.status == 406
        assert "ask for application/json" in msgspec.msgpack.decode(answer.body)["detail"]


@run_async
async def test_the_result_of_a_run_is_what_its_definition_says(tmp_path: Path) -> None:
    job = {
        "name": "r",
        "tasks": [{"name": "a", "command": ["a"]}, {"name": "b", "command": ["b"]}],
        "result": {"sum": "${tasks.a.result.n}", "state": "${tasks.b.state}", "who": "${params.who}"},
    }
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world, job, params={"who": "me"})
        await world.settle(run, 0, result=value({"n": 5}))
        assert (await world.get(f"/runs/{run}")).json["result"] is None
        await world.settle(run, 1)
        assert (await world.get(f"/runs/{run}")).json["result"] == {"sum": 5, "state": "succeeded", "who": "me"}


@run_async
async def test_attempts_keep_their_errors_with_frames(tmp_path: Path) -> None:
    error = {
        "type": "ValueError",
        "message": "no rows",
        "traceback": "Traceback…\nValueError: no rows",
        "frames": [{"file": "sales.py", "line": 3, "function": "clean", "code": "raise", "yours": True}],
    }
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world, CHAIN)
        for _ in range(2):
            await world.settle(run, 0, kind=OutcomeKind.failed, exit_status="error", error=value(error))
            await _readied(world, run)
        got = (await world.get(f"/runs/{run}")).json
        assert got["state"] == "failed"
        task = got["tasks"][0]
        assert [(a["attempt"], a["state"], a["error"]["message"]) for a in task["attempts"]] == [
            (1, "failed", "no rows"),
            (2, "failed", "no rows"),
        ]
        assert task["error"]["frames"][0] == error["frames"][0]
        assert [t["state"] for t in got["tasks"]] == ["failed", "skipped", "skipped"]
        assert (await world.get(f"/runs/{run}/tasks/a")).json["attempts"] == task["attempts"]


async def _readied(world: World, run: int) -> None:
    """Let the due loop bring the retry."""
    async with asyncio.timeout(10):
        while True:
            cell = await world.node.store.reader.task((run, 0, -1))
            assert cell is not None
            if cell.state.name != "retrying":
                return
            await asyncio.sleep(0)


@run_async
async def test_a_task_that_repeats_and_succeeds_each_time_says_nothing_of_failure(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        again = {"times": 2, "delay": "1s"}
        run = await submitted(world, {"name": "again", "tasks": [{"name": "a", "command": ["true"], "repeat": again}]})

        async def log() -> list[tuple[int, str, str]]:
            page = (await world.get(f"/runs/{run}/logs")).json
            return [(i["attempt"], i["stream"], i["text"]) for i in page["items"]]

        await world.settle(run, 0, seal=seal(record(1, b"one\n")))
        assert await log() == [(1, "stdout", "one\n")]
        await _readied(world, run)
        await world.settle(run, 0, seal=seal(record(1, b"two\n")))
        assert await log() == [(1, "stdout", "one\n"), (2, "stdout", "two\n")]


@run_async
async def test_why_it_failed_is_in_the_log_and_reads_the_same_twice(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world, CHAIN)
        first = seal(record(1, b"one\n"), record(2, b"oops\n", "stderr"))
        await world.settle(run, 0, kind=OutcomeKind.failed, exit_status="3", exit_code=3, seal=first)
        await _readied(world, run)
        early = (await world.get(f"/runs/{run}/tasks/a/logs")).json["items"]
        error = value({"type": "E", "message": "m", "traceback": "Traceback: E: m"})
        await world.settle(
            run, 0, kind=OutcomeKind.failed, exit_status="4", error=error, seal=seal(record(1, b"two\n"))
        )
        page = (await world.get(f"/runs/{run}/logs")).json
        assert page["next_cursor"] is None
        texts = [(i["task"], i["attempt"], i["seq"], i["stream"], i["text"]) for i in page["items"]]
        assert texts[:3] == [
            ("a", 1, 1, "stdout", "one\n"),
            ("a", 1, 2, "stderr", "oops\n"),
            ("a", 1, 3, "system", "a: attempt 1 of 2 failed: exit status 3\n"),
        ]
        assert texts[3] == ("a", 2, 1, "stdout", "two\n")
        assert texts[4][3] == "system"
        assert (
            texts[4][4]
            == "a: attempt 2 of 2 failed: exit status 4\nTraceback: E: m\ndoes not begin because of this: b, c\n"
        )
        assert texts[5][0] == ""
        assert f"run {run} failed" in texts[5][4]
        assert "skipped: b, c" in texts[5][4]
        assert page["items"][2]["level"] == "error"
        assert page["items"][2]["fields"] == {
            "state": "failed",
            "exit_status": "3",
            "attempt": 1,
            "of": 2,
            "reason": None,
        }
        assert early == page["items"][: len(early)]


@run_async
async def test_logs_are_paged_filtered_and_given_as_bytes(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        records = [
            record(1, b"a\xff\n"),
            record(2, b"half"),
            record(3, b" line\n"),
            record(4, b"warn", "log", "warning"),
            record(5, b"info", "log", "info"),
            record(6, b"err\n", "stderr"),
        ]
        await world.settle(run, seal=seal(*records))
        seen, cursor = [], ""
        while cursor is not None:
            page = (await world.get(f"/runs/{run}/logs?limit=2&after={cursor}")).json
            assert len(page["items"]) <= 2
            seen += [i["seq"] for i in page["items"]]
            cursor = page["next_cursor"]
        assert seen == [1, 2, 3, 4, 5, 6]
        assert [i["seq"] for i in (await world.get(f"/runs/{run}/logs?stream=stderr,log")).json["items"]] == [4, 5, 6]
        assert [i["seq"] for i in (await world.get(f"/runs/{run}/logs?level=warning")).json["items"]] == [4]
        assert [i["seq"] for i in (await world.get(f"/runs/{run}/logs?q=line")).json["items"]] == [3]
        text = {"accept": "text/plain"}
        out = await world.get(f"/runs/{run}/logs?stream=stdout", headers=text)
        assert out.body == b"a\xff\nhalf line\n"
        assert out.headers["content-type"] == "text/plain; charset=utf-8"
        whole = await world.get(f"/runs/{run}/tasks/say/logs", headers=text)
        assert whole.body == b"a\xff\nhalf line\nWARNING app: warn\nINFO app: info\nerr\n"
        for bad in ("stream=x", "level=x", "after=!!", "limit=501"):
            assert (await world.get(f"/runs/{run}/logs?{bad}")).status == 400
        assert (await world.get(f"/runs/{run}/tasks/nope/logs")).status == 404


@run_async
async def test_long_logs_come_from_segments_and_blobs(tmp_path: Path) -> None:
    from headrace.control.changes.logs import KeepSegments

    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        records = [record(i, b"%d\n" % i) for i in range(1, 1201)]
        await world.settle(run, seal=seal(inline=False, last=1200))
        first, second = records[:700], records[700:]
        digest, _ = await world.node.store.blobs.put(msgspec.msgpack.encode(second))
        pieces = (
            LogSegment(run, 0, -1, 1, 1, 700, msgspec.msgpack.encode(first)),
            LogSegment(run, 0, -1, 1, 701, 1200, None, digest),
        )
        await world.node.ledger.change(KeepSegments(pieces), SYSTEM)
        text = await world.get(f"/runs/{run}/logs", headers={"accept": "text/plain"})
        assert text.body == b"".join(r.data for r in records)
        page = (await world.get(f"/runs/{run}/logs?limit=500")).json
        assert [i["seq"] for i in page["items"]] == list(range(1, 501))


@run_async
async def test_output_is_told_with_the_run_when_asked_for(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world, CHAIN)
        await world.settle(run, 0, kind=OutcomeKind.failed, seal=seal(record(1, b"first"), record(2, b"bad", "stderr")))
        await _readied(world, run)
        await world.settle(run, 0, seal=seal(record(1, b"x" * 70_000), record(2, b"end")))
        task = (await world.get(f"/runs/{run}?with=output")).json["tasks"][0]
        assert [(a["stdout"][-5:], a["stderr"]) for a in task["attempts"]] == [("first", "bad"), ("xxend", "")]
        assert len(task["stdout"]) == 65_536
        assert (await world.get(f"/runs/{run}")).json["tasks"][0]["stdout"] is None


@run_async
async def test_lists_are_filtered_and_paged_newest_first(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        ids = [(await world.post("/jobs/hello/runs", {"labels": {"n": str(i % 2)}})).json["id"] for i in range(7)]
        await world.post(f"/runs/{ids[0]}/cancel", {})
        other = (await world.post("/runs", {"command": ["x"]})).json["id"]
        seen, cursor = [], ""
        while cursor is not None:
            page = (await world.get(f"/runs?limit=3&cursor={cursor}")).json
            seen += [r["id"] for r in page["items"]]
            cursor = page["next_cursor"]
        assert seen == [other, *reversed(ids)]
        assert all(r["tasks"] == [] for r in page["items"])
        assert [r["id"] for r in (await world.get("/runs?sort=created_at&limit=2")).json["items"]] == ids[:2]
        assert len((await world.get("/runs?job=hello")).json["items"]) == 7
        assert [r["id"] for r in (await world.get("/runs?state=canceled,failed")).json["items"]] == [ids[0]]
        assert len((await world.get("/runs?label=n=1")).json["items"]) == 3
        created = (await world.get(f"/runs/{ids[3]}")).json["created_at"]
        assert len((await world.get(f"/runs?since={created}")).json["items"]) == 5
        assert len((await world.get(f"/runs?until={created}")).json["items"]) == 4


@run_async
async def test_the_label_of_an_instance_may_speak_of_the_run_and_is_cut_where_it_is_shown(tmp_path: Path) -> None:
    task = {
        "name": "one",
        "each": ["x", "y" * 5_000],
        "label": "${run.job} ${run.labels.team}: ${item}",
        "command": ["a"],
    }
    async with World(tmp_path) as world:
        await world.agent(slots=8)
        body = {"job": {"name": "wide", "tasks": [task]}, "labels": {"team": "sales"}}
        run = (await world.post("/runs", body)).json["id"]
        page = (await world.get(f"/runs/{run}/tasks/one?limit=2")).json
        short, long = [t["label"] for t in page["items"]]
        assert short == "wide sales: x"
        assert (len(long), long[:14], long[-2:]) == (LABEL_MAX, "wide sales: yy", "y…")


@run_async
async def test_a_group_shows_counts_and_its_instances_are_paged(tmp_path: Path) -> None:
    job = {"name": "wide", "tasks": [{"name": "one", "each": ["x", "y", "z"], "label": "<${item}>", "command": ["a"]}]}
    async with World(tmp_path) as world:
        await world.agent(slots=8)
        run = await submitted(world, job)
        for i in range(3):
            await world.settle(run, 0, i, result=value(i * 10))
        got = (await world.get(f"/runs/{run}")).json
        assert (got["state"], got["result"]) == ("succeeded", [0, 10, 20])
        assert len(got["tasks"]) == 1
        assert got["tasks"][0]["counts"]["succeeded"] == 3
        page = (await world.get(f"/runs/{run}/tasks/one?limit=2")).json
        assert [(t["index"], t["label"], t["result"]) for t in page["items"]] == [(0, "<x>", 0), (1, "<y>", 10)]
        rest = (await world.get(f"/runs/{run}/tasks/one?limit=2&cursor={page['next_cursor']}")).json
        assert [t["index"] for t in rest["items"]] == [2]
        assert rest["next_cursor"] is None
        assert (await world.get(f"/runs/{run}/tasks/one/2")).json["label"] == "<z>"
        assert (await world.get(f"/runs/{run}/tasks/one/3")).status == 404
        assert (await world.get(f"/runs/{run}/tasks/one/x")).status == 400
        near = await world.get(f"/runs/{run}/tasks/on")
        assert near.status == 404
        assert "one" in near.json["detail"]


@run_async
async def test_waiting_answers_when_the_run_ends_and_when_time_is_over(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        soon = await world.get(f"/runs/{run}?wait=10ms")
        assert soon.json["state"] in {"queued", "running"}
        waiting = asyncio.ensure_future(world.get(f"/runs/{run}?wait=30s"))
        await asyncio.sleep(0)
        await world.settle(run)
        assert (await waiting).json["state"] == "succeeded"
        assert not world.node.waiters._waiting
        assert (await world.get(f"/runs/{run}?wait=soon")).status == 400


@run_async
async def test_following_as_text_ends_with_the_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        following = asyncio.ensure_future(world.get(f"/runs/{run}/logs?follow=true", headers={"accept": "text/plain"}))
        await asyncio.sleep(0)
        await world.settle(run, seal=seal(record(1, b"late\n")))
        assert (await following).body == b"late\n"


@run_async
async def test_following_as_json_answers_with_what_came(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        waiting = asyncio.ensure_future(world.get(f"/runs/{run}/logs?follow=true"))
        await asyncio.sleep(0)
        await world.settle(run, seal=seal(record(1, b"late\n")))
        page = (await waiting).json
        assert [i["text"] for i in page["items"]] == ["late\n"]
        if page["next_cursor"] is not None:  # the run was read before its end, the task after it
            page = (await world.get(f"/runs/{run}/logs?follow=true&after={page['next_cursor']}")).json
            assert page["items"] == []
        assert page["next_cursor"] is None


@run_async
async def test_cancel_is_accepted_once_and_a_conflict_after_the_end(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run = await submitted(world)
        accepted = await world.post(f"/runs/{run}/cancel", {"reason": "not needed"}, role=Role.operator)
        assert accepted.status == 202
        assert accepted.json["id"] == run
        got = (await world.get(f"/runs/{run}?wait=5s")).json
        assert (got["state"], got["reason"]) == ("canceled", "not needed")
        assert (await world.post(f"/runs/{run}/cancel", {})).status == 409
        assert (await world.post("/runs/999999/cancel", {})).status == 404
        assert (await world.post(f"/runs/{run}/cancel", {"reson": "x"})).status == 422


@run_async
async def test_explain_tells_what_is_waited_for(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run = await submitted(world, CHAIN)
        told = (await world.get(f"/runs/{run}/explain")).json
        assert told["decision"] == "waits for room"
        codes = {r["code"] for r in told["reasons"]}
        assert {"no_agent", "needs"} <= codes
        tasks = (await world.get(f"/runs/{run}/tasks")).json["items"]
        assert [t["waits_for"] for t in tasks] == [[], ["a"], ["b"]]
        await world.post(f"/runs/{run}/cancel", {})
        ended = (await world.get(f"/runs/{run}/explain")).json
        assert ended["decision"] == "canceled"


@run_async
async def test_events_tell_the_history_in_order(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        await world.settle(run)
        items = (await world.get(f"/runs/{run}/events")).json["items"]
        kinds = [i["kind"] for i in items]
        assert kinds[0] == "run.submitted"
        assert kinds[-1] == "run.ended"
        assert {"task.dispatched", "task.ended"} <= set(kinds)
        row = await world.node.store.reader.run(run)
        assert row is not None
        assert items[0]["actor"] == row.input.actor
        assert {i["actor"] for i in items[1:]} <= {row.input.actor, SYSTEM.actor}
        assert items[-1]["body"]["state"] == "succeeded"
        seen, cursor = [], ""
        while cursor is not None:
            page = (await world.get(f"/runs/{run}/events?limit=1&cursor={cursor}")).json
            seen += [i["kind"] for i in page["items"]]
            cursor = page["next_cursor"]
        assert seen == kinds


@run_async
async def test_artifacts_are_downloads_that_no_browser_runs(tmp_path: Path) -> None:
    from headrace.control.changes.named import Decided, Rows
    from headrace.store.rows import ArtifactRow

    async with World(tmp_path) as world:
        run = await submitted(world, CHAIN)
        digest, size = await world.node.store.blobs.put(b"<script>alert(1)</script>")
        rows = tuple(ArtifactRow(run, no, -1, "out/r.html", digest, size) for no in (0, 1))
        rows += (ArtifactRow(run, 0, -1, 'ü"x.csv', digest, size),)

        class Left(msgspec.Struct, frozen=True):
            def names(self) -> tuple[()]:
                return ()

            def digests(self) -> tuple[()]:
                return ()

            def decide(self, _rows: Rows, _now: int) -> Decided:
                return Decided(artifacts=rows)

        await world.node.ledger.change(Left(), SYSTEM)
        listed = (await world.get(f"/runs/{run}/artifacts")).json["items"]
        assert [(a["task"], a["path"]) for a in listed] == [("a", "out/r.html"), ("a", 'ü"x.csv'), ("b", "out/r.html")]
        assert (await world.get(f"/runs/{run}/artifacts/out/r.html")).status == 400
        for path in ("out/r.html?task=a", "a/out/r.html", "b/out/r.html"):
            got = await world.get(f"/runs/{run}/artifacts/{path}")
            assert got.status == 200
            assert got.body == b"<script>alert(1)</script>"
            assert got.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in got.headers["content-security-policy"]
            assert got.headers["content-length"] == str(size)
        first = (await world.get(f"/runs/{run}/artifacts?limit=2")).json
        rest = (await world.get(f"/runs/{run}/artifacts?limit=2&cursor={first['next_cursor']}")).json
        assert ([*first["items"], *rest["items"]], rest["next_cursor"]) == (listed, None)
        assert (await world.get(f"/runs/{run}/artifacts?cursor=x")).status == 400
        for accept in ("text/csv", "application/octet-stream", "image/png"):
            got = await world.get(f"/runs/{run}/artifacts/a/out/r.html", headers={"accept": accept})
            assert (got.status, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
        named = await world.get(f'/runs/{run}/artifacts/ü"x.csv')
        assert named.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC%22x.csv"
        for path in ("nothing", "../../etc/passwd", "out", "/etc/passwd"):
            assert (await world.get(f"/runs/{run}/artifacts/{path}")).status == 404, path


@run_async
async def test_a_run_that_is_not_there_is_404_everywhere(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for path in (
            "",
            "/tasks",
            "/tasks/a",
            "/tasks/a/0",
            "/logs",
            "/tasks/a/logs",
            "/artifacts",
            "/artifacts/x",
            "/events",
            "/explain",
        ):
            assert (await world.get(f"/runs/12345{path}")).status == 404, path


@run_async
async def test_agents_are_listed(tmp_path: Path) -> None:
    from headrace.control.changes.agents import AgentHello

    async with World(tmp_path) as world:
        await world.node.ledger.change(AgentHello("mill-1", "boot", 5, slots=4, labels={"os": "linux"}), SYSTEM)
        agent = (await world.get("/agents")).json["items"][0]
        assert (agent["id"], agent["name"], agent["state"], agent["slots"]) == (5, "mill-1", "away", 4)


@run_async
async def test_the_document_that_a_run_was_made_of_can_be_read(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        made = await world.post("/runs", {"job": {**CHAIN, "name": "once"}})
        got = await world.get(f"/runs/{made.json['id']}/definition")
        assert got.status == 200
        assert got.json["name"] == "once"
        assert [t["name"] for t in got.json["tasks"]] == ["a", "b", "c"]
        assert (await world.put("/jobs/once", got.json)).status == 201
        run = await submitted(world)
        await world.put("/jobs/hello", {**HELLO, "description": "another"})
        old = (await world.get(f"/runs/{run}/definition")).json
        assert old == HELLO | old
        assert "description" not in old
        assert (await world.get("/runs/999999/definition")).status == 404
        edn = await world.get(f"/runs/{run}/definition", headers={"accept": "application/edn"})
        assert edn.body.startswith(b"{:job/name")
