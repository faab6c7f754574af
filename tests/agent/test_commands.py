"""Commands and scripts on a real agent over its real socket."""
# what is awaited are processes, and they set no events

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from pathlib import Path

import msgspec
import pytest
from kit import run
from whole import Running, command, marked, sh

from headrace.agent.spool import decode_inline
from headrace.link.port import LogPage
from headrace.link.records import AttemptName, InputFile, Outcome, StopOrder
from headrace.model.changes import OutcomeKind
from headrace.model.errors import Invalid, NotFound

BOTH = pytest.mark.parametrize("cgroups", [True, False], ids=["cgroup", "subreaper"])


def text(o: Outcome, stream: str = "stdout") -> str:
    assert o.seal is not None
    return b"".join(r.data for r in decode_inline(o.seal.inline) if r.stream == stream).decode()


def test_a_command_is_run_and_everything_it_said_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            script = (
                'echo out; echo err >&2; echo "{\\"a\\": [1, 2]}" > $HEADRACE_RESULT; echo fine > $HEADRACE_EXIT_STATUS'
            )
            o = await agent.one(sh(1, script))
            assert (o.kind, o.exit_code, o.exit_status, o.signal) == (OutcomeKind.succeeded, 0, "fine", None)
            assert msgspec.json.decode(o.result or b"") == {"a": [1, 2]}
            assert (text(o), text(o, "stderr")) == ("out\n", "err\n")
            assert o.started_at <= o.ended_at

    run(main())


@pytest.mark.parametrize(
    ("script", "kind", "status", "code", "signal"),
    [
        ("exit 3", OutcomeKind.failed, "3", 3, None),
        ("kill -9 $$", OutcomeKind.failed, "signal:9", None, 9),
        ("false; true", OutcomeKind.failed, "1", 1, None),
        ("echo $UNSET_THING", OutcomeKind.failed, "2", 2, None),
        ("echo not json > $HEADRACE_RESULT", OutcomeKind.failed, "0", 0, None),
        ("ln -s /etc/passwd $HEADRACE_RESULT", OutcomeKind.succeeded, "0", 0, None),
        ("mkfifo $HEADRACE_RESULT", OutcomeKind.succeeded, "0", 0, None),
        ("mkdir $HEADRACE_RESULT $HEADRACE_EXIT_STATUS", OutcomeKind.succeeded, "0", 0, None),
        ("echo odd > $HEADRACE_EXIT_STATUS; exit 4", OutcomeKind.failed, "odd", 4, None),
    ],
)
def test_how_a_script_ended_is_told_apart(
    tmp_path: Path, script: str, kind: OutcomeKind, status: str, code: int | None, signal: int | None
) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            o = await agent.one(sh(1, script))
            assert (o.kind, o.exit_status, o.exit_code, o.signal, o.result) == (kind, status, code, signal, None)
            assert (o.error is None) == (kind is OutcomeKind.succeeded)

    run(main())


@pytest.mark.parametrize("argv", [("no-such-program-here",), ("/etc/passwd",), ("/",), ("",)])
def test_what_cannot_be_started_fails_and_says_why(tmp_path: Path, argv: tuple[str, ...]) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            o = await agent.one(command(1, *argv))
            assert o.kind is OutcomeKind.failed
            assert "cannot start" in (o.reason or "")
            assert (await agent.one(command(2, "true"))).kind is OutcomeKind.succeeded

    run(main())


def test_the_environment_is_an_allow_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "x")
    monkeypatch.setenv("PASSED_ON", "y")

    async def main() -> None:
        async with Running(tmp_path, pass_env=("PASSED_ON",)) as agent:
            params = b'{"day": "2026-03-29", "n": 5, "deep-er": {"a": [1]}}'
            more = {"job": "j", "token": "tok", "url": "http://u", "env": {"MY": "own", "HEADRACE_RUN": "666"}}
            o = await agent.one(
                sh(
                    7,
                    "env; test $HEADRACE_TOKEN = tok && echo GIVEN=1; cat $HEADRACE_PARAMS; pwd; ls -A",
                    params=params,
                    epoch=9,
                    **more,
                )
            )
            lines = text(o).splitlines()
            env = dict(line.split("=", 1) for line in lines if "=" in line)
            assert "SECRET_OF_THE_AGENT" not in env
            assert (env["PASSED_ON"], env["MY"], env["HEADRACE_RUN"]) == ("y", "own", "7")
            assert (env["HEADRACE_TASK"], env["HEADRACE_ATTEMPT"], env["HEADRACE_EPOCH"]) == ("t", "1", "9")
            assert (env["HEADRACE_JOB"], env["HEADRACE_TOKEN"], env["HEADRACE_URL"]) == ("j", "***", "http://u")
            assert env.pop("GIVEN") == "1"
            assert env["HEADRACE_PARAM_DAY"] == "2026-03-29"
            assert (env["HEADRACE_PARAM_N"], env["HEADRACE_PARAM_DEEP_ER"]) == ("5", '{"a":[1]}')
            assert params.decode() in text(o)
            allowed = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "PWD", "OLDPWD", "SHLVL", "_", "PASSED_ON", "MY"}
            assert {n for n in env if not n.startswith("HEADRACE_")} <= allowed

    run(main())


def test_each_attempt_has_an_empty_folder_of_its_own_which_goes_afterwards(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path, slots=1) as agent:
            dirty = (
                "ls -A; pwd; mkdir -p a/b; touch a/b/c; chmod 000 a; echo x > $HEADRACE_INPUTS/left; echo y > ../top"
            )
            for n in range(1, 120):
                o = await agent.one(sh(n, dirty if n % 3 == 0 else "ls -A . .. $HEADRACE_INPUTS $HEADRACE_OUTPUTS"))
                assert o.kind is OutcomeKind.succeeded, text(o, "stderr")
                for left in ("a\n", "left", "top", "result"):
                    assert left not in text(o), f"attempt {n} sees what another left"
            o = await agent.one(sh(500, "pwd"))
            assert stat.S_IMODE((tmp_path / "attempts").stat().st_mode) == 0o700
            assert len(list((tmp_path / "attempts").iterdir())) < 80
            assert text(o).startswith(str(tmp_path))

    run(main())


def test_outputs_become_artifacts_and_links_do_not_lead_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            script = (
                "mkdir -p $HEADRACE_OUTPUTS/sub deep/er; echo 1 > $HEADRACE_OUTPUTS/sub/x; echo 2 > a.csv; echo 3 > deep/er/b.csv;"
                "echo 4 > deep/no.txt; ln -s /etc/passwd c.csv; ln -s /etc $HEADRACE_OUTPUTS/etc"
            )
            o = await agent.one(sh(1, script, outputs=("**/*.csv",)))
            assert [(a.path, a.size) for a in o.artifacts] == [("a.csv", 2), ("deep/er/b.csv", 2), ("sub/x", 2)]
            first = o.artifacts[0]
            assert first.digest == hashlib.sha256(b"2\n").hexdigest()
            assert b"".join([p async for p in agent.calls.fetch(first.digest)]) == b"2\n"
            await agent.calls.outcomes(o.m, 0, 1)
            with pytest.raises(NotFound):
                [p async for p in agent.calls.fetch(first.digest)]

    run(main())


def test_a_file_whose_name_is_no_text_fails_its_own_attempt_and_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            o = await agent.one(sh(1, "touch \"$HEADRACE_OUTPUTS/$(printf 'bad\\377')\""))
            assert o.kind is OutcomeKind.failed
            assert "not UTF-8" in (o.reason or "")
            assert (await agent.one(command(2, "true"))).kind is OutcomeKind.succeeded

    run(main())


def test_inputs_are_put_in_place_by_digest_and_a_missing_one_refuses_the_attempt(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            data = b"data" * 500_000
            digest = hashlib.sha256(data).hexdigest()
            with pytest.raises(Invalid):
                await agent.calls.put_blob(digest, b"other")
            await agent.calls.put_blob(digest, data)
            assert await agent.calls.has_blobs([digest, "0" * 64]) == [digest]
            inputs = (InputFile("load/3/f.bin", digest, len(data)),)
            o = await agent.one(
                sh(
                    1,
                    "sha256sum < $HEADRACE_INPUTS/load/3/f.bin; echo z > $HEADRACE_INPUTS/load/3/f.bin",
                    inputs=inputs,
                )
            )
            assert text(o).startswith(digest)
            assert text(await agent.one(sh(2, "sha256sum < $HEADRACE_INPUTS/load/3/f.bin", inputs=inputs))).startswith(
                digest
            )
            for bad in (InputFile("a", "0" * 64, 1), InputFile("../../a", digest, 1), InputFile("/etc/a", digest, 1)):
                o = await agent.one(sh(3 + len(bad.path), "true", inputs=(bad,)))
                assert o.kind is OutcomeKind.refused

    run(main())


def test_an_input_that_another_outcome_brought_stays_while_an_attempt_waits_for_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path / "agent", slots=1) as agent:
            (file,) = (await agent.one(sh(1, "echo 7 > $HEADRACE_OUTPUTS/n"))).artifacts
            go = tmp_path / "go"
            os.mkfifo(go)
            inputs = (InputFile("n", file.digest, file.size),)
            await agent.start(sh(2, f"cat {go}"), sh(3, "cat $HEADRACE_INPUTS/n", inputs=inputs))
            await agent.calls.outcomes(1, 0, 1)  # acknowledges the outcome that named it
            await asyncio.to_thread(go.write_text, "")
            told = await agent.outcomes(2)
            assert (told[3].kind, text(told[3])) == (OutcomeKind.succeeded, "7\n")
            await agent.calls.outcomes(3, 0, 1)
            assert await agent.calls.has_blobs([file.digest]) == []

    run(main())


async def first_page(agent: Running, name: AttemptName) -> LogPage:
    """Its log's first page; there is no log until it has printed something."""
    while True:
        try:
            return await agent.calls.logs(name, 0, 100, 20_000)
        except NotFound:
            continue


def test_a_large_log_is_served_live_and_afterwards_until_it_is_stored(tmp_path: Path) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            os.mkfifo(tmp_path / "go")
            a = sh(1, f"echo first; read x < {tmp_path}/go; seq 1 5000; echo last >&2")
            await agent.start(a)
            page = await first_page(agent, a.name)
            assert page.records[0].data == b"first\n"
            assert not page.sealed
            await asyncio.to_thread((tmp_path / "go").write_text, "x\n")
            o = (await agent.outcomes(1))[1]
            assert o.seal is not None
            assert o.seal.inline == b""
            found: list[bytes] = []
            after = 0
            while after < o.seal.last:
                page = await agent.calls.logs(a.name, after, 7, 0)
                found += [r.data for r in page.records if r.stream == "stdout"]
                after = page.records[-1].seq
            assert b"".join(found).decode().split() == ["first", *map(str, range(1, 5001))]
            await agent.calls.drop_logs([a.name])
            with pytest.raises(NotFound):
                await agent.calls.logs(a.name, 0, 1, 0)
            assert list((tmp_path / "spool").iterdir()) == []

    run(main())


def rss_mib() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


@pytest.mark.parametrize("mib", [96, pytest.param(2048, marks=pytest.mark.tail)])
def test_a_flood_without_newlines_is_cut_in_the_middle_and_costs_no_memory(tmp_path: Path, mib: int) -> None:
    async def main() -> None:
        async with Running(tmp_path) as agent:
            before = rss_mib()
            await agent.start(command(1, "head", "-c", str(mib << 20), "/dev/zero"))
            most = before
            watching = asyncio.ensure_future(agent.outcomes(1))
            while not watching.done():
                await asyncio.wait((watching,), timeout=0.05)
                most = max(most, rss_mib())
            o = watching.result()[1]
            assert o.kind is OutcomeKind.succeeded
            assert o.seal is not None
            (stream,) = o.seal.streams
            assert stream.written == mib << 20
            assert 32 << 20 <= stream.kept <= 70 << 20
            assert f"{stream.written - stream.kept} bytes of stdout" in o.seal.cut
            assert most - before < 60

    run(main())


CRUEL = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for depth in range(2):
    if os.fork():
        break
    os.setsid()
    if os.fork():
        os._exit(0)
if sys.argv[1] == "bare" and depth:
    os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600) # " + sys.argv[2]], {})
print(os.getpid(), flush=True)
time.sleep(600)  # the work itself
"""


async def cruel(tmp_path: Path, count: int, *, cgroups: bool) -> None:
    mark = f"cruel-{os.getpid()}-{cgroups}-{count}"
    async with Running(tmp_path, slots=25, cgroups=cgroups) as agent:
        jobs = [command(n, sys.executable, "-S", "-c", CRUEL, "kept", mark) for n in range(1, count + 1)]
        ended: dict[int, Outcome] = {}
        for begin in range(0, count, 25):
            batch = jobs[begin : begin + 25]
            await agent.start(*batch)
            while len(marked(mark)) < 3 * len(batch):
                await asyncio.sleep(0.02)  # a poll: nothing tells of it
            await agent.calls.stop(StopOrder(1, [(a.name, 50) for a in batch]))
            ended |= await agent.outcomes(len(batch))
            assert marked(mark) == [], "told as over, yet something of it lives"
        assert {o.kind for o in ended.values()} == {OutcomeKind.canceled}
        assert len(ended) == count


@BOTH
def test_daemons_that_ignore_sigterm_and_hold_the_output_are_all_gone_after_a_cancel(
    tmp_path: Path, cgroups: bool
) -> None:
    asyncio.run(cruel(tmp_path, 50, cgroups=cgroups))


@pytest.mark.tail
@BOTH
def test_a_thousand_of_them_as_well(tmp_path: Path, cgroups: bool) -> None:
    asyncio.run(cruel(tmp_path, 1000, cgroups=cgroups))


@BOTH
def test_what_a_finished_command_left_behind_is_killed_before_it_counts_as_over(tmp_path: Path, cgroups: bool) -> None:
    async def main() -> None:
        mark = f"left-{os.getpid()}-{cgroups}"
        async with Running(tmp_path, cgroups=cgroups) as agent:
            leave = f"(setsid sh -c 'trap \"\" TERM; sleep 600; : {mark}' &) ; sleep 600 & echo done"
            o = await agent.one(sh(1, leave))
            assert (o.kind, text(o)) == (OutcomeKind.succeeded, "done\n")
            assert marked(mark) == []
            assert (await agent.one(sh(2, "echo next"))).kind is OutcomeKind.succeeded

    run(main())


def test_a_daemon_that_washed_its_environment_and_left_its_session_does_not_escape_its_cgroup(tmp_path: Path) -> None:
    async def main() -> None:
        mark = f"washed-{os.getpid()}"
        async with Running(tmp_path) as agent:
            if not agent.agent._executors["command"].leaves.path:
                pytest.skip("no cgroup v2 to write to")
            a = command(1, sys.executable, "-S", "-c", CRUEL, "bare", mark)
            await agent.start(a)
            while len(marked(mark)) < 3:
                await asyncio.sleep(0.02)  # a poll: nothing tells of it
            await agent.calls.stop(StopOrder(1, [(a.name, 0)]))
            assert (await agent.outcomes(1))[1].kind is OutcomeKind.canceled
            assert marked(mark) == []

    run(main())


def test_one_attempts_end_leaves_the_others_alone(tmp_path: Path) -> None:
    async def main() -> None:
        mark = f"others-{os.getpid()}"
        async with Running(tmp_path, cgroups=False) as agent:
            await agent.start(sh(1, "(setsid sleep 600 &); sleep 600", env={"WHO": mark}))
            while len(marked(mark)) < 3:
                await asyncio.sleep(0.01)  # a poll: nothing tells of it
            before = marked(mark)
            for n in range(2, 12):
                await agent.one(sh(n, "(setsid sleep 600 &) ; true"))
            assert marked(mark) == before

    run(main())
