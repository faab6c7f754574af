"""Making runs: of jobs, definitions, commands, tasks; batches; parameters; idempotency keys."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from api_world import HELLO, World, run_async
from test_api_jobs import CODE, package, put_package

from headrace.core.work import Dispatch

SCHEMA = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "rows": {"type": "integer", "minimum": 1, "default": 10},
        "owner": {"type": "string"},
    },
    "required": ["day"],
    "additionalProperties": False,
}
REPORT = {"name": "report", "params": SCHEMA, "tasks": [{"name": "a", "command": ["echo", "${params.day}"]}]}


@run_async
async def test_a_run_of_a_saved_job_is_201_with_its_place(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", {**HELLO, "labels": {"team": "a", "kind": "x"}, "priority": 3})
        made = await world.post("/jobs/hello/runs", {"labels": {"kind": "y"}, "reason": "because"})
        assert made.status == 201
        run = made.json
        assert made.headers["location"] == f"/api/v1/runs/{run['id']}"
        assert (run["job"], run["version"], run["priority"]) == ("hello", 1, 3)
        assert run["labels"] == {"team": "a", "kind": "y"}
        read = (await world.get(f"/runs/{run['id']}")).json
        assert {k: read[k] for k in ("id", "job", "labels", "params", "created_at", "reason")} == {
            k: run[k] for k in ("id", "job", "labels", "params", "created_at", "reason")
        }
        assert (await world.post("/jobs/hello/runs", b"")).status == 201
        assert (await world.post("/jobs/nothing/runs", {})).status == 404


@run_async
async def test_parameters_are_checked_all_at_once_and_defaults_are_filled(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", REPORT)
        bad = await world.post("/jobs/report/runs", {"params": {"rows": 0, "owner": 5, "what": 1}})
        assert bad.status == 422
        assert bad.paths == {"params.day", "params.rows", "params.owner", "params.what"}
        good = await world.post("/jobs/report/runs", {"params": {"day": "2026-03-29"}})
        assert good.json["params"] == {"day": "2026-03-29", "rows": 10}
        assert (await world.get("/runs")).json["items"][0]["params"] == {"day": "2026-03-29", "rows": 10}


@run_async
async def test_problems_of_the_request_itself_are_told_at_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        bad = await world.post("/jobs/hello/runs", {"priority": 101, "labels": {"a": 1}, "parms": {}})
        assert bad.status == 422
        assert bad.paths == {"priority", "labels.a", "parms"}
        later = await world.post("/jobs/hello/runs", {"callback": "http://x"})
        assert (later.status, later.paths) == (422, {"callback"})
        assert "not available yet" in later.json["problems"][0]["message"]


@run_async
async def test_fields_of_later_versions_say_so(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        one = {"command": ["true"]}
        for body in (
            {**one, "resources": {"cpus": 1}},
            {**one, "secrets": {"KEY": "stripe"}},
            {"container": {"image": "x"}},
        ):
            answer = await world.post("/runs", body)
            field = next(name for name in body if name != "command")
            assert (answer.status, answer.paths) == (422, {field}), answer.body
            assert answer.json["problems"][0]["message"] == f"not available yet: {field}"
        saved = await world.post("/jobs", {**HELLO, "callback": "https://example.test"})
        assert (saved.status, saved.paths) == (422, {"callback"})
        assert saved.json["problems"][0]["message"].startswith("not available yet: callback")


@run_async
async def test_a_run_of_a_registered_task_takes_its_environment_and_where_it_runs(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await put_package(world, "reports", package(sales=CODE))
        body = {"env": {"A": "b"}, "agent": {"labels": {"os": "plan9"}}, "params": {"day": "x", "minimum": 2}}
        made = await world.post("/tasks/sales:clean/runs", body)
        assert made.status == 201, made.body
        row = await world.node.store.reader.run(made.json["id"])
        assert row is not None
        task = (await world.services.graphs.load(row.cell.graph)).definition.tasks[0]
        assert task.env == {"A": "b"}
        assert task.agent.labels == {"os": "plan9"}  # type: ignore[union-attr]  # it was given


@run_async
async def test_a_run_names_the_version_it_was_made_with(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        assert (await world.post("/jobs/hello/runs", {})).json["version"] == 1
        await world.put("/jobs/hello", {**HELLO, "description": "v2"})
        assert (await world.post("/jobs/hello/runs", {})).json["version"] == 2
        assert (await world.post("/jobs/hello/runs", {"version": 1})).json["version"] == 1
        assert (await world.post("/jobs/hello/runs", {"version": 9})).status == 404


@run_async
async def test_what_is_not_saved_can_be_run_and_saves_no_job(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        made = (await world.post("/runs", {"job": HELLO})).json
        assert (made["job"], made["version"]) == ("hello", None)
        command = (await world.post("/runs", {"command": ["/bin/echo", "${params.x}"], "params": {"x": 1}})).json
        assert (command["job"], command["version"]) == (None, None)
        assert (await world.get(f"/runs/{command['id']}/tasks")).json["items"][0]["name"] == "echo"
        script = (
            await world.post("/runs", {"script": "exit 3", "env": {"A": "b"}, "retries": 2, "timeout": "5s"})
        ).json
        assert (await world.get(f"/runs/{script['id']}/tasks/script")).status == 200
        assert (await world.get("/jobs")).json["items"] == []


@run_async
async def test_what_cannot_be_run_is_told(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for body in (
            {},
            {"command": ["x"], "script": "y"},
            {"command": []},
            {"container": {"image": "x"}},
            {"task": "os:system"},
        ):
            assert (await world.post("/runs", body)).status == 422, body
        bad = await world.post("/runs", {"job": {**HELLO, "tasks": [{"name": "a", "command": ["x"], "needs": ["b"]}]}})
        assert bad.status == 422
        assert all(p.startswith("job.tasks[0].needs") for p in bad.paths)
        assert (await world.post("/runs", {"job": "nothing"})).status == 404
        assert (await world.post("/tasks/os:system/runs", {})).status == 422
        assert (await world.get("/runs")).json["items"] == []


@run_async
async def test_a_task_is_run_with_its_arguments_as_they_are(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        arguments = {"day": "${params.minimum}", "minimum": 2}
        made = await world.post("/tasks/sales:clean/runs", {"params": arguments})
        assert made.status == 201
        assert made.json["params"] == arguments
        row = await world.node.store.reader.run(made.json["id"])
        assert row is not None
        definition = (await world.node.graphs.load(row.cell.graph)).definition
        assert definition.packages == {"reports": digest}
        assert definition.tasks[0].with_ == {"day": "${params.day}", "minimum": "${params.minimum}"}
        again = await world.post("/runs", {"task": "sales:clean", "params": {"day": "b", "minimum": 3}})
        other = await world.node.store.reader.run(again.json["id"])
        assert other is not None
        assert other.cell.graph == row.cell.graph


@run_async
async def test_a_batch_is_all_or_nothing_and_tells_every_problem(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", REPORT)
        good = {"job": "report", "params": {"day": "2026-01-01"}}
        bad = await world.post("/runs/batch", {"runs": [good, {"job": "report"}, {"job": "nothing"}, {"command": []}]})
        assert bad.status == 422
        assert (await world.post("/runs/batch", {"runs": [good, {"job": "report"}, {"job": "nothing"}]})).paths == {
            "runs[1].params.day",
            "runs[2]",
        }
        assert (await world.get("/runs")).json["items"] == []
        made = await world.post("/runs/batch", {"runs": [good] * 300})
        ids = made.json["ids"]
        assert made.status == 201
        assert ids == list(range(ids[0], ids[0] + 300))
        assert {r["id"] for r in (await world.get("/runs?limit=500")).json["items"]} == set(ids)
        assert (await world.post("/runs/batch", {"runs": []})).status == 422


@run_async
async def test_a_batch_is_bounded_in_runs_and_tasks(tmp_path: Path) -> None:
    wide = {"name": "wide", "tasks": [{"name": f"t{i}", "command": ["x"]} for i in range(100)]}
    async with World(tmp_path) as world:
        await world.post("/jobs", wide)
        await world.post("/jobs", HELLO)
        assert (await world.post("/runs/batch", {"runs": [{"job": "wide"}] * 501})).status == 413
        assert (await world.post("/runs/batch", {"runs": [{"job": "hello"}] * 10_001})).status == 413
        assert (await world.get("/runs")).json["items"] == []


@pytest.mark.parametrize("accept", ["application/json", "application/msgpack"])
@run_async
async def test_the_same_key_gets_the_first_answer_again(tmp_path: Path, accept: str) -> None:
    key = {"idempotency-key": "k-1", "accept": accept}
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        first = await world.post("/jobs/hello/runs", {"params": {"a": 1}}, headers=key)
        again = await world.post("/jobs/hello/runs", {"params": {"a": 1}}, headers=key)
        assert (again.status, again.body, again.headers["location"]) == (201, first.body, first.headers["location"])
        assert again.headers["idempotent-replay"] == "true"
        assert "idempotent-replay" not in first.headers
        assert len((await world.get("/runs")).json["items"]) == 1


@run_async
async def test_the_same_key_with_another_request_is_a_conflict(tmp_path: Path) -> None:
    key = {"idempotency-key": "k-1"}
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        await world.post("/jobs/hello/runs", {"params": {"a": 1}}, headers=key)
        assert (await world.post("/jobs/hello/runs", {"params": {"a": 2}}, headers=key)).status == 409
        assert (await world.post("/runs", {"job": "hello"}, headers=key)).status == 409
        assert len((await world.get("/runs")).json["items"]) == 1


@run_async
async def test_keys_of_different_callers_are_different_keys(tmp_path: Path) -> None:
    from headrace.control.auth import Role

    key = {"idempotency-key": "k-1"}
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        one = await world.post("/jobs/hello/runs", {}, headers=key)
        two = await world.post("/jobs/hello/runs", {}, headers=key, role=Role.operator)
        assert one.json["id"] != two.json["id"]


@run_async
async def test_a_refused_request_keeps_nothing_under_its_key(tmp_path: Path) -> None:
    key = {"idempotency-key": "k-1"}
    async with World(tmp_path) as world:
        assert (await world.post("/jobs/hello/runs", {}, headers=key)).status == 404
        await world.post("/jobs", HELLO)
        assert (await world.post("/jobs/hello/runs", {}, headers=key)).status == 201


@run_async
async def test_a_replay_is_answered_even_when_it_would_be_refused_now(tmp_path: Path) -> None:
    from headrace.control.changes.jobs import DeleteJob
    from headrace.model.changes import SYSTEM

    key = {"idempotency-key": "k-1"}
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        first = await world.post("/jobs/hello/runs", {}, headers=key)
        await world.node.ledger.change(DeleteJob("hello"), SYSTEM)
        world.services.jobs.forget("hello")
        assert (await world.post("/jobs/hello/runs", {})).status == 404
        assert (await world.post("/jobs/hello/runs", {}, headers=key)).body == first.body


@run_async
async def test_concurrent_requests_with_one_key_make_one_run(tmp_path: Path) -> None:
    key = {"idempotency-key": "k-1"}
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        answers = await asyncio.gather(*[world.post("/jobs/hello/runs", {}, headers=key) for _ in range(20)])
        assert {a.status for a in answers} == {201}
        assert len({a.json["id"] for a in answers}) == 1


@run_async
async def test_every_post_honours_the_key(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        job = [await world.post("/jobs", HELLO, headers={"idempotency-key": "a"}) for _ in range(2)]
        assert [a.status for a in job] == [201, 201]
        batch = [
            await world.post("/runs/batch", {"runs": [{"job": "hello"}] * 3}, headers={"idempotency-key": "b"})
            for _ in range(2)
        ]
        assert batch[0].body == batch[1].body
        run = batch[0].json["ids"][0]
        cancel = [await world.post(f"/runs/{run}/cancel", {}, headers={"idempotency-key": "c"}) for _ in range(2)]
        assert [a.status for a in cancel] == [202, 202]
        assert cancel[0].body == cancel[1].body
        command = [await world.post("/runs", {"command": ["x"]}, headers={"idempotency-key": "d"}) for _ in range(2)]
        assert command[0].body == command[1].body
        for key in ("", " ", "x" * 201, "ü"):
            answer = await world.post("/runs", {"command": ["x"]}, headers={"idempotency-key": key})
            assert answer.status == 400, key


HOSTILE = {
    "twice": ('{"params":{"a":1,"a":2}}', "stands here twice"),
    "deep": ('{"params":{"a":' + "[" * 100_000 + "]" * 100_000 + "}}", "nested deeper"),
    "a_little_too_deep": ('{"params":{"a":' + "[" * 99 + "]" * 99 + "}}", "nested deeper"),
    "nan": ('{"params":{"a":NaN}}', "NaN and Infinity are not JSON"),
    "huge_float": ('{"params":{"a":1e999}}', "too large for a double"),
    "digits": ('{"params":{"a":' + "9" * 10_000 + "}}", "a number of 10,000 digits"),
    "half_a_pair": ('{"params":{"a":"\\ud800"}}', 'bad "\\" code'),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/jobs/hello/runs", "/runs", "/runs/batch"])
@run_async
async def test_hostile_bodies_are_refused_with_a_sentence_and_its_place(tmp_path: Path, path: str, name: str) -> None:
    text, message = HOSTILE[name]
    if path == "/runs":
        text = '{"job":"hello",' + text[1:]
    if path == "/runs/batch":
        text = '{"runs":[{"job":"hello"},{"job":"hello",' + text[1:] + "]}"
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        refused = await world.post(path, text.encode(), headers={"content-type": "application/json"})
        assert refused.status == 400, refused.body[:300]
        problem = refused.json["problems"][0]
        assert message in problem["message"]
        assert problem["line"] == 1
        assert problem["column"] > 1
        assert "params" in problem["path"]
        assert (await world.get("/runs")).json["items"] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", msgspec.msgpack.Ext(5, b"x"), [[[]], 1]])
@run_async
async def test_messagepack_holds_what_json_has(tmp_path: Path, value: object) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        body = msgspec.msgpack.encode({"params": {"a": value}})
        answer = await world.post("/jobs/hello/runs", body, headers={"content-type": "application/msgpack"})
        assert answer.status == (201 if isinstance(value, list) else 400), answer.body
        deep = msgspec.msgpack.encode({"params": {}})[:-1] + b"\x91" * 5000 + b"\xc0"
        answer = await world.post("/jobs/hello/runs", deep, headers={"content-type": "application/msgpack"})
        assert answer.status == 400, answer.body


@run_async
async def test_problems_of_a_run_come_with_line_and_column(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        body = b'{\n "comand": ["true"],\n "priority": "high"\n}'
        answer = await world.post("/runs", body, headers={"content-type": "application/json"})
        assert [(p["path"], p["line"], p["column"]) for p in answer.json["problems"]] == [
            ("comand", 2, 2),
            ("priority", 3, 2),
        ]


@run_async
async def test_a_test_run_has_the_graph_of_its_job_and_none_of_its_work(tmp_path: Path) -> None:
    job = {
        "name": "real",
        "concurrency": {"max": 1, "when_full": "refuse"},
        "tasks": [
            {"name": "a", "command": ["rm", "-rf", "${params.what}"]},
            {"name": "b", "needs": ["a"], "command": ["b"]},
        ],
    }
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        await world.put("/jobs/real", job)
        orders = []
        world.node.ledger._on_commands = orders.extend  # type: ignore[assignment]
        for test, argv in (
            (True, ("true",)),
            ("noop", ("true",)),
            ("print", ("echo", "would run:", "rm", "-rf", "all")),
        ):
            body = {"params": {"what": "all"}, "test": test}
            made = (await world.post("/jobs/real/runs", body)).json
            assert (made["job"], made["version"], made["test"]) == ("real", 1, "print" if test == "print" else "noop")
            order = next(o for o in orders if isinstance(o, Dispatch) and o.key[0] == made["id"])
            assert order.spec.argv == argv
            assert (await world.get(f"/runs/{made['id']}")).json["test"] == made["test"]
            assert (await world.get("/jobs/real/statistics")).json["runs"] == 0
        assert (await world.post("/jobs/real/runs", {"test": "maybe"})).paths == {"test"}
