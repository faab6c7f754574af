"""``/metrics`` and ``/stats``: what they say is what has happened."""

from __future__ import annotations

import re
from pathlib import Path

from api_world import HELLO, World, run_async
from watching import Doored

from headrace.control.auth import Role

LINE = re.compile(r'^([a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\.)*",?)+\})? (-?[0-9.e+-]+|\+Inf)$')


async def metrics(world: World) -> dict[str, float]:
    answer = await world.call("GET", "/metrics", headers={"accept": "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"})
    assert answer.status == 200
    found = {}
    for line in answer.body.decode().splitlines():
        if not line.startswith("#"):
            assert LINE.match(line), line
            name, _, value = line.rpartition(" ")
            assert name not in found, name
            found[name] = float(value)
    return found


@run_async
async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        for _ in range(3):
            await world.post("/jobs/hello/runs", {})
        await world.post("/runs/1/cancel", {})
        await world.get("/nothing")
        found = await metrics(world)
        assert found['headrace_runs_open{state="queued"}'] == 2
        assert found['headrace_tasks_live{state="ready"}'] == 2
        assert found["headrace_runs_submitted_total"] == 3
        assert found["headrace_ledger_group_size_count"] == found["headrace_ledger_groups_total"] > 4
        assert found['headrace_http_requests_total{method="POST",route="/api/v1/jobs/{name}/runs",status="201"}'] == 3
        assert found['headrace_http_requests_total{method="GET",route="",status="404"}'] == 1
        buckets = [value for name, value in found.items() if name.startswith("headrace_http_request_seconds_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == found["headrace_http_request_seconds_count"] == 6
        assert found["process_resident_memory_bytes"] > 10**6
        assert found["process_open_fds"] > 3
        again = await metrics(world)
        assert again["headrace_http_request_seconds_count"] == 7


@run_async
async def test_metrics_know_who_watches_and_how_late_events_come(tmp_path: Path) -> None:
    async with Doored(tmp_path) as world:
        async with await world.watch("?after=latest") as watcher:
            await world.post("/jobs", HELLO)
            await watcher.event()
            found = await metrics(world)
            assert found["headrace_watchers"] == 1
            assert found["headrace_event_lag_seconds_count"] >= 1
        assert (await world.get("/stats")).json["runs"] == {}


@run_async
async def test_metrics_are_not_for_everybody(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        assert (await world.call("GET", "/metrics", role=None)).status == 401
        assert (await world.call("GET", "/metrics", role=Role.watcher)).status == 200
