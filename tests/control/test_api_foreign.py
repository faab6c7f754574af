"""Jobs that run elsewhere, recorded in the Digester's own form: state, phase, message, result and log by others."""

from __future__ import annotations

from pathlib import Path

from api_world import World, run_async

from headrace.control.auth import Role


@run_async
async def test_a_job_that_runs_elsewhere_is_recorded_and_shown_like_every_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        made = await world.post(
            "/job", {"id": "d-17", "job": "Digest Maize", "params": {"set": 4}, "labels": {"crop": "maize"}}
        )
        assert made.status == 201
        run = made.json["job_id"]
        assert made.headers["location"] == f"/api/v1/runs/{run}"
        path = f"/job/{run}"
        for status, phase in (("pending", None), ("validation", "validation"), ("digest", "digest")):
            answer = await world.call("PATCH", "/api/v1" + path, {"status": status, "message": f"now {status}"})
            assert (answer.status, answer.json["phase"], answer.json["message"]) == (200, phase, f"now {status}")
        await world.call("PATCH", "/api/v1" + path, {"log": "first\n"})
        await world.call("PATCH", "/api/v1" + path, {"log": "second\n"})
        got = (await world.get(f"/runs/{run}")).json
        assert (got["job"], got["state"], got["phase"], got["params"], got["labels"]) == (
            "Digest Maize", "running", "digest", {"set": 4}, {"crop": "maize"},
        )  # fmt: skip
        assert [t["state"] for t in got["tasks"]] == ["running"]
        text = await world.get(f"/runs/{run}/logs", headers={"accept": "text/plain"})
        assert text.body == b"first\nsecond\n"
        explained = (await world.get(f"/runs/{run}/explain")).json
        assert [r["code"] for r in explained["reasons"]] == ["elsewhere"]
        done = await world.call(
            "PATCH", "/api/v1" + path, {"status": "completed", "result": {"rows": 9}, "log": "end\n"}
        )
        assert done.json["state"] == "succeeded"
        got = (await world.get(f"/runs/{run}")).json
        assert (got["state"], got["result"], got["phase"]) == ("succeeded", {"rows": 9}, "digest")
        text = await world.get(f"/runs/{run}/logs", headers={"accept": "text/plain"})
        assert text.body == b"first\nsecond\nend\n"
        listed = (await world.get("/runs?label=crop=maize")).json["items"]
        assert [item["id"] for item in listed] == [run]
        assert not any(linked.held for linked in world.node.placement.agents())


@run_async
async def test_what_our_own_callbacks_send_is_understood_and_told_twice_is_one_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/hello", {"name": "hello", "tasks": [{"name": "a", "command": ["a"]}]})
        ours = (await world.post("/jobs/hello/runs", {"labels": {"a": "b"}})).json
        whole = (await world.get(f"/runs/{ours['id']}")).json
        first, again = await world.post("/job", whole), await world.post("/job", whole)
        assert (first.status, again.status, again.json["job_id"]) == (201, 201, first.json["job_id"])
        failed = {"state": "failed", "exit_status": "7", "reason": "it broke"}
        patched = await world.call("PATCH", f"/api/v1/job/{first.json['job_id']}", failed)
        assert patched.json["state"] == "failed"
        got = (await world.get(f"/runs/{first.json['job_id']}")).json
        assert (got["job"], got["exit_status"], got["reason"], got["labels"]) == ("hello", "7", "it broke", {"a": "b"})


@run_async
async def test_an_end_is_an_end_and_others_do_not_tell_of_our_own_runs(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = (await world.post("/job", {"name": "x", "state": "succeeded"})).json["job_id"]
        again = await world.call("PATCH", f"/api/v1/job/{run}", {"state": "succeeded"})
        assert (again.status, again.json["state"]) == (200, "succeeded")
        other = await world.call("PATCH", f"/api/v1/job/{run}", {"state": "running"})
        assert (other.status, other.json["detail"]) == (409, f"run {run} is succeeded: it cannot become running")
        ours = (await world.post("/runs", {"command": ["x"]})).json["id"]
        assert (await world.call("PATCH", f"/api/v1/job/{ours}", {"state": "failed"})).status == 404
        assert (await world.post("/job", {"state": "sideways"})).paths == {"state"}
        assert (await world.post("/job", {"name": "x"}, role=Role.watcher)).status == 403


@run_async
async def test_verbs_do_not_reach_elsewhere_but_its_record_can_be_ended(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run = (await world.post("/job", {"name": "x", "state": "running"})).json["job_id"]
        for verb in ("cancel", "stop", "pause", "resume"):
            answer = await world.post(f"/runs/{run}/{verb}", {})
            assert answer.status == 409
            assert "runs elsewhere" in answer.json["detail"]
        assert (await world.post(f"/runs/{run}/abandon", {})).json["state"] == "abandoned"
        late = await world.call("PATCH", f"/api/v1/job/{run}", {"state": "succeeded"})
        assert late.status == 409
        assert (await world.post(f"/runs/{run}/restart", {})).status == 409


@run_async
async def test_what_is_told_of_a_job_and_its_log_are_one_commit(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        counters = world.node.ledger.counters
        await world.post("/job", {"id": "first", "job": "x"})
        before = counters.groups
        body = {"id": "d-1", "job": "x", "state": "running", "log": "one\n"}
        made = await world.post("/job", body)
        assert counters.groups == before + 1
        run = made.json["job_id"]
        await world.call("PATCH", f"/api/v1/job/{run}", {"log": "two\n"}, headers={"idempotency-key": "k"})
        assert counters.groups == before + 2
        again = await world.post("/job", body)
        twice = await world.call("PATCH", f"/api/v1/job/{run}", {"log": "two\n"}, headers={"idempotency-key": "k"})
        assert (again.status, again.json, twice.status) == (201, made.json, 200)
        text = await world.get(f"/runs/{run}/logs", headers={"accept": "text/plain"})
        assert text.body == b"one\ntwo\n"


@run_async
async def test_a_log_that_is_told_with_what_is_refused_is_not_kept(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run = (await world.post("/job", {"name": "x", "state": "succeeded", "log": "one\n"})).json["job_id"]
        late = await world.call("PATCH", f"/api/v1/job/{run}", {"state": "failed", "log": "two\n"})
        assert late.status == 409
        assert [s.last for s in await world.node.store.reader.segments((run, 0, -1), 1)] == [1]


@run_async
async def test_the_same_id_in_other_words_is_a_conflict_that_says_how_to_tell_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.post("/job", {"id": "d-1", "job": "x"})).status == 201
        other = await world.post("/job", {"id": "d-1", "job": "x", "status": "digest"})
        assert other.status == 409
        assert "job d-1 was told before" in other.json["detail"]
        assert "PATCH" in other.json["detail"]
