"""Jobs are changed in part, deleted and brought back; every version stays and says who made it, when and why."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from api_world import HELLO, World, run_async
from test_api_jobs import CODE, PYTHON, package, put_package

from headrace.codec.documents import Document, definition_from
from headrace.codec.positions import Positions
from headrace.control.changes.jobs import PutJob
from headrace.core.check import check
from headrace.model.changes import SYSTEM

PATCH = {"content-type": "application/merge-patch+json"}
TWO: dict[str, Any] = {
    "name": "two",
    "description": "first",
    "labels": {"team": "a", "kind": "x"},
    "tasks": [{"name": "one", "command": ["true"], "timeout": "1m"}],
}


async def patch(world: World, path: str, body: Any, **more: Any) -> Any:
    return await world.call("PATCH", "/api/v1" + path, body, **more)


async def delete(world: World, path: str, **more: Any) -> Any:
    return await world.call("DELETE", "/api/v1" + path, **more)


@run_async
async def test_a_merge_patch_changes_what_it_names_and_removes_what_is_null(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/two", TWO)
        answer = await patch(
            world, "/jobs/two", {"description": None, "labels": {"kind": None, "x": "y"}}, headers=PATCH
        )
        assert (answer.status, answer.json["version"]) == (200, 2)
        assert "description" not in answer.json
        assert answer.json["labels"] == {"team": "a", "x": "y"}
        assert answer.json["tasks"] == TWO["tasks"]
        assert (await world.get("/jobs/two")).json == answer.json
        nothing = await patch(world, "/jobs/two", {"labels": {"kind": None}})
        assert (nothing.status, nothing.json["version"]) == (200, 2)
        assert (await patch(world, "/jobs/none", {})).status == 404


@run_async
async def test_what_a_patch_makes_is_checked_whole(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/two", TWO)
        bad = await patch(world, "/jobs/two", {"tasks": None, "on_failure": "maybe", "nme": 1})
        assert bad.status == 422
        assert {"tasks", "on_failure", "nme"} <= {p["path"].strip(".") or "tasks" for p in bad.json["problems"]}
        renamed = await patch(world, "/jobs/two", {"name": "three"})
        assert (renamed.status, renamed.paths) == (422, {"name"})
        assert (await patch(world, "/jobs/two", [1])).status == 400
        assert (await world.get("/jobs/two")).json["version"] == 1


@run_async
async def test_a_patch_may_repeat_what_the_server_wrote_and_say_nothing_else_of_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await world.put("/jobs/two", TWO)).json
        whole = await patch(world, "/jobs/two", {**first, "description": "second"})
        assert (whole.status, whole.json["version"], whole.json["description"]) == (200, 2, "second")
        for said in ({"version": 1}, {"version": 3}, {"version": None}, {"version": "2"}, {"waits_for": ["x"]}):
            refused = await patch(world, "/jobs/two", {**said, "description": "third"})
            assert (refused.status, refused.paths) == (422, set(said)), said
        assert "If-Match" in (await patch(world, "/jobs/two", {"version": 1})).json["problems"][0]["message"]
        assert (await patch(world, "/jobs/two", {**first, "description": "third"})).paths == {"version", "updated_at"}
        assert (await world.get("/jobs/two")).json == whole.json


@run_async
async def test_patches_at_once_are_all_made(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/two", TWO)
        answers = await asyncio.gather(*(patch(world, "/jobs/two", {"labels": {f"n{i}": "1"}}) for i in range(4)))
        assert {a.status for a in answers} <= {200, 503}
        made = [i for i, a in enumerate(answers) if a.status == 200]
        assert len(made) >= 2
        labels = (await world.get("/jobs/two")).json["labels"]
        assert {f"n{i}" for i in made} == {name for name in labels if name.startswith("n")}


@run_async
async def test_an_expected_version_that_is_not_the_newest_changes_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/two", TWO)
        read = await world.get("/jobs/two")
        assert read.headers["etag"] == '"1"'
        await world.put("/jobs/two", {**TWO, "description": "second"})
        old = {"if-match": read.headers["etag"]}
        assert (await world.put("/jobs/two", {**TWO, "description": "third"}, headers=old)).status == 412
        assert (await patch(world, "/jobs/two", {"description": "third"}, headers=old)).status == 412
        assert (await delete(world, "/jobs/two", headers=old)).status == 412
        assert (await world.post("/jobs/two/restore", {"version": 1}, headers=old)).status == 412
        assert (await patch(world, "/jobs/two", {}, headers={"if-match": "soon"})).status == 400
        assert (await world.get("/jobs/two")).json["description"] == "second"
        new = {"if-match": '"2"'}
        assert (await world.put("/jobs/two", {**TWO, "description": "third"}, headers=new)).json["version"] == 3


@run_async
async def test_a_deleted_job_takes_no_runs_and_comes_back_whole(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        gone = await delete(world, "/jobs/hello?reason=tidy")
        assert (gone.status, gone.body) == (204, b"")
        for answer in (
            await world.get("/jobs/hello"),
            await world.post("/jobs/hello/runs", {}),
            await world.post("/jobs/hello/runs", {"version": 1}),
            await patch(world, "/jobs/hello", {}),
            await delete(world, "/jobs/hello"),
        ):
            assert answer.status == 404, answer.body
            assert "restore" in answer.json["detail"]
        assert (await world.get(f"/runs/{run}")).json["state"] == "queued"
        assert (await world.get("/jobs")).json["items"] == []
        (listed,) = (await world.get("/jobs?deleted=true")).json["items"]
        assert (listed["name"], bool(listed["deleted_at"])) == ("hello", True)
        assert (await world.get("/jobs/hello?version=1")).json["tasks"] == HELLO["tasks"]
        back = await world.post("/jobs/hello/restore")
        assert (back.status, back.json["version"]) == (200, 3)
        assert (await world.get("/jobs/hello")).json == back.json
        assert (await world.post("/jobs/hello/runs", {})).status == 201
        assert (await world.post("/jobs/hello/restore")).json["version"] == 3
        assert (await world.get("/jobs?deleted=true")).json["items"] == []
        assert (await delete(world, "/jobs/never")).status == 404
        assert (await world.post("/jobs/never/restore")).status == 404


@run_async
async def test_the_name_of_a_deleted_job_is_free(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        await delete(world, "/jobs/hello")
        new = await world.post("/jobs", {**HELLO, "description": "another"})
        assert (new.status, new.json["version"]) == (201, 3)
        assert (await world.get("/jobs/hello?version=1")).json["version"] == 1


@run_async
async def test_versions_say_who_when_and_why_newest_first_in_pages(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello?reason=begin", HELLO)
        await patch(world, "/jobs/hello?reason=words", {"description": "b"})
        await delete(world, "/jobs/hello")
        await world.post("/jobs/hello/restore", {"reason": "needed"})
        whole = (await world.get("/jobs/hello/versions")).json
        assert [v["version"] for v in whole["items"]] == [4, 3, 2, 1]
        assert [v["change"] for v in whole["items"]] == ["restored", "deleted", "saved", "saved"]
        assert [v["reason"] for v in whole["items"]] == ["needed", None, "words", "begin"]
        assert {v["source"] for v in whole["items"]} == {"api"}
        assert all(v["actor"] for v in whole["items"])
        assert whole["next_cursor"] is None
        page, found, pages = {"next_cursor": ""}, [], 0
        while page["next_cursor"] is not None:
            cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
            page = (await world.get(f"/jobs/hello/versions?limit=3{cursor}")).json
            found += page["items"]
            pages += 1
        assert (found, pages) == (whole["items"], 2)
        assert (await world.get("/jobs/other/versions")).status == 404


@run_async
async def test_a_diff_tells_what_two_versions_differ_in(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/two", TWO)
        await patch(world, "/jobs/two", {"description": "second"})
        tasks = [{"name": "zero", "command": ["true"]}, {**TWO["tasks"][0], "timeout": "2m"}]
        await patch(world, "/jobs/two", {"tasks": tasks})
        newest = (await world.get("/jobs/two/diff")).json
        assert (newest["before"], newest["after"]) == (2, 3)
        assert newest["differences"] == [
            {"path": "tasks[one].timeout", "change": "changed", "before": "1m", "after": "2m"},
            {"path": "tasks[zero]", "change": "added", "after": tasks[0]},
        ]
        whole = (await world.get("/jobs/two/diff?from=1&to=3")).json["differences"]
        assert [d["path"] for d in whole] == ["description", "tasks[one].timeout", "tasks[zero]"]
        assert (await world.get("/jobs/two/diff?from=2&to=2")).json["differences"] == []
        assert (await world.get("/jobs/two/diff?from=9")).status == 404


@run_async
async def test_an_older_version_comes_back_with_the_code_that_it_ran(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        await world.put("/jobs/report", PYTHON)
        await put_package(world, "reports", package(sales=CODE + b"# v2\n"))
        await world.put("/jobs/report", PYTHON)
        back = (await world.post("/jobs/report/restore", {"version": 1})).json
        assert (back["version"], back["packages"]) == (3, {"reports": first})
        again = await world.post("/jobs/report/restore", {"version": 1})
        assert again.json["version"] == 3
        assert (await world.post("/jobs/report/restore", {"version": 9})).status == 404


@run_async
async def test_a_job_may_be_saved_before_its_tasks_exist_and_waits_for_them_by_name(tmp_path: Path) -> None:
    named = {**PYTHON, "name": "named", "package": "other"}
    async with World(tmp_path) as world:
        assert (await world.put("/jobs/report", PYTHON)).status == 422
        saved = await world.put("/jobs/report?allow_missing=true", PYTHON)
        assert (saved.status, saved.json["waits_for"]) == (201, ["sales:clean"])
        assert (await world.put("/jobs/report?allow_missing=true", PYTHON)).json["version"] == 1
        broken = {**PYTHON, "tasks": [*PYTHON["tasks"], {"name": "b", "comand": ["x"]}]}
        assert (await world.put("/jobs/report?allow_missing=true", broken)).status == 422
        assert (await world.put("/jobs/named?allow_missing=true", named)).json["waits_for"] == [
            "sales:clean (package other)"
        ]
        refused = await world.post("/jobs/report/runs", {})
        assert refused.status == 409
        assert "sales:clean" in refused.json["detail"]
        await put_package(world, "else", package(elsewhere=CODE.replace(b"clean", b"other")))
        assert (await world.get("/jobs/report")).json["waits_for"] == ["sales:clean"]
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        ready = (await world.get("/jobs/report")).json
        assert (ready["version"], "waits_for" in ready, ready["packages"]) == (2, False, {"reports": digest})
        assert (await world.post("/jobs/report/runs", {})).status == 201
        newest = (await world.get("/jobs/report/versions")).json["items"][0]
        assert (newest["actor"], "waited for" in newest["reason"]) == ("system", True)
        assert (await world.get("/jobs/named")).json["waits_for"] == ["sales:clean (package other)"]


@run_async
async def test_a_submit_finds_out_that_a_waiting_job_need_not_wait_any_more(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await put_package(world, "reports", package(sales=CODE))
        services = world.services

        definition = definition_from(Document(PYTHON, Positions()), check)
        document = await services.ledger.document(definition)
        await services.ledger.change(PutJob(definition, document, missing=("sales:clean",)), SYSTEM)
        assert (await world.get("/jobs/report")).json["waits_for"] == ["sales:clean"]
        assert (await world.post("/jobs/report/runs", {})).json["version"] == 2


@run_async
async def test_who_saves_a_job_before_its_tasks_is_told_the_way(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        refused = await world.put("/jobs/report", PYTHON)
        assert refused.status == 422
        (told,) = [p["message"] for p in refused.json["problems"]]
        assert "no registered package" in told
        assert told.endswith("allow_missing=true")


@run_async
async def test_versions_of_a_package_are_told_of_an_instant(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await put_package(world, "reports", package(sales=CODE))).json
        second = (await put_package(world, "reports", package(sales=CODE + b"\n# 2\n"))).json
        then = first["created_at"]
        page = (await world.get(f"/packages/reports/versions?as_of={then}")).json
        assert [item["digest"] for item in page["items"]] == [first["digest"]]
        assert (await world.get(f"/packages/reports/{first['digest']}?as_of={then}")).status == 200
        assert (await world.get(f"/packages/reports/{second['digest']}?as_of={then}")).status == 404
