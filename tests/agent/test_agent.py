"""The whole agent: Python beside commands, its socket, its doorbell, what it costs when idle."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import subprocess
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


def test_it_answers_json_and_curl_too(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl")

    async def main() -> None:
        async with Running(tmp_path, labels={"zone": "a"}) as agent:
            await agent.one(command(1, "true"))

            async def curl(*more: str) -> Any:
                argv = ["curl", "-s", "-w", "\n%{http_code}", "--unix-socket", agent.settings.socket, *more]
                done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, check=True)
                body, _, status = done.stdout.decode().rpartition("\n")
                return int(status), json.loads(body) if body else None

            base = "http://agent"
            status, spec = await curl(f"{base}/spec")
            assert (status, spec["slots"], spec["labels"]) == (200, 4, {"zone": "a"})
            status, feed = await curl(f"{base}/outcomes?after=0&wait=1s&link=1")
            assert (status, feed["outcomes"][0]["kind"]) == (200, "succeeded")
            start = json.dumps({"link_epoch": 1, "attempts": [{"run": 2}]})
            assert (await curl("-H", "content-type: application/json", "-d", start, f"{base}/attempts"))[0] == 422
            assert (await curl("-H", "content-type: application/json", "-d", "{", f"{base}/attempts"))[0] == 400
            assert (await curl(f"{base}/outcomes?after=-1&link=1"))[0] == 400
            assert (await curl(f"{base}/blobs/../../etc/passwd", "--path-as-is"))[0] == 404
            assert (await curl(f"{base}/blobs/..%2f..%2fetc%2fpasswd", "--path-as-is"))[0] in {400, 404}
            assert await curl(f"{base}/packages") == (200, {"packages": []})
            status, held = await curl(f"{base}/attempts/1.0.-1.1")
            assert (status, held["run"], held["epoch"]) == (200, 1, 1)
            assert (await curl(f"{base}/attempts/2.0.-1.1"))[0] == 404
            assert (await curl(f"{base}/attempts/../x", "--path-as-is"))[0] in {400, 404}
            status, described = await curl(f"{base}/api/openapi.json")
            assert (status, described["openapi"]) == (200, "3.1.0")
            assert {"/metrics", "/spec", "/attempts/{name}"} <= described["paths"].keys()
            status, problem = await curl("-X", "POST", f"{base}/join")
            assert (status, problem["detail"][:17]) == (501, "not available yet")
            argv = ["curl", "-s", "--unix-socket", agent.settings.socket, f"{base}/metrics"]
            told = await asyncio.to_thread(subprocess.run, argv, capture_output=True, check=True)
            assert b"headrace_agent_slots 4\n" in told.stdout
            status, problem = await curl(f"{base}/nothing")
            assert (status, problem["status"]) == (404, 404)

    run(main())


def test_it_answers_edn_and_takes_it(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl")

    async def main() -> None:
        async with Running(tmp_path, labels={"zone": "a"}) as agent:
            await agent.one(command(1, "true"))

            async def curl(path: str, *more: str) -> Any:
                argv = ["curl", "-s", "--unix-socket", agent.settings.socket, "-H", "accept: application/edn", *more]
                done = await asyncio.to_thread(
                    subprocess.run, [*argv, f"http://agent{path}"], capture_output=True, check=True
                )
                return loads(done.stdout) if done.stdout else None

            spec = await curl("/spec")
            assert (spec[Keyword("slots")], spec[Keyword("labels")]) == (4, {"zone": "a"})
            (ended,) = (await curl("/outcomes?after=0&wait=1s&link=1"))[Keyword("outcomes")]
            assert (ended[Keyword("attempt/run")], ended[Keyword("attempt/kind")]) == (1, Keyword("succeeded"))
            assert (await curl("/attempts"))[Keyword("boot")]
            assert (await curl("/nothing"))[Keyword("status")] == 404
            as_edn = ("-H", "content-type: application/edn", "-d")
            assert (await curl("/attempts", *as_edn, "{:link_epoch 1 :attempts [{:attempt/run 2}]}"))[
                Keyword("status")
            ] == 422
            assert (await curl("/attempts", *as_edn, "{:link_epoch 1 :link_epoch 1}"))[Keyword("status")] == 400
            stop = "{:link_epoch 1 :attempts [[[1 0 -1 1] 10]]}"
            assert await curl("/attempts/stop", *as_edn, stop) is None

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
