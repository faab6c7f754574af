"""The nouns of the clients against a real server: the same verbs everywhere, awaited in the async one."""

from __future__ import annotations

import asyncio
import copy
import inspect

import pytest
from test_cli_lists import package
from test_cli_words import Words, words

from headrace import AsyncClient, Client
from headrace.client import ahandle, anouns, handle, nouns
from headrace.client.handle import RunFailed
from headrace.model.errors import Conflict, NotAvailable, NotFound

__all__ = ["words"]

LATER = ("schedules", "calendars", "approvals", "secrets", "subscriptions", "deliveries")
FAILS = {
    "name": "fails",
    "tasks": [
        {"name": "load", "each": ["a", "b"], "command": ["sh", "-c", 'test "$0" = b', "${item}"]},
        {"name": "alone", "command": ["true"]},
    ],
}


def test_limits_users_tokens_and_agents_have_their_verbs(words: Words) -> None:
    with Client(data=words.server.data) as client:
        assert client.limits.put("api", slots=2).slots == 2
        assert client.limits.patch("api", description="theirs", slots=3).slots == 3
        assert client.limits.pause("api", reason="they mend it").paused
        assert client.limits.get("api").reason == "they mend it"
        assert not client.limits.resume("api").paused
        client.limits.delete("api")
        with pytest.raises(NotFound):
            client.limits.get("api")
        assert client.users.put("eva", role="operator", password="a good password").password
        assert client.users.patch("eva", disabled=True).disabled
        assert client.users.get("eva").role == "operator"
        made = client.tokens.create("robot", user="eva", role="operator", expires="1d")
        assert made.token
        assert (client.tokens.get("robot").user, client.tokens.get("robot").token) == ("eva", None)
        client.tokens.delete("robot")
        client.users.delete("eva")
        assert "eva" not in [user.name for user in client.users.list()]
        client.submit({"command": ["true"]}).wait()  # then the agent is linked
        agent = next(client.agents.list())
        assert client.agents.get(agent.name) == client.agents.get(agent.id)
        with pytest.raises(NotFound, match="no agent"):
            client.agents.get("nobody")


def test_a_package_is_taken_back_unless_it_is_used(words: Words) -> None:
    with Client(data=words.server.data) as client:
        client.packages.put("spare", package("spare_module"))
        client.jobs.put({"name": "uses", "tasks": [{"name": "a", "python": "spare_module:work"}]})
        with pytest.raises(Conflict, match="uses"):
            client.packages.delete("spare")
        client.jobs.delete("uses")
        client.packages.delete("spare")
        with pytest.raises(NotFound):
            client.packages.get("spare")


def test_an_instance_of_a_task_is_had_by_its_number(words: Words) -> None:
    with Client(data=words.server.data) as client:
        run = client.submit({"job": FAILS}).wait()
        load = run.tasks["load"]
        assert (load.state, len(load), load.counts["failed"]) == ("failed", 2, 1)
        assert (load[0].state, load[0].exit_code, load[1].state, load[-1].index) == ("failed", 1, "succeeded", 1)
        assert [one.index for one in load] == [0, 1]
        with pytest.raises(IndexError, match="2 instances"):
            load[2]
        with pytest.raises(IndexError):
            run.tasks["alone"][0]
        assert (run.tasks["alone"].state, len(run.tasks["alone"]), list(run.tasks["alone"])) == ("succeeded", 0, [])
        assert run.tasks["alone"]
        assert copy.copy(load).name == "load"


@pytest.mark.parametrize("noun", LATER)
def test_a_noun_of_a_later_version_says_so(words: Words, noun: str) -> None:
    with Client(data=words.server.data) as client:
        with pytest.raises(NotAvailable, match="not available yet"):
            getattr(client, noun)
        assert not hasattr(client, "nonsense")


def test_the_async_client_has_every_verb_of_the_other() -> None:
    for name, noun in vars(nouns).items():
        if inspect.isclass(noun) and "list" in vars(noun):
            other = getattr(anouns, f"Async{name}")
            ours = {n: list(inspect.signature(f).parameters) for n, f in vars(noun).items() if n[0] != "_"}
            theirs = {n: list(inspect.signature(f).parameters) for n, f in vars(other).items() if n[0] != "_"}
            assert ours == theirs, name
    for owner in (Client, AsyncClient):
        assert {"jobs", "runs", "packages", "agents", "limits", "users", "tokens"} <= set(
            owner.__init__.__code__.co_names
        )


async def _held(client: AsyncClient, run: ahandle.AsyncRun) -> None:
    """A run that fails, as a handle."""
    assert (await run.wait(30)).state == "failed"
    with pytest.raises(RunFailed):
        await run.result()
    assert (await client.runs.get(run.id)).view.job == "fails"
    assert [line.stream async for line in run.logs()].count("system") >= 1
    assert (await run.explain()).decision
    again = await run.restart(from_="start", reason="once more")
    assert (await again.wait(30)).view.restarted_from == run.id
    assert await again.artifacts() == []
    waiting = await client.submit({"command": ["true"]}, delay="1h")
    with pytest.raises(TimeoutError):
        await waiting.wait(0.01)
    await waiting.amend(priority=7)
    assert waiting.view.priority == 7
    await waiting.cancel(reason="enough")
    assert (await waiting.wait(30)).view.reason == "enough"
    (number,) = await client.submit_many([{"job": "fails"}])
    wide = await (await client.runs.get(number)).wait(30)
    task = wide.tasks["load"]
    assert (len(task), (await task[-1]).index) == (2, 1)
    assert [one.state async for one in task] == ["failed", "succeeded"]
    with pytest.raises(IndexError):
        await task[2]
    assert (await client.version()).version


def test_an_async_handle_has_the_words_of_the_other() -> None:
    for ours, theirs in ((handle.Run, ahandle.AsyncRun), (handle.RunTask, ahandle.AsyncRunTask)):
        words = {n for n in vars(ours) if n[0] != "_" or n in ("__getitem__", "__len__", "__bool__")}
        assert words <= set(vars(theirs))
        for name in words:
            if inspect.isfunction(vars(ours)[name]):
                assert list(inspect.signature(vars(ours)[name]).parameters) == list(
                    inspect.signature(vars(theirs)[name]).parameters
                )
    assert {"submit", "submit_many", "version"} <= set(vars(AsyncClient))


def test_the_async_client_does_the_same(words: Words) -> None:
    async def lived() -> None:
        async with AsyncClient(data=words.server.data) as client:
            await client.limits.put("later", rate="10/1s")
            assert (await client.limits.get("later")).rate == "10/1s"
            await client.limits.delete("later")
            assert (await client.jobs.put(FAILS))["version"] == 1
            assert [v.change async for v in client.jobs.versions("fails")] == ["saved"]
            run = await client.submit("fails")
            assert (await client.wait(run.id)).state == "failed"
            assert next(iter([r.id async for r in client.runs.list(job="fails")])) == run.id
            await _held(client, run)
            assert (await client.agents.get(1)).id == 1
            await client.packages.put("apart", package("apart_module"))
            assert (await client.packages.get("apart")).tasks == ["apart_module:work"]
            await client.packages.delete("apart")
            await client.users.put("adam")
            assert (await client.users.patch("adam", role="admin")).role == "admin"
            await client.users.delete("adam")
            assert (await client.tokens.create("mine", role="watcher")).token
            await client.tokens.delete("mine")
            with pytest.raises(NotAvailable):
                _ = client.schedules  # type: ignore[attr-defined]  # that is what is looked at
            assert not hasattr(client, "nonsense")

    asyncio.run(lived())
