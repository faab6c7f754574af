"""Lists longer than a page: every command and every list of the client goes on to the end."""

from __future__ import annotations

import asyncio
import io
import zipfile

import pytest
from test_cli_words import Words, words

from headrace import AsyncClient, Client

__all__ = ["words"]

MANY = 105


def package(name: str) -> bytes:
    """A package of one task."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{name}.py", "from headrace import task\n\n@task\ndef work() -> int:\n    return 1\n")
    return out.getvalue()


@pytest.fixture(scope="module")
def many(words: Words) -> Words:
    with Client(data=words.server.data) as client:
        for n in range(MANY):
            client.limits.put(f"limit-{n:03}", slots=1)
            client.packages.put(f"package-{n:03}", package(f"module_{n:03}"))
            client.users.put(f"user-{n:03}", role="watcher")
            client.tokens.create(f"token-{n:03}", role="watcher")
    return words


@pytest.mark.parametrize("noun", ["limit", "package", "user", "token"])
def test_a_list_goes_on_behind_its_first_page(many: Words, noun: str) -> None:
    told = many.json(noun, "ls")
    names = [one["name"] for one in (told["items"] if isinstance(told, dict) else told)]
    assert [n for n in names if n.startswith(f"{noun}-")] == [f"{noun}-{n:03}" for n in range(MANY)]
    assert f"{noun}-104" in many(noun, "ls").stdout


def test_tasks_of_packages_behind_the_first_page_are_listed(many: Words) -> None:
    found = [one["reference"] for one in many.json("task", "ls")["items"]]
    assert [r for r in found if r.startswith("module_")] == [f"module_{n:03}:work" for n in range(MANY)]


def test_jobs_are_listed_to_the_last(many: Words) -> None:
    with Client(data=many.server.data) as client:
        for n in range(501):
            client.jobs.put({"name": f"many-{n:03}", "tasks": [{"name": "a", "command": ["true"]}]})
    found = many.json("job", "ls")
    assert sum(one["name"].startswith("many-") for one in found["items"]) == 501
    assert found["next_cursor"] is None


def test_a_clients_lists_are_lazy_and_whole(many: Words) -> None:
    with Client(data=many.server.data) as client:
        for noun in (client.limits, client.packages, client.users, client.tokens):
            first = next(iter(noun.list()))
            assert first.name
            assert sum(1 for one in noun.list() if one.name.endswith(("000", "104"))) == 2
        assert client.packages.get("package-104").tasks == ["module_104:work"]


def test_the_async_client_lists_as_the_other_does(many: Words) -> None:
    async def names() -> list[str]:
        async with AsyncClient(data=many.server.data) as client:
            return [one.name async for one in client.limits.list()]

    assert len(asyncio.run(names())) == MANY
