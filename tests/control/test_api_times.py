"""Runs that begin later or expire: what the API takes, shows and explains; and that they do begin by themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from api_world import HELLO, World, run_async

AT = "2040-03-29T06:00:00Z"


@run_async
async def test_a_run_with_a_time_stays_queued_and_explain_says_until_when(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/hello", HELLO)
        made = (await world.post("/jobs/hello/runs", {"at": "2040-03-29T08:00:00+02:00"})).json
        assert (made["state"], made["begins_at"], made["expires_at"]) == ("queued", AT, None)
        run = made["id"]
        got = (await world.get(f"/runs/{run}")).json
        assert (got["state"], got["begins_at"], got["tasks"][0]["state"]) == ("queued", AT, "blocked")
        explained = (await world.get(f"/runs/{run}/explain")).json
        assert (explained["decision"], explained["expected_at"]) == ("waits for its time", AT)
        assert [reason["code"] for reason in explained["reasons"]] == ["not_before"]
        assert (await world.post(f"/runs/{run}/cancel", {})).status == 202
        assert (await world.get(f"/runs/{run}")).json["state"] == "canceled"


@run_async
async def test_a_delayed_run_begins_by_itself(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        bodies = [{"command": ["true"], "delay": "50ms"}, {"job": HELLO, "delay": "60ms", "expires": "1h"}]
        runs = (await world.post("/runs/batch", {"runs": bodies})).json["ids"]
        for run in runs:
            while (await world.get(f"/runs/{run}/tasks")).json["items"][0]["state"] != "dispatched":
                await world.node.store.reader.run(run)
            await world.settle(run)
            assert (await world.get(f"/runs/{run}")).json["state"] == "succeeded"


@run_async
async def test_a_run_that_nobody_took_in_time_is_canceled(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {"expires": "20ms"})).json["id"]
        got = (await world.get(f"/runs/{run}?wait=20s")).json
        assert (got["state"], got["reason"]) == ("canceled", "expired")


@run_async
async def test_what_is_to_begin_later_expires_counted_from_then(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        at = (await world.post("/jobs/hello/runs", {"at": AT, "expires": "1m"})).json
        assert (at["begins_at"], at["expires_at"]) == (AT, AT.replace("06:00:00", "06:01:00"))
        later = (await world.post("/jobs/hello/runs", {"delay": "4h", "expires": "1m"})).json
        begins, ends = (datetime.fromisoformat(later[name]) for name in ("begins_at", "expires_at"))
        assert ends - begins == timedelta(minutes=1)
        past = (await world.post("/jobs/hello/runs", {"at": "2001-01-01T00:00:00Z", "expires": "1h"})).json
        assert datetime.fromisoformat(past["expires_at"]) - datetime.fromisoformat(past["created_at"]) >= timedelta(
            hours=1
        )


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"at": AT, "delay": "5s"}, {"delay"}),
        ({"at": "tomorrow"}, {"at"}),
        ({"at": "9999-12-31T23:59:59.5-12:00"}, {"at"}),
        ({"delay": "soon", "expires": "-1s"}, {"delay", "expires"}),
        ({"at": 5}, {"at"}),
    ],
)
def test_times_that_are_none_are_told(tmp_path: Path, body: dict[str, object], paths: set[str]) -> None:
    @run_async
    async def story() -> None:
        async with World(tmp_path) as world:
            await world.put("/jobs/hello", HELLO)
            answer = await world.post("/jobs/hello/runs", body)
            assert (answer.status, answer.paths) == (422, paths)

    story()
