"""Explain over a real node: what it says of work that waits behind other work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_world import World, run_async


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
