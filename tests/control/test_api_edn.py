"""EDN on every endpoint: requests and answers, problems too, the same things as in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_world import HELLO, Answered, World, run_async

from headrace.codec.edn import Keyword, loads, read_record
from headrace.control.api.routes import all_routes
from headrace.control.api.table import EDN, JSON, MSGPACK, Route
from headrace.model.views import RunPage, RunView

K = Keyword
OFFERS_RECORDS = [r for r in all_routes() if JSON in r.media]
TAKES_RECORDS = [r for r in all_routes() if JSON in r.accepts]
IN_EDN = {"content-type": EDN, "accept": EDN}
JOB = b"""
#:job{:name "hello"
      :params {"type" "object" "properties" {"day" {"type" "string" "format" "date"}}}
      :on_failure :stop
      :tasks [#:task{:name "say" :command ["echo" "${params.day}"] :retries {:max 3 :delay "1ms"}}
              #_ #:task{:name "later"}
              #:task{:name "tell" :script "true" :needs [{:task "say" :state [:failed :canceled]}]}]}
"""


def read(answer: Answered) -> Any:
    assert answer.headers["content-type"] == EDN, answer.body
    return loads(answer.body)


def names(routes: list[Route]) -> list[str]:
    return [f"{r.method} {r.path}" for r in routes]


@pytest.mark.parametrize("route", OFFERS_RECORDS, ids=names(OFFERS_RECORDS))
def test_whoever_answers_json_answers_edn_and_messagepack(route: Route) -> None:
    assert {JSON, EDN, MSGPACK} <= set(route.media)


@pytest.mark.parametrize("route", TAKES_RECORDS, ids=names(TAKES_RECORDS))
def test_whoever_takes_json_takes_edn_and_messagepack(route: Route) -> None:
    assert {JSON, EDN, MSGPACK} <= set(route.accepts)


@run_async
async def test_a_job_and_its_run_are_records_with_keys_of_their_own(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        saved = read(await world.post("/jobs", JOB, headers=IN_EDN))
        assert saved[K("job/name")] == "hello"
        assert saved[K("job/on_failure")] == K("stop")
        assert saved[K("job/params")]["type"] == "object"
        task = saved[K("job/tasks")][0]
        assert task[K("task/command")] == ["echo", "${params.day}"]
        assert task[K("task/retries")] == {K("max"): 3, K("delay"): "1ms"}
        assert saved[K("job/tasks")][1][K("task/needs")] == [
            {K("task"): "say", K("state"): [K("failed"), K("canceled")]}
        ]
        body = b'{:run/params {"day" "2026-03-29"} :run/labels {"team" "sales"} :priority 7}'
        run = read(await world.post("/jobs/hello/runs", body, headers=IN_EDN))
        assert run[K("run/state")] == K("queued")
        assert run[K("run/params")] == {"day": "2026-03-29"}
        assert run[K("run/labels")] == {"team": "sales"}
        assert run[K("run/id")] == 1
        as_json = (await world.get("/runs/1")).json
        assert as_json["priority"] == 7
        instant = read(await world.get("/runs/1", headers=IN_EDN))[K("run/created_at")]
        assert instant.isoformat().replace("+00:00", "Z") == as_json["created_at"]


@run_async
async def test_what_is_saved_in_edn_is_the_same_content_in_json(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", JOB, headers=IN_EDN)
        shown = await world.get("/jobs/hello", headers={"accept": EDN})
        again = await world.put("/jobs/hello", shown.body, headers={"content-type": EDN})
        assert (again.status, again.json["version"]) == (200, 1)
        as_json = await world.get("/jobs/hello")
        again = await world.put("/jobs/hello", as_json.body, headers={"content-type": JSON})
        assert (again.status, again.json["version"]) == (200, 1)
        patched = await world.call(
            "PATCH", "/api/v1/jobs/hello", b'{:job/description "new"}', headers={"content-type": EDN}
        )
        assert patched.json["description"] == "new"


@run_async
async def test_edn_and_json_hold_the_same(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        await world.post("/jobs/hello/runs", {"params": {"a": [1, None, 2.5, "ü", {"B c": True}]}})
        one = await world.get("/runs/1", headers={"accept": EDN})
        assert read_record(one.body, RunView) == msgspec.json.decode((await world.get("/runs/1")).body, type=RunView)
        page = await world.get("/runs", headers={"accept": EDN})
        assert read_record(page.body, RunPage) == msgspec.json.decode((await world.get("/runs")).body, type=RunPage)
        for path in (
            "/jobs",
            "/runs/1/tasks",
            "/runs/1/events",
            "/runs/1/explain",
            "/runs/1/logs",
            "/version",
            "/packages",
        ):
            read(await world.get(path, headers={"accept": EDN}))
        for path in ("/api/openapi.json", "/api/schemas/job.json", "/health/live"):
            read(await world.call("GET", path, headers={"accept": EDN}))
        (task,) = read(await world.get("/runs/1/tasks", headers={"accept": EDN}))[K("items")]
        assert (task[K("task/name")], task[K("task/state")]) == ("say", K("ready"))
        (job,) = read(await world.get("/jobs", headers={"accept": EDN}))[K("items")]
        assert job[K("job/tasks")][0][K("task/name")] == "say"


@run_async
async def test_a_problem_comes_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for answer, status in (
            (await world.get("/runs/9", headers={"accept": EDN}), 404),
            (await world.get("/runs", headers={"accept": EDN}, role=None), 401),
            (await world.post("/jobs", b"{:job/name 1}", headers=IN_EDN), 422),
            (await world.post("/jobs", b"{:job/name", headers=IN_EDN), 400),
        ):
            assert (answer.status, read(answer)[K("status")]) == (status, status)
        packed = await world.get("/runs/9", headers={"accept": MSGPACK})
        assert msgspec.msgpack.decode(packed.body)["status"] == 404
        assert (await world.get("/runs/9", headers={"accept": "image/png"})).json["status"] == 406


@run_async
async def test_what_is_wrong_in_edn_has_its_path_and_place(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        body = b"{:run/params {}\n :run/prority 1\n :task/labels {} :run/reason :why}"
        problems = read(await world.post("/jobs/hello/runs", body, headers=IN_EDN))[K("problems")]
        found = {p[K("path")]: (p.get(K("line")), p[K("message")]) for p in problems}
        assert found["prority"][0] == 2
        assert "did you mean 'priority'?" in found["prority"][1]
        assert "unknown field" in found['["task/labels"]'][1]
        assert "not the keyword ':why'" in found["reason"][1]


@run_async
async def test_the_first_answer_comes_again_in_the_format_of_today(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        key = {"idempotency-key": "k", "content-type": EDN}
        first = await world.post("/jobs/hello/runs", b"{:run/priority 3}", headers=key)
        again = await world.post("/jobs/hello/runs", b"{:run/priority 3}", headers={**key, "accept": EDN})
        assert again.headers["idempotent-replay"] == "true"
        assert read(again)[K("run/id")] == first.json["id"]


@run_async
async def test_a_key_that_stands_twice_is_refused_in_every_format(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        for body, media in (
            (b'{"priority":1,"priority":2}', JSON),
            (b'{"params":{"a":{"b":1,"b":2}}}', JSON),
            (b"{:run/priority 1 :run/priority 2}", EDN),
            (b"{:run/priority 1 :priority 2}", EDN),
            (b'{:run/params {"a" 1 :a 2}}', EDN),
            (b"\x82\xa8priority\x01\xa8priority\x02", MSGPACK),
            (b"\x82\xa8priority\x01\xd9\x08priority\x02", MSGPACK),
            (b"\x81\xa6params\x91\x82\xa1b\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa1b\x02", MSGPACK),
            (b"\x81\xa6params\x81\xa1a\x82\xa1b\xca\x3f\x80\x00\x00\xa1b\xca\x3f\x80\x00\x00", MSGPACK),
        ):
            answer = await world.post("/jobs/hello/runs", body, headers={"content-type": media})
            assert answer.status == 400, body
            assert "twice" in answer.json["detail"] or "duplicate" in answer.json["detail"], answer.body
        twice = await world.post("/jobs", b"name: a\nname: b\ntasks: []", headers={"content-type": "application/yaml"})
        assert twice.status == 400
