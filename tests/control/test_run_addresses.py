"""``${run.url}``: the whole address of a run, as its server is called."""

from __future__ import annotations

from pathlib import Path

from api_world import World, run_async

from headrace.model.cells import Value

URL = "http://test/api/v1/runs/"


@run_async
async def test_work_and_results_are_given_the_whole_address_of_their_run(tmp_path: Path) -> None:
    job = {
        "name": "linked",
        "tasks": [
            {"name": "say", "command": ["mail", "${run.url}"]},
            {"name": "tell", "command": ["true"], "when": {"value": "${run.url}", "glob": URL + "*"}, "needs": ["say"]},
        ],
        "result": {"at": "${run.url}", "said": "${tasks.say.result}"},
    }
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/linked", job)
        run = (await world.post("/jobs/linked/runs", {})).json["id"]
        await world.settle(run, 0, result=Value(1, "inline", b"1"))
        await world.settle(run, 1)
        ended = (await world.get(f"/runs/{run}")).json
        assert ended["result"] == {"at": f"{URL}{run}", "said": 1}
        assert ended["tasks"][1]["state"] == "succeeded"
        assert (await world.get(ended["result"]["at"].removeprefix("http://test/api/v1"))).json["id"] == run
