"""Explain over a real node: what it says of work that waits behind other work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_world import World, run_async

from headrace.model.cells import Value
from headrace.model.changes import OutcomeKind


@pytest.mark.parametrize("limited", [False, True])
@run_async
async def test_explain_tells_the_next_task_from_those_that_older_ones_are_served_before(
    tmp_path: Path, limited: bool
) -> None:
    async with World(tmp_path) as world:
        task: dict[str, Any] = {"name": "t", "command": ["true"]}
        if limited:
            await world.put("/limits/crm", {"slots": 5, "key": "${params.customer}"})
            task["limits"] = {"crm": 1}
        submit = {"job": {"name": "one", "tasks": [task]}, "params": {"customer": "acme"}}
        runs = [(await world.post("/runs", submit)).json["id"] for _ in range(3)]
        # There is room, and the claim loop has not been told yet.
        await world.agent(slots=1)
        told = [(await world.get(f"/runs/{run}/explain")).json["reasons"] for run in runs]
        assert [[reason["code"] for reason in reasons] for reasons in told] == [["next"], ["queued"], ["queued"]]


@run_async
async def test_explain_of_a_failed_run_tells_the_error_when_how_often_and_how_to_go_on(tmp_path: Path) -> None:
    frames = [{"file": "sales.py", "line": 3, "function": "clean", "code": "raise", "yours": True}]
    error = msgspec.json.encode({"type": "ValueError", "message": "no rows", "frames": frames})
    async with World(tmp_path) as world:
        await world.agent()
        job = {"name": "sales", "tasks": [{"name": "clean", "command": ["x"]}]}
        run = (await world.post("/runs", {"job": job})).json["id"]
        await world.settle(run, kind=OutcomeKind.failed, exit_status="error", error=Value(len(error), "inline", error))
        told = (await world.get(f"/runs/{run}/explain")).json
        shown = (await world.get(f"/runs/{run}")).json
    assert told["decision"] == "failed"
    assert [(r["code"], r["refers_to"]) for r in told["reasons"]] == [("ended", str(run)), ("failed", "clean")]
    assert told["reasons"][1]["message"] == "clean failed at attempt 1 of 1: ValueError: no rows (sales.py:3 in clean)"
    assert told["reasons"][1]["at"] == shown["tasks"][0]["ended_at"]
    assert any(f"headrace restart {run}" in step for step in told["advice"])


@run_async
async def test_no_instant_is_promised_to_a_paused_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = (await world.post("/runs", {"command": ["true"], "delay": "1h"})).json["id"]
        assert (await world.get(f"/runs/{run}/explain")).json["expected_at"] is not None
        await world.post(f"/runs/{run}/pause", {})
        told = (await world.get(f"/runs/{run}/explain")).json
        assert (told["decision"], told["expected_at"]) == ("paused: waits for resume", None)


@run_async
async def test_explain_names_the_command_that_ends_a_wait(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        job = {"name": "one", "tasks": [{"name": "t", "command": ["true"], "limits": {"crm": 1}}]}
        run = (await world.post("/runs", {"job": job})).json["id"]
        told = (await world.get(f"/runs/{run}/explain")).json
        assert [step.partition(" --")[0] for step in told["advice"]] == ["headrace limit put crm"]
        await world.post(f"/runs/{run}/pause", {})
        told = (await world.get(f"/runs/{run}/explain")).json
        assert any(f"headrace resume {run}" in step for step in told["advice"])
