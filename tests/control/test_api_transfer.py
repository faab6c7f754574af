"""Every definition goes out as one document and comes back the same; an import is all or nothing; packages go back too."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from api_world import HELLO, World, run_async
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_api_jobs import CODE, PYTHON, YAML, package, put_package

from headrace.control.auth import Role

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
TASKS = st.lists(NAMES, min_size=1, max_size=3, unique=True)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(TASKS)
    tasks: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        task: dict[str, Any] = {"name": name, "command": ["echo", draw(TEXTS).replace("$", "")]}
        if at and draw(st.booleans()):
            task["needs"] = [names[at - 1]]
        if draw(st.booleans()):
            task["retries"] = draw(st.integers(1, 5))
        if draw(st.booleans()):
            task["timeout"] = "10s"
        tasks.append(task)
    job: dict[str, Any] = {"name": draw(NAMES), "tasks": tasks}
    if draw(st.booleans()):
        job["description"] = draw(TEXTS)
    if draw(st.booleans()):
        job["labels"] = draw(st.dictionaries(NAMES, TEXTS, max_size=2))
    if draw(st.booleans()):
        job["params"] = {"type": "object", "properties": {draw(NAMES): {"type": "integer", "default": 3}}}
    return job


LIMITS = st.fixed_dictionaries({"name": NAMES, "slots": st.integers(0, 100)}, optional={"description": TEXTS})
USERS = st.fixed_dictionaries({"name": NAMES}, optional={"role": st.sampled_from(["admin", "operator", "watcher"])})


def once(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({item["name"]: item for item in items}.values())


DOCUMENTS = st.fixed_dictionaries(
    {
        "jobs": st.lists(jobs(), max_size=4).map(once),
        "limits": st.lists(LIMITS, max_size=3).map(once),
        "users": st.lists(USERS, max_size=3).map(once),
    }
)


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS)
def test_what_goes_out_and_in_again_is_the_same(document: dict[str, Any]) -> None:
    async def main(first: Path, second: Path) -> None:
        async with World(first) as world:
            done = await world.post("/import", document)
            assert done.status == 200, done.body
            assert {item["outcome"] for item in done.json["items"]} <= {"created"}
            out = (await world.get("/export")).json
            edn = {"accept": "application/edn", "content-type": "application/edn"}
            written = (await world.get("/export", headers=edn)).body
            read = await world.call("POST", "/api/v1/import", written, headers={"content-type": "application/edn"})
            assert {item["outcome"] for item in read.json["items"]} <= {"unchanged"}
            again = await world.post("/import", out)
            assert {item["outcome"] for item in again.json["items"]} <= {"unchanged"}
        async with World(second) as world:
            assert (await world.post("/import", out)).status == 200
            assert (await world.get("/export")).json == out

    with TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "a", Path(folder) / "b"))


@run_async
async def test_an_import_is_all_or_nothing_and_tells_every_problem_with_its_place(tmp_path: Path) -> None:
    text = b"""headrace: export
jobs:
  - name: good
    tasks: [{name: a, command: [x]}]
  - name: bad
    tasks:
      - {name: a, comand: [x]}
limits:
  - {name: l, slots: -1}
users:
  - {name: u, role: king}
other: 1
"""
    async with World(tmp_path) as world:
        answer = await world.call("POST", "/api/v1/import", text, headers=YAML)
        assert answer.status == 422
        assert {"jobs[1].tasks[0].comand", "limits[0].slots", "users[0].role", "other"} <= answer.paths
        assert {p["line"] for p in answer.json["problems"] if p["path"] == "jobs[1].tasks[0].comand"} == {7}
        assert (await world.get("/export")).json["jobs"] == []
        twice = await world.post("/import", {"jobs": [HELLO, HELLO]})
        assert (twice.status, "twice" in twice.json["problems"][0]["message"]) == (422, True)
        assert (await world.post("/import", [])).status == 400
        assert (await world.post("/import", {}, role=Role.operator)).status == 403
        assert (await world.get("/export", role=Role.watcher)).status == 403


@run_async
async def test_an_import_says_what_became_of_each_and_a_dry_one_writes_nothing(tmp_path: Path) -> None:
    other = {**HELLO, "name": "other"}
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        await world.put("/jobs/kept", {**HELLO, "name": "kept"})
        document = {"jobs": [{**HELLO, "description": "new"}, other], "limits": [{"name": "l", "slots": 2}]}
        wanted = [("job", "hello", "changed"), ("job", "other", "created"), ("limit", "l", "created")]
        dry = (await world.post("/import?dry_run=true", document)).json
        assert ([tuple(i[k] for k in ("kind", "name", "outcome")) for i in dry["items"]], dry["dry_run"]) == (
            wanted,
            True,
        )
        assert (await world.get("/jobs/other")).status == 404
        key = {"idempotency-key": "once"}
        assert (await world.post("/import?dry_run=true", document, headers=key)).json["dry_run"] is True
        assert (await world.post("/import", document, headers=key)).status == 409
        assert (await world.post("/import?dry_run=true", document, headers=key)).json["dry_run"] is True
        done = (await world.post("/import?reason=move", document)).json
        assert [tuple(i[k] for k in ("kind", "name", "outcome")) for i in done["items"]] == wanted
        assert (await world.get("/jobs/hello")).json["version"] == 2
        assert (await world.get("/jobs/hello/versions")).json["items"][0]["reason"] == "move"
        assert (await world.get("/jobs/kept")).status == 200
        assert (await world.get("/limits/l")).json["slots"] == 2


@run_async
async def test_an_import_does_not_move_a_job_to_newer_code_and_jobs_may_come_before_their_code(tmp_path: Path) -> None:
    async with World(tmp_path / "a") as world:
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        await world.put("/jobs/report", PYTHON)
        await put_package(world, "reports", package(sales=CODE + b"# v2\n"))
        out = (await world.get("/export")).json
        assert "packages" not in out["jobs"][0]
        assert (await world.post("/import", out)).json["items"][0]["outcome"] == "unchanged"
        assert (await world.get("/jobs/report")).json["packages"] == {"reports": digest}
    async with World(tmp_path / "b") as world:
        (item,) = (await world.post("/import", out)).json["items"]
        assert (item["outcome"], item["waits_for"]) == ("created", ["sales:clean (package reports)"])
        await put_package(world, "reports", package(sales=CODE))
        assert (await world.post("/jobs/report/runs", {})).status == 201


@run_async
async def test_a_package_goes_back_and_what_is_pinned_stays(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        second = (await put_package(world, "reports", package(sales=CODE + b"# v2\n"))).json["digest"]
        await world.put("/jobs/report", PYTHON)
        back = await world.post("/packages/reports/rollback", {"reason": "v2 is wrong"})
        assert (back.status, back.json["digest"], back.json["version"]) == (200, first, 3)
        assert (await world.get("/packages/reports")).json["digest"] == first
        assert (await world.get("/jobs/report")).json["packages"] == {"reports": second}
        versions = (await world.get("/packages/reports/versions")).json["items"]
        assert [v["digest"] for v in versions] == [first, second, first]
        forth = await world.post("/packages/reports/rollback", {"digest": second[:12]})
        assert forth.json["digest"] == second
        zipped = await world.get(f"/packages/reports/{first}", headers={"accept": "application/zip"})
        assert zipped.body == package(sales=CODE)
        assert (await world.get(f"/packages/reports/{first}")).json["version"] == 3
        assert (await world.post("/packages/reports/rollback", {"version": 99})).status == 404
        assert (await world.post("/packages/none/rollback")).status == 404


@run_async
async def test_a_package_in_use_is_not_taken_back_and_its_users_are_named(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        await world.put("/jobs/report", PYTHON)
        run = (await world.post("/jobs/report/runs", {})).json["id"]
        second = (await put_package(world, "reports", package(sales=CODE + b"# v2\n"))).json["digest"]
        for path in ("/packages/reports", f"/packages/reports/{first}"):
            refused = await world.call("DELETE", "/api/v1" + path)
            assert refused.status == 409
            assert "job report" in refused.json["detail"]
            assert f"run {run}" in refused.json["detail"]
        assert (await world.call("DELETE", f"/api/v1/packages/reports/{second}")).status == 409
        await world.put("/jobs/report", {**HELLO, "name": "report"})
        await world.post(f"/runs/{run}/cancel")
        await world.agent()
        while (await world.get(f"/runs/{run}")).json["state"] != "canceled":
            await asyncio.wait([asyncio.sleep(0)])  # type: ignore[list-item]  # lets the ledger work
        assert (await world.call("DELETE", f"/api/v1/packages/reports/{first}")).status == 204
        assert (await world.post("/packages/reports/rollback", {"digest": first})).status == 409
        assert (await world.call("DELETE", "/api/v1/packages/reports")).status == 204
        assert (await world.get("/packages/reports")).status == 404
        assert (await world.get("/tasks")).json["items"] == []
        assert (await put_package(world, "reports", package(sales=CODE))).status == 201


@run_async
async def test_the_jobs_of_a_package_are_saved_together_pinned_to_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        digest = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        one, two = {**PYTHON, "name": "one"}, {**PYTHON, "name": "two"}
        bad = {"name": "three", "tasks": [{"name": "a", "python": "sales:none"}]}
        refused = await world.post("/packages/reports/jobs", {"definitions": [one, bad]})
        assert (refused.status, refused.paths) == (422, {"definitions[1].tasks[0].python"})
        assert (await world.get("/jobs")).json["items"] == []
        saved = await world.post("/packages/reports/jobs", {"definitions": [one, two]})
        assert [item["outcome"] for item in saved.json["items"]] == ["created", "created"]
        assert (await world.get("/jobs/two")).json["packages"] == {"reports": digest}
        assert (await world.post("/packages/none/jobs", {"definitions": [one]})).status == 404
