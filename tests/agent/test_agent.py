"""The whole agent: Python beside commands, its socket, its doorbell, what it costs when idle."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import stat
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from kit import run
from whole import Running, command

from headrace.codec.edn import Keyword, loads
from headrace.link.doorbell import DoorbellServer
from headrace.link.port import Doorbell
from headrace.link.records import Assignment, Hello, Pulse, PulseAnswer, Start, Welcome
from headrace.link.unix import UnixAgent
from headrace.model.changes import OutcomeKind
from headrace.model.errors import Refused


def python(run: int, target: str, args: bytes = b"{}") -> Assignment:
    return Assignment(run, 0, -1, 1, 1, 7, "python", "t", target=target, args=args)


def test_its_socket_is_for_its_own_user_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            path = Path(agent.settings.socket)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    run(main())


class OverSocket(http.client.HTTPConnection):
    """Somebody else's HTTP client: the standard library's, which sends paths as they are."""

    def __init__(self, path: str) -> None:
        super().__init__("agent", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    agent: Running, path: str, body: str | None = None, *, media: str = "application/json", method: str = ""
) -> Awaitable[tuple[int, bytes]]:
    """One request of a connection of its own, from a thread: status and body."""

    def work() -> tuple[int, bytes]:
        headers = {"accept": media} | ({"content-type": media} if body is not None else {})
        with contextlib.closing(OverSocket(agent.settings.socket)) as connection:
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    return asyncio.to_thread(work)


def test_it_answers_json_to_any_client(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path, labels={"zone": "a"}) as agent:
            await agent.one(command(1, "true"))

            async def told(path: str, body: str | None = None, **more: Any) -> tuple[int, Any]:
                status, text = await ask(agent, path, body, **more)
                return status, json.loads(text) if text else None

            status, spec = await told("/spec")
            assert (status, spec["slots"], spec["labels"]) == (200, 4, {"zone": "a"})
            status, feed = await told("/outcomes?after=0&wait=1s&link=1")
            assert (status, feed["outcomes"][0]["kind"]) == (200, "succeeded")
            start = json.dumps({"link_epoch": 1, "attempts": [{"run": 2}]})
            assert (await told("/attempts", start))[0] == 422
            assert (await told("/attempts", "{"))[0] == 400
            assert (await told("/outcomes?after=-1&link=1"))[0] == 400
            assert (await told("/blobs/../../etc/passwd"))[0] == 404
            assert (await told("/blobs/..%2f..%2fetc%2fpasswd"))[0] in {400, 404}
            assert await told("/packages") == (200, {"packages": []})
            status, held = await told("/attempts/1.0.-1.1")
            assert (status, held["run"], held["epoch"]) == (200, 1, 1)
            assert (await told("/attempts/2.0.-1.1"))[0] == 404
            assert (await told("/attempts/../x"))[0] in {400, 404}
            status, described = await told("/api/openapi.json")
            assert (status, described["openapi"]) == (200, "3.1.0")
            assert {"/metrics", "/spec", "/attempts/{name}"} <= described["paths"].keys()
            status, problem = await told("/join", method="POST")
            assert (status, problem["detail"][:17]) == (501, "not available yet")
            assert b"headrace_agent_slots 4\n" in (await ask(agent, "/metrics", media="*/*"))[1]
            status, problem = await told("/nothing")
            assert (status, problem["status"]) == (404, 404)

    run(main())


def test_it_answers_edn_and_takes_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path, labels={"zone": "a"}) as agent:
            await agent.one(command(1, "true"))

            async def told(path: str, body: str | None = None) -> Any:
                text = (await ask(agent, path, body, media="application/edn"))[1]
                return loads(text) if text else None

            spec = await told("/spec")
            assert (spec[Keyword("slots")], spec[Keyword("labels")]) == (4, {"zone": "a"})
            (ended,) = (await told("/outcomes?after=0&wait=1s&link=1"))[Keyword("outcomes")]
            assert (ended[Keyword("attempt/run")], ended[Keyword("attempt/kind")]) == (1, Keyword("succeeded"))
            assert (await told("/attempts"))[Keyword("boot")]
            assert (await told("/nothing"))[Keyword("status")] == 404
            unfit = await told("/attempts", "{:link_epoch 1 :attempts [{:attempt/run 2}]}")
            assert unfit[Keyword("status")] == 422
            assert (await told("/attempts", "{:link_epoch 1 :link_epoch 1}"))[Keyword("status")] == 400
            assert await told("/attempts/stop", "{:link_epoch 1 :attempts [[[1 0 -1 1] 10]]}") is None

    run(main())


def test_a_batch_over_the_limit_is_refused_and_the_agent_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            answer = await agent.calls._http.request("POST", "/attempts", b"x" * (17 * 1024 * 1024), timeout=30)
            assert answer.status == 413
            assert (await agent.one(command(1, "true"))).kind is OutcomeKind.succeeded

    run(main())


async def control_with(bells: asyncio.Queue[Hello], path: Path, link_epoch: list[int]) -> DoorbellServer:
    async def session(bell: Doorbell) -> None:
        hello = await bell.recv()
        assert isinstance(hello, Hello)
        link_epoch[0] += 1
        await bell.send(Welcome(1, link_epoch[0]))
        bells.put_nowait(hello)
        while True:
            pulse = await bell.recv()
            assert isinstance(pulse, Pulse)
            await bell.send(PulseAnswer(pulse.n))

    server = DoorbellServer(session)
    await server.open(path)
    return server


def test_it_greets_control_whenever_control_comes_back_and_refuses_the_older_link(tmp_path: Path) -> None:
    async def main() -> None:
        bells: asyncio.Queue[Hello] = asyncio.Queue()
        link_epoch = [4]
        path = tmp_path / "control.sock"
        async with Running(tmp_path / "agent", control=str(path)) as agent:
            boots = set()
            for expected in (5, 6):
                server = await control_with(bells, path, link_epoch)
                hello = await bells.get()
                boots.add(hello.boot)
                calls = UnixAgent(hello.address.removeprefix("unix:"))
                assert (await calls.start(Start(expected, [command(expected, "true")]))).refused == []
                with pytest.raises(Refused):
                    await calls.start(Start(expected - 1, [command(99, "true")]))
                await calls.close()
                await server.close()
            assert boots == {agent.agent.boot}
            feed = await agent.calls.outcomes(0, 5_000, 6)
            assert {o.run for o in feed.outcomes} <= {5, 6}

    run(main())


def test_python_and_commands_run_side_by_side(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path, python=True) as agent:
            await agent.start(command(1, "true"), python(2, "no_such_module_anywhere:f"))
            found = await agent.outcomes(2)
            assert found[1].kind is OutcomeKind.succeeded
            assert found[2].kind is OutcomeKind.failed
            assert b"no_such_module_anywhere" in (found[2].error or b"")
            assert (await agent.one(command(3, "true"))).kind is OutcomeKind.succeeded

    run(main())
