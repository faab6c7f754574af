"""Logs that are not in the store yet: the agent has the rest, drops it at this moment, or is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_world import World, run_async
from test_api_runs import record, seal, submitted

from headrace.control.api import logbook
from headrace.control.api.absent import REMEMBERED_S, Absent
from headrace.control.changes.logs import KeepSegments
from headrace.link.port import LogPage
from headrace.link.records import AttemptName, LogRecord
from headrace.model.changes import SYSTEM, OutcomeKind
from headrace.model.errors import Busy, LinkError, NotFound
from headrace.store.rows import LogSegment

LINES = [record(i, b"%d\n" % i) for i in range(1, 11)]
TEXT = b"".join(line.data for line in LINES)
ONE = {"name": "one", "tasks": [{"name": "a", "command": ["a"]}]}
Said = Callable[[int], Awaitable[list[LogRecord]]]


class Spool:
    """The one call of an agent that logs need. ``says`` gives the records with ``seq > after``, or raises."""

    def __init__(self, says: Said) -> None:
        self._says = says

    async def logs(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        return LogPage((await self._says(after))[:limit], sealed=True)


async def _spooled(world: World, says: Said, *, links_at: int = 0, **ended: Any) -> int:
    """A run that has ended; its log is with an agent that is linked from the ``links_at``-th question on."""
    await world.agent()
    run = await submitted(world, ONE)
    await world.settle(run, seal=seal(inline=False, last=len(LINES)), **ended)
    asked = 0

    def agents(_: int) -> Any:
        nonlocal asked
        asked += 1
        return Spool(says) if asked > links_at else None

    world.serve(agents=agents)
    return run


async def _has_all(after: int) -> list[LogRecord]:
    return [line for line in LINES if line.seq > after]


async def _text(world: World, run: int, **query: str) -> bytes:
    more = "&".join(f"{k}={v}" for k, v in query.items())
    return (await world.get(f"/runs/{run}/logs?{more}", headers={"accept": "text/plain"})).body


@run_async
async def test_a_log_that_is_stored_and_dropped_while_it_is_read_is_given_whole(tmp_path: Path) -> None:
    async with World(tmp_path) as world:

        async def drops_it_now(after: int) -> list[LogRecord]:
            piece = LogSegment(run, 0, -1, 1, 1, len(LINES), msgspec.msgpack.encode(LINES))
            await world.node.ledger.change(KeepSegments((piece,)), SYSTEM)
            raise NotFound("this agent has no log of it")

        run = await _spooled(world, drops_it_now)
        assert await _text(world, run, follow="true") == TEXT


@run_async
@pytest.mark.parametrize("trouble", [None, LinkError("gone"), Busy("not now")])
async def test_a_reader_waits_for_an_agent_that_links_again_and_gets_the_whole_log(
    tmp_path: Path, trouble: Exception | None
) -> None:
    async with World(tmp_path) as world:
        troubles = [] if trouble is None else [trouble, trouble]

        async def says(after: int) -> list[LogRecord]:
            if troubles:
                raise troubles.pop()
            return await _has_all(after)

        run = await _spooled(world, says, links_at=2, kind=OutcomeKind.failed, exit_status="1")
        text = await _text(world, run)
        assert text.startswith(TEXT)
        assert b"cut" not in text
        page = (await world.get(f"/runs/{run}/logs")).json
        assert ([i["seq"] for i in page["items"]][:10], page["next_cursor"]) == (list(range(1, 11)), None)


@run_async
@pytest.mark.parametrize("kind", [OutcomeKind.succeeded, OutcomeKind.failed])
async def test_a_log_whose_agent_stays_away_ends_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: OutcomeKind
) -> None:
    async with World(tmp_path) as world:
        run = await _spooled(world, _has_all, links_at=1_000_000, kind=kind)
        monkeypatch.setattr(logbook, "AWAY_S", 0.3, raising=False)
        for text in (await _text(world, run, follow="true"), await _text(world, run)):
            assert b"the log before this is cut: the agent that has the rest is not linked now" in text
            assert (b"a: attempt 1 of 1 failed" in text) == (kind is OutcomeKind.failed)
        page = (await world.get(f"/runs/{run}/logs")).json
        assert page["next_cursor"] is None


@run_async
async def test_a_log_that_no_one_has_any_more_is_said_to_be_cut_though_the_attempt_succeeded(tmp_path: Path) -> None:
    async with World(tmp_path) as world:

        async def has_none(after: int) -> list[LogRecord]:
            raise NotFound("this agent has no log of it")

        run = await _spooled(world, has_none)
        assert await _text(world, run) == b"the log before this is cut: the agent's copy is gone\n"


@run_async
async def test_who_reads_after_one_that_waited_in_vain_does_not_wait_again_until_the_agent_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logbook, "AWAY_S", 0.1)
    there: list[Spool] = []
    asked = 0

    def agents(_: int) -> Any:
        nonlocal asked
        asked += 1
        return there[0] if there else None

    async with World(tmp_path) as world:
        run = await _spooled(world, _has_all)
        world.serve(agents=agents)
        assert b"is not linked now" in await _text(world, run)
        assert asked > 1, "the first reader waits and asks again"
        monkeypatch.setattr(logbook, "AWAY_S", 1_000.0)
        for _ in range(3):
            asked = 0
            assert b"is not linked now" in await _text(world, run)
            assert asked == 1
        there.append(Spool(_has_all))
        assert await _text(world, run) == TEXT
        there.clear()
        monkeypatch.setattr(logbook, "AWAY_S", 0.1)
        asked = 0
        assert b"is not linked now" in await _text(world, run)
        assert asked > 1, "it had answered since: it is waited for again"


def test_that_an_agent_was_away_is_forgotten_after_some_seconds() -> None:
    absent = Absent()
    absent.note(7, 100.0)
    absent.note(7, 105.0)
    assert absent.known(7, 100.0 + REMEMBERED_S - 0.1)
    assert not absent.known(7, 100.0 + REMEMBERED_S)
    assert not absent.known(8, 100.0)
    absent.note(8, 200.0)
    absent.answered(8)
    assert not absent.known(8, 200.0)
