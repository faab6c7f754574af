"""Lists of runs through the API: by their end, by exit status, as of an instant; every page in order, nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from api_world import HELLO, World, run_async

from headrace.model.changes import OutcomeKind


async def pages(world: World, query: str, limit: int) -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = (await world.get(f"/runs?{query}&limit={limit}" + (f"&cursor={cursor}" if cursor else ""))).json
        found += page["items"]
        assert len(page["items"]) <= limit
        if page["next_cursor"] is None:
            return found
        cursor = page["next_cursor"]


async def some(world: World) -> list[int]:
    """Thirty runs; every third still open; they end in another order than they were made in."""
    await world.agent(slots=100)
    await world.post("/jobs", HELLO)
    runs = [(await world.post("/jobs/hello/runs", {"labels": {"n": str(n % 2)}})).json["id"] for n in range(30)]
    ended = [run for n, run in enumerate(runs) if n % 3][::-1]
    for n, run in enumerate(ended):
        kind = OutcomeKind.failed if n % 4 == 0 else OutcomeKind.succeeded
        await world.settle(run, kind=kind, exit_status="NO_DATA" if n % 4 == 0 else "0")
    return ended


@pytest.mark.parametrize("limit", [1, 4, 500])
@run_async
async def test_runs_are_listed_by_their_end(tmp_path: Path, limit: int) -> None:
    async with World(tmp_path) as world:
        ended = await some(world)
        assert [r["id"] for r in await pages(world, "sort=ended_at", limit)] == ended
        assert [r["id"] for r in await pages(world, "sort=-ended_at", limit)] == ended[::-1]
        middle = quote((await world.get(f"/runs/{ended[9]}")).json["ended_at"])
        assert [r["id"] for r in await pages(world, f"sort=ended_at&ended_since={middle}", limit)] == ended[9:]
        assert [r["id"] for r in await pages(world, f"sort=-ended_at&ended_until={middle}", limit)] == ended[9::-1]
        failed = await pages(world, "sort=ended_at&state=failed&label=n=1&q=hell", limit)
        assert [r["id"] for r in failed] == [run for n, run in enumerate(ended) if n % 4 == 0 and run % 2 == 0]


@run_async
async def test_runs_are_found_by_exit_status_and_times(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        ended = await some(world)
        nothing = sorted(run for n, run in enumerate(ended) if n % 4 == 0)
        assert [r["id"] for r in await pages(world, "sort=created_at&exit_status=NO*", 3)] == nothing
        middle = quote((await world.get(f"/runs/{ended[9]}")).json["ended_at"])
        late = await pages(world, f"ended_since={middle}", 7)
        assert sorted(r["id"] for r in late) == sorted(ended[9:])
        assert (await world.get("/runs?sort=started_at")).status == 400
        assert (await world.get("/runs?sort=ended_at&cursor=kgEC")).status == 400


@run_async
async def test_a_list_of_runs_can_be_asked_of_an_instant(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        ended = await some(world)
        middle = quote((await world.get(f"/runs/{ended[9]}")).json["ended_at"])
        then = await pages(world, f"as_of={middle}&state=succeeded,failed", 4)
        assert sorted(r["id"] for r in then) == sorted(ended[:10])
        assert [r["id"] for r in await pages(world, f"as_of={middle}&sort=ended_at", 4)] == ended[:10]
        assert len(await pages(world, f"as_of={middle}", 500)) == 30
        first = quote((await world.get("/runs/5")).json["created_at"])
        assert [r["id"] for r in await pages(world, f"as_of={first}", 500)] in ([5, 4, 3, 2, 1], [4, 3, 2, 1])


@pytest.mark.parametrize("limit", [1, 3, 500])
@run_async
async def test_jobs_are_listed_in_any_order(tmp_path: Path, limit: int) -> None:
    async with World(tmp_path) as world:
        names = ["delta", "alpha", "echo", "bravo", "charlie"]
        for n, name in enumerate(names):
            await world.put(f"/jobs/{name}", {**HELLO, "name": name, "labels": {"odd": str(n % 2)}})
        await world.put("/jobs/alpha", {**HELLO, "name": "alpha", "description": "newer", "labels": {"odd": "1"}})
        await world.call("DELETE", "/api/v1/jobs/echo")
        left = [name for name in names if name not in {"alpha", "echo"}]

        async def listed(query: str) -> list[str]:
            found: list[str] = []
            cursor = ""
            while True:
                page = (await world.get(f"/jobs?limit={limit}&{query}&cursor={cursor}")).json
                found += [job["name"] for job in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    return found

        assert await listed("") == sorted([*left, "alpha"])
        assert await listed("sort=-name") == sorted([*left, "alpha"], reverse=True)
        assert await listed("sort=updated_at") == [*left, "alpha"]
        assert await listed("sort=-updated_at") == ["alpha", *left[::-1]]
        assert await listed("sort=-updated_at&label=odd=1&q=a") == ["alpha", "bravo"]
        assert await listed("deleted=true&sort=updated_at") == ["echo"]
        assert (await world.get("/jobs?sort=size")).status == 400
        assert (await world.get("/jobs?sort=updated_at&cursor=bravo")).status == 400


@run_async
async def test_a_page_of_large_documents_ends_early_and_nothing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("store.listing", "control.ended", "control.api.job_list"):
        monkeypatch.setattr(f"headrace.{module}.PAGE_SIZE", 160_000)
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        params = {"text": "x" * 39_000}
        runs = []
        for number in range(6):
            job = HELLO | {"name": f"fat{number}", "description": "d" * 39_000}
            assert (await world.put(f"/jobs/fat{number}", job)).status == 201
            runs.append((await world.post("/runs", {"command": ["x"], "params": params})).json["id"])
            await world.settle(runs[-1])
        for path in ("/runs?sort=created_at", "/runs?sort=ended_at", "/jobs?"):
            first = (await world.get(f"{path}&limit=500")).json
            assert 1 < len(first["items"]) < 6
            rest = (await world.get(f"{path}&limit=500&cursor={first['next_cursor']}")).json
            items = [*first["items"], *rest["items"]]
            known = [item.get("id") or item["name"] for item in items]
            assert known == (runs if "runs" in path else [f"fat{number}" for number in range(6)])
