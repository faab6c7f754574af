"""Saving, checking and reading jobs; registering packages and pinning their code."""

from __future__ import annotations

import asyncio
import io
import zipfile
from pathlib import Path
from typing import Any

import msgspec
from api_world import HELLO, World, run_async

from headrace.control.changes.packages import PutPackage
from headrace.model.changes import SYSTEM

YAML = {"content-type": "application/yaml"}
CODE = b"""
from headrace import job as flow, task
from elsewhere import job

@task
def clean(day, minimum=1): ...

@flow(schedules=[])
def nightly(day): ...

@job
def stranger(day): ...

def helper(): ...
"""
PYTHON = {"name": "report", "tasks": [{"name": "clean", "python": "sales:clean", "with": {"day": "x"}}]}


def package(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("__", "/") + ".py", (2020, 1, 1, 0, 0, 0)), data)
    return out.getvalue()


async def put_package(world: World, name: str, data: bytes) -> Any:
    return await world.put(f"/packages/{name}", data, headers={"content-type": "application/zip"})


@run_async
async def test_a_job_that_is_not_there_is_told_with_the_nearest_saved_name(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        for answer in (await world.get("/jobs/helo"), await world.post("/jobs/helo/runs", {})):
            assert answer.status == 404
            assert "did you mean 'hello'?" in answer.json["detail"]
        assert "did you mean" not in (await world.get("/jobs/zebra")).json["detail"]


@run_async
async def test_post_is_201_for_a_new_job_200_for_the_same_and_409_for_another(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = await world.post("/jobs", HELLO)
        assert first.status == 201
        assert first.headers["location"] == "/api/v1/jobs/hello"
        assert first.json["version"] == 1
        again = await world.post("/jobs", HELLO)
        assert again.status == 200
        assert again.json == first.json
        other = await world.post("/jobs", {**HELLO, "description": "another"})
        assert other.status == 409
        assert "PUT" in other.json["detail"]
        assert (await world.get("/jobs/hello")).json == first.json


@run_async
async def test_put_makes_the_next_version_and_old_ones_stay(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.put("/jobs/hello", HELLO)).status == 201
        same = await world.put("/jobs/hello", HELLO)
        assert (same.status, same.json["version"]) == (200, 1)
        changed = await world.put("/jobs/hello", {**HELLO, "description": "v2"})
        assert (changed.status, changed.json["version"]) == (200, 2)
        assert (await world.get("/jobs/hello")).json["description"] == "v2"
        assert "description" not in (await world.get("/jobs/hello?version=1")).json
        assert (await world.get("/jobs/hello?version=3")).status == 404
        assert (await world.get("/jobs/other")).status == 404


@run_async
async def test_a_job_that_was_read_may_be_sent_back(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        read = (await world.get("/jobs/hello")).json
        again = await world.put("/jobs/hello", read)
        assert (again.status, again.json["version"]) == (200, 1)


@run_async
async def test_the_name_in_path_and_document_must_agree(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        wrong = await world.put("/jobs/other", HELLO)
        assert wrong.status == 422
        assert wrong.paths == {"name"}
        unnamed = {"tasks": HELLO["tasks"]}
        assert (await world.put("/jobs/fine", unnamed)).json["name"] == "fine"


@run_async
async def test_yaml_json_and_msgpack_save_the_same_document(tmp_path: Path) -> None:
    text = b"name: hello\ntasks:\n- name: say\n  command: [echo, hello]\n"
    async with World(tmp_path) as world:
        assert (await world.post("/jobs", text, headers=YAML)).status == 201
        assert (await world.post("/jobs", HELLO)).status == 200
        packed = msgspec.msgpack.encode(HELLO)
        assert (await world.post("/jobs", packed, headers={"content-type": "application/x-msgpack"})).status == 200


BAD = b"""name: Bad
tasks:
- name: a
  comand: [x]
- name: b
  command: [x]
  needs: [c]
- name: b
  command: [y]
  timeout: soon
- name: d
  wait: {topic: news}
"""


@run_async
async def test_every_problem_of_a_document_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        saved = await world.post("/jobs", BAD, headers=YAML)
        checked = await world.post("/jobs/check", BAD, headers=YAML)
        assert saved.status == 422
        assert checked.status == 200
        assert checked.json["ok"] is False
        assert saved.json["problems"] == checked.json["problems"]
        paths = saved.paths
        assert {"name", "tasks[0].comand", "tasks[2].timeout"} <= paths
        assert any(p.startswith("tasks[1].needs") for p in paths)
        assert all(p["line"] and p["column"] for p in saved.json["problems"])
        by_path = {p["path"]: p["message"] for p in saved.json["problems"]}
        assert "command" in by_path["tasks[0].comand"]
        assert any("not available yet" in m for m in by_path.values())
        assert (await world.get("/jobs")).json["items"] == []


@run_async
async def test_check_of_a_good_document_tells_warnings_and_saves_nothing(tmp_path: Path) -> None:
    job = {"name": "w", "tasks": [{"name": "a", "command": ["true"], "label": "x"}]}
    async with World(tmp_path) as world:
        found = (await world.post("/jobs/check", job)).json
        assert found["ok"] is True
        assert found["warnings"][0]["path"] == "tasks[0].label"
        key = {"idempotency-key": "k"}
        assert (await world.post("/jobs/check", job, headers=key)).json == found
        other = await world.post("/jobs/check", HELLO, headers=key)
        assert (other.status, other.json["name"]) == (200, "hello"), (
            "it changes nothing: a key is accepted and not kept"
        )
        broken = (await world.post("/jobs/check", b"a: [", headers=YAML)).json
        assert broken["ok"] is False
        assert broken["problems"]
        assert (await world.get("/jobs")).json["items"] == []


@run_async
async def test_jobs_are_listed_by_name_in_pages_and_filtered(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for i in range(7):
            await world.post("/jobs", {**HELLO, "name": f"job-{i}", "labels": {"odd": str(i % 2)}})
        seen, cursor = [], ""
        while cursor is not None:
            page = (await world.get(f"/jobs?limit=3&cursor={cursor}")).json
            seen += [j["name"] for j in page["items"]]
            cursor = page["next_cursor"]
        assert seen == [f"job-{i}" for i in range(7)]
        odd = (await world.get("/jobs?label=odd=1")).json["items"]
        assert [j["name"] for j in odd] == ["job-1", "job-3", "job-5"]
        assert [j["name"] for j in (await world.get("/jobs?q=JOB-4")).json["items"]] == ["job-4"]


@run_async
async def test_a_package_is_registered_once_per_content_and_its_tasks_are_found(tmp_path: Path) -> None:
    data = package(sales=CODE)
    async with World(tmp_path) as world:
        first = await put_package(world, "reports", data)
        assert first.status == 201
        assert first.json["tasks"] == ["sales:clean"]
        assert first.json["jobs"] == ["sales:nightly"]
        assert (await world.get("/packages/reports")).json["jobs"] == ["sales:nightly"]
        assert (await put_package(world, "reports", data)).status == 200
        other = await put_package(world, "reports", package(sales=CODE + b"# more\n"))
        assert (other.status, other.json["version"]) == (200, 2)
        assert other.json["digest"] != first.json["digest"]
        assert (await world.get("/packages/reports")).json == other.json
        assert (await world.get("/packages")).json["items"] == [other.json]
        assert (await world.get("/tasks")).json["items"][0]["reference"] == "sales:clean"
        assert (await world.get("/packages/nothing")).status == 404
        assert await world.node.store.blobs.size(first.json["digest"]) == len(data)


@run_async
async def test_what_is_no_package_is_refused_and_not_kept(tmp_path: Path) -> None:
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../../evil.py", b"x")
    async with World(tmp_path) as world:
        for data in (b"", b"PK", b"not a zip", evil.getvalue()):
            answer = await put_package(world, "bad", data)
            assert answer.status in {400, 422}, data
        assert (await put_package(world, "Bad", package(a=b""))).status == 422
        assert (await world.get("/packages")).json["items"] == []


@run_async
async def test_a_python_task_needs_exactly_one_package_and_is_pinned_to_its_digest(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        nobody = await world.post("/jobs", PYTHON)
        assert nobody.status == 422
        assert nobody.paths == {"tasks[0].python"}
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        saved = (await world.post("/jobs", PYTHON)).json
        assert saved["tasks"][0]["package"] == "reports"
        assert saved["packages"] == {"reports": digest}
        await put_package(world, "reports", package(sales=CODE + b"# v2\n"))
        assert (await world.get("/jobs/report")).json["packages"] == {"reports": digest}
        assert (await world.post("/jobs", PYTHON)).status == 200
        assert (await world.get("/jobs/report")).json["packages"] == {"reports": digest}
        newer = (await world.put("/jobs/report", PYTHON)).json
        assert newer["version"] == 2
        assert newer["packages"]["reports"] != digest
        await put_package(world, "twin", package(sales=CODE))
        several = await world.put("/jobs/report2", {**PYTHON, "name": "report2"})
        assert several.status == 422
        assert "several" in several.json["problems"][0]["message"]


@run_async
async def test_a_digest_that_a_caller_sends_is_not_believed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        saved = await world.post("/jobs", {**PYTHON, "packages": {"reports": "0" * 64}})
        assert saved.json["packages"] == {"reports": digest}


@run_async
async def test_the_tasks_of_every_package_are_listed_however_many_there_are(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        names = [f"p{i:03}" for i in range(502)]
        puts = [PutPackage(name, "d" * 64, 1, (f"{name}:b", f"{name}:a")) for name in names]
        await asyncio.gather(*[world.node.ledger.change(put, SYSTEM) for put in puts])
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await world.get(f"/tasks?limit=301&cursor={cursor}")).json
            seen += [item["reference"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == [f"{name}:{task}" for name in names for task in "ab"]
        assert [i["package"] for i in (await world.get("/tasks?q=p501:a")).json["items"]] == ["p501"]
