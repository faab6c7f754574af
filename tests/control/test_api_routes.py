"""What holds for every route: credentials, roles, formats, bounds, problem documents, the description of it all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from api_world import HELLO, World, asgi, run_async

from headrace.control.api.openapi import openapi
from headrace.control.api.router import Router
from headrace.control.api.routes import all_routes
from headrace.control.api.table import MSGPACK
from headrace.control.auth import Role
from headrace.model.views import ProblemView

ROUTES = all_routes()


def is_problem(answer: Any) -> bool:
    view = msgspec.json.decode(answer.body, type=ProblemView)
    return answer.headers["content-type"] == "application/problem+json" and view.status == answer.status


def test_two_routes_at_one_place_fail_the_build() -> None:
    with pytest.raises(ValueError, match="twice"):
        Router([ROUTES[0], ROUTES[0]])


def test_every_operation_has_a_name_of_its_own() -> None:
    assert len({r.operation for r in ROUTES}) == len(ROUTES)


@run_async
async def test_operators_run_saved_jobs_but_bring_no_commands(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        assert (await world.post("/jobs/hello/runs", {}, role=Role.operator)).status == 201
        assert (await world.post("/runs", {"job": "hello"}, role=Role.operator)).status == 201
        for body in ({"command": ["true"]}, {"script": "true"}, {"job": HELLO}):
            assert (await world.post("/runs", body, role=Role.operator)).status == 403
            batch = await world.post("/runs/batch", {"runs": [{"job": "hello"}, body]}, role=Role.operator)
            assert batch.status == 403
        assert (await world.post("/jobs", HELLO, role=Role.operator)).status == 403


@run_async
async def test_unknown_paths_and_methods_are_problems(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for path in (
            "/",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v1/nothing",
            "/api/v1/runs/1/nothing",
            "/api/v1/jobs//runs",
        ):
            answer = await world.call("GET", path)
            assert answer.status == 404, path
            assert is_problem(answer)
        answer = await world.call("DELETE", "/api/v1/runs")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, POST"
        assert is_problem(answer)
        assert (await world.call("TRACE", "/api/v1/runs")).status == 405


@run_async
async def test_head_is_get_without_a_body(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        got, head = await world.get("/version"), await world.call("HEAD", "/api/v1/version")
        assert head.status == 200
        assert head.body == b""
        assert head.headers["content-length"] == got.headers["content-length"]


@run_async
async def test_msgpack_and_json_hold_the_same(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        await world.post("/jobs/hello/runs", {"params": {"a": [1, None, 2.5, "ü"]}})
        for path in (
            "/jobs/hello",
            "/jobs",
            "/runs/1",
            "/runs",
            "/runs/1/tasks",
            "/runs/1/explain",
            "/runs/1/events",
            "/version",
        ):
            as_json = await world.get(path)
            for accept in (
                "application/msgpack",
                "application/x-msgpack",
                "application/edn;q=0.4, application/msgpack;q=0.5",
            ):
                packed = await world.get(path, headers={"accept": accept})
                assert packed.headers["content-type"] == MSGPACK
                assert msgspec.msgpack.decode(packed.body) == as_json.json
        body = msgspec.msgpack.encode({"params": {"a": 1}})
        sent = await world.post("/jobs/hello/runs", body, headers={"content-type": "application/msgpack"})
        assert sent.status == 201
        assert sent.json["params"] == {"a": 1}


@run_async
async def test_formats_that_are_not_spoken_are_406_and_415(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.get("/runs", headers={"accept": "image/png"})).status == 406
        assert (await world.get("/runs", headers={"accept": "application/json;q=0"})).status == 406
        assert (await world.get("/runs", headers={"accept": "text/html, */*;q=0.1"})).status == 200
        for kind in ("image/png", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"):
            assert (await world.post("/runs", b"{}", headers={"content-type": kind})).status == 415
        assert (
            await world.post("/jobs/hello/runs", b"a: 1", headers={"content-type": "application/yaml"})
        ).status == 415


@run_async
async def test_malformed_bodies_are_400(tmp_path: Path) -> None:
    deep = b'{"params":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        for body in (b"{", b"[1,", b"\xff\xfe", b'{"params": NaN}', deep, b'"' + b"\\ud800" * 3, b"{} {}"):
            for path in ("/jobs/hello/runs", "/runs", "/jobs"):
                answer = await world.post(path, body)
                assert answer.status == 400, (path, body[:20], answer.body)
                assert is_problem(answer)
        packed = await world.post("/runs", b"\xc1", headers={"content-type": MSGPACK})
        assert packed.status == 400


@run_async
async def test_bodies_beyond_the_bound_are_413_whether_announced_or_not(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        announced = await world.post("/jobs", b"{}", headers={"content-length": str(4 * 1024 * 1024 + 1)})
        assert announced.status == 413
        big = b'{"x": "' + b"a" * (4 * 1024 * 1024) + b'"}'
        assert (await world.post("/jobs", big)).status == 413
        headers = {"host": "localhost", "authorization": f"Bearer {world.tokens[Role.admin]}"}
        chunked = await asgi(world.app, "POST", "/api/v1/jobs", "", big, headers, chunk=65_536)
        assert chunked.status == 413
        assert is_problem(chunked)


@run_async
async def test_long_addresses_and_headers_are_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.get("/runs/" + "1" * 5000)).status == 414
        assert (await world.get("/runs?q=" + "a" * 20_000)).status == 414
        assert (await world.get("/runs", headers={"x-a": "a" * 70_000})).status == 431
        assert (await world.get("/runs", headers={f"x-{i}": "a" for i in range(120)})).status == 431


@run_async
async def test_only_our_own_names_are_good_hosts(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8420", "[::1]:8420", "[::1]"):
            assert (await world.get("/version", headers={"host": host})).status == 200, host
        for host in ("evil.example", "localhost.evil.example", "localhost:1.evil.example", "", "127.0.0.1@evil", "::1"):
            answer = await world.get("/version", headers={"host": host})
            assert answer.status == 421, host
            assert is_problem(answer)
        assert (await world.call("GET", "/health/live", headers={"host": "evil.example"})).status == 421
        world.serve(hosts=("mill.example",))
        assert (await world.get("/version", headers={"host": "mill.example:443"})).status == 200


@run_async
async def test_unsafe_methods_from_other_peoples_pages_are_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for headers in (
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"origin": "http://localhost:9999"},
        ):
            assert (await world.post("/jobs", HELLO, headers=headers)).status == 403, headers
            assert (await world.call("DELETE", "/api/v1/jobs/x", headers=headers)).status == 403
        for headers in (
            {"origin": "http://localhost:8420"},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
        ):
            assert (await world.post("/jobs", HELLO, headers=headers)).status in {200, 201}
        assert (await world.get("/runs", headers={"sec-fetch-site": "cross-site"})).status == 200


@run_async
async def test_answers_carry_the_safe_headers(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for answer in (await world.get("/runs"), await world.get("/nothing"), await world.get("/runs", role=None)):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "access-control-allow-origin" not in answer.headers


@run_async
async def test_unknown_and_wrong_query_parameters_are_400(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for query in (
            "token=hr_x", "limit=0", "limit=501", "limit=x", "limit=1&limit=2", "state=flying", "label=x", "since=soon",
            "cursor=%00", "cursor=AAAA", "sort=size", "limit=" + "9" * 30,
        ):  # fmt: skip
            answer = await world.get(f"/runs?{query}")
            assert answer.status == 400, query
            assert answer.json["problems"][0]["path"].startswith("query."), query
        for run in ("x", "-1", "1.5", "9" * 17, str(2**53), "٣"):
            assert (await world.get(f"/runs/{run}")).status == 400, run


@run_async
async def test_what_nobody_foresaw_is_a_500_that_tells_no_secret(tmp_path: Path, caplog: Any) -> None:
    async with World(tmp_path) as world:

        async def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("password=hunter2")

        world.services.reader.runs_page = broken  # type: ignore[method-assign,assignment]
        answer = await world.get("/runs")
        assert answer.status == 500
        assert is_problem(answer)
        assert b"hunter2" not in answer.body
        assert "hunter2" in caplog.text


@run_async
async def test_health_says_what_keeps_it_from_making_progress(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.call("GET", "/health/ready", role=None)).status == 200
        world.serve(ready=lambda: ["the disk is full"])
        answer = await world.call("GET", "/health/ready", role=None)
        assert answer.status == 503
        assert "the disk is full" in answer.json["detail"]
        assert answer.headers["retry-after"]


@run_async
async def test_the_description_is_served_and_names_every_route(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        served = (await world.call("GET", "/api/openapi.json")).json
        assert served["openapi"] == "3.1.0"
        count = sum(len(p) for p in served["paths"].values())
        assert count == len(ROUTES)
        schema = (await world.call("GET", "/api/schemas/job.json")).json
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(HELLO, schema)
        for noun in ("schedule", "calendar", "subscription", "config"):
            jsonschema.Draft202012Validator.check_schema((await world.call("GET", f"/api/schemas/{noun}.json")).json)


def test_the_description_is_whole_and_every_schema_in_it_is_good() -> None:
    document = openapi(ROUTES)
    names = document["components"]["schemas"]
    text = msgspec.json.encode(document).decode()
    refs = {piece.split('"')[0] for piece in text.split('"$ref":"')[1:]}
    assert refs
    assert all(ref.removeprefix("#/components/schemas/") in names for ref in refs)
    for name, schema in names.items():
        jsonschema.Draft202012Validator.check_schema(schema), name
    for path, operations in document["paths"].items():
        places = set(path.replace("}", "{").split("{")[1::2])
        for operation in operations.values():
            assert {p["name"] for p in operation["parameters"] if p["in"] == "path"} == places
            assert all(status.isdigit() for status in operation["responses"])


@run_async
async def test_the_page_for_people_shows_every_call_and_loads_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        answer = await world.call("GET", "/api/docs", headers={"accept": "text/html,*/*;q=0.8"})
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = answer.body.decode()
        for route in ROUTES:
            assert f'id="{route.operation}"' in page
        anchors, links = set(re.findall(r'id="([^"]+)"', page)), set(re.findall(r'href="#([^"]+)"', page))
        assert links <= anchors
        assert not re.search(r"<(script|img|link|iframe)|src=|https?://", page)


def test_fields_of_records_say_what_they_mean() -> None:
    schemas = openapi(ROUTES)["components"]["schemas"]
    assert schemas["Task"]["properties"]["command"]["description"].startswith("A program and its arguments")
    assert schemas["Task"]["properties"]["with"]["description"] == "Arguments of a ``python`` task, by name."


def test_bodies_and_pages_are_described_as_they_are() -> None:
    document = openapi(ROUTES)
    paths, schemas = document["paths"], document["components"]["schemas"]

    def body(path: str, method: str) -> Any:
        return paths[f"/api/v1{path}"][method]["requestBody"]["content"]["application/json"]["schema"]

    def answer(path: str) -> Any:
        return paths[f"/api/v1{path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    assert body("/jobs", "post")["$ref"].endswith("/JobDefinition")
    assert body("/import", "post")["$ref"].endswith("/ExportView")
    assert "required" not in body("/jobs/{name}", "patch")
    assert body("/jobs/{name}", "patch")["type"] == "object"
    ends = [one["$ref"].rpartition("/")[2] for one in answer("/runs/{id}/tasks/{task}")["anyOf"]]
    assert ends == ["TaskView", "TaskPage"]
    pages = {
        "/limits": "LimitView", "/packages": "PackageView", "/tasks": "TaskName", "/agents": "AgentView",
        "/backups": "BackupView", "/runs/{id}/artifacts": "ArtifactView", "/runs/{id}/tasks": "TaskView",
        "/packages/{name}/versions": "PackageView", "/runs/{id}/events": "EventView",
    }  # fmt: skip
    for path, item in pages.items():
        page = schemas[answer(path)["$ref"].rpartition("/")[2]]
        assert page["properties"]["items"]["items"]["$ref"].endswith(f"/{item}"), path
    headers = {p["name"] for p in paths["/api/v1/jobs/{name}"]["patch"]["parameters"] if p["in"] == "header"}
    assert headers == {"If-Match"}
