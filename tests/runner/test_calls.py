"""Calls made by a real runner, as an agent sees them: ends, results, cancellation, logs, and what is no task."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from runner_kit import Child, Done, Log, Ok, Started

CODE = """
import asyncio, logging, os, subprocess, sys, time, warnings
from datetime import date
from headrace import Canceled, Context, Fail, Retry, Skip, Task, task

@task
def add(a: int, day: date = date(2026, 1, 1)) -> list[object]: return [a, day.isoformat()]
@task
def nothing() -> None: ...
@task
async def later(a: int) -> int:
    await asyncio.sleep(0)
    return a
@task
def variables() -> dict[str, str]: return {k: v for k, v in os.environ.items() if k.startswith("HEADRACE_")}
@task
def writes(result: str, status: str) -> object:
    if result: open(os.environ["HEADRACE_RESULT"], "w").write(result)
    if status: open(os.environ["HEADRACE_EXIT_STATUS"], "w").write(status)
@task
def returns_and_writes(ctx: Context) -> int:
    open(os.environ["HEADRACE_RESULT"], "w").write("2")
    open(os.environ["HEADRACE_EXIT_STATUS"], "w").write("WRITTEN")
    ctx.exit_status = "SAID"
    return 1
@task
def fails() -> None: raise Fail("no data", exit_status="NO_DATA")
@task
def retries() -> None: raise Retry("later", after="30s")
@task
def skips() -> None: raise Skip("nothing to do")
@task
def leaves(code: int) -> None: sys.exit(code)
@task
def sleeps() -> None: time.sleep(60)  # the work itself
@task
async def waits() -> None: await asyncio.sleep(60)  # the work itself
@task
def many(n: int) -> object: return (i for i in range(n))
@task
def odd() -> object: return object()
@task
def progresses(ctx: Context) -> None:
    ctx.progress(1, 2, "half")
    ctx.progress(2, 2, "done")
@task
def says() -> None:
    print("one")
    os.write(1, b"two\\n")
    subprocess.run(["echo", "three"])
    print("four", file=sys.stderr)
    logging.getLogger("mine").warning("five %d", 5)
    logging.getLogger("mine").debug("never")
    warnings.warn("six")
    print("seven", end="")
@task
def dies() -> None:
    print("last words")
    os.kill(os.getpid(), 9)
@task
def forks(returns: bool) -> str:
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        print("from the copy", flush=True)
        os.write(say, b"x")
        if returns: return "copy"
        time.sleep(60)  # the work itself
    os.read(ready, 1)
    if not returns: os.kill(pid, 15)
    return f"original, {os.waitpid(pid, 0)[1]}"
@task
def closes() -> None:
    os.close(1)
    os.close(2)
    print("still heard")
@task
def surrogates() -> None: raise Fail("half a pair: \\ud800", exit_status="\\ud800" * 2000)
@task
def numbers(ctx: Context) -> None: ctx.exit_status = 7
class Doubles(Task):
    def run(self, ctx: Context, n: int) -> int: return 2 * n
    def on_status_change(self, old: str, new: str) -> None: print(old, new)
    def on_finished(self, result: object) -> None: print("finished", result)
    def on_exception(self, error: BaseException) -> None: print("raised", type(error).__name__)
def plain() -> None: ...
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with Child(tmp_path, CODE) as made:
        yield made


def test_a_frame_of_calls_is_made_in_order_and_arguments_are_what_the_annotations_say(child: Child) -> None:
    ids = child.give(
        ("add", {"a": 1, "day": "2026-03-29"}), ("nothing", {}), ("later", {"a": 3}), ("Doubles", {"n": 4})
    )
    ends = [child.until(id) for id in ids]
    assert [msgspec.json.decode(e.result) for e in ends] == [[1, "2026-03-29"], None, 3, 8]
    assert all(isinstance(e, Ok) for e in ends)
    assert [e.started_at for e in ends] == sorted(e.started_at for e in ends)
    assert "".join(t[1] for t in child.logs(ids[3])) == "dispatched running\nfinished 8\nrunning succeeded\n"


def test_a_call_sees_the_variables_of_the_contract(child: Child) -> None:
    params = b'{"day":"2026-03-29","n":2}'
    seen = child.value("variables", params=params, token="tok", url="http://x")
    assert {
        "HEADRACE_" + n
        for n in [
            "RUN",
            "TASK",
            "ATTEMPT",
            "EPOCH",
            "JOB",
            "OUTPUTS",
            "INPUTS",
            "RESULT",
            "EXIT_STATUS",
            "PARAMS",
            "URL",
            "TOKEN",
        ]
    } <= set(seen)
    assert (seen["HEADRACE_PARAM_DAY"], seen["HEADRACE_PARAM_N"]) == ("2026-03-29", "2")
    assert Path(seen["HEADRACE_PARAMS"]).read_bytes() == params


def test_a_call_that_is_sent_without_parameters_has_those_of_the_one_before_also_when_that_was_never_made(
    child: Child,
) -> None:
    (held,) = child.give(("sleeps", {}))
    child.until(held, Started)
    (never,) = child.give(("variables", {}), params=b'{"n":2}')
    (same,) = child.give(("variables", {}), params=b"")
    child.ask(never)
    child.ask(held)
    child.process.send_signal(signal.SIGTERM)
    assert [child.until(id).kind for id in (held, never)] == ["canceled", "canceled"]
    seen = msgspec.json.decode(child.until(same).result)
    assert (seen["HEADRACE_PARAM_N"], Path(seen["HEADRACE_PARAMS"]).read_bytes()) == ("2", b'{"n":2}')


def test_what_was_written_counts_where_the_call_said_nothing(child: Child) -> None:
    end = child.call("writes", {"result": '{"n": 1}', "status": "EMPTY"})
    assert isinstance(end, Done)
    assert (end.kind, end.result, end.exit_status) == ("succeeded", b'{"n": 1}', "EMPTY")
    said = child.call("returns_and_writes")
    assert isinstance(said, Done)
    assert (said.result, said.exit_status) == (b"1", "SAID")
    bad = child.call("writes", {"result": "{", "status": ""})
    assert isinstance(bad, Done)
    assert (bad.kind, bad.error_types[0]) == ("failed", "InvalidResult")
    assert isinstance(child.call("nothing"), Ok)


@pytest.mark.parametrize(
    ("target", "kind", "status", "stop", "after", "skip"),
    [
        ("fails", "failed", "NO_DATA", True, None, False),
        ("retries", "failed", None, False, 30_000, False),
        ("skips", "succeeded", None, False, None, True),
    ],
)
def test_the_errors_of_ours_say_what_is_to_happen(
    child: Child, target: str, kind: str, status: str | None, stop: bool, after: int | None, skip: bool
) -> None:
    end = child.call(target)
    assert isinstance(end, Done)
    assert (end.kind, end.exit_status, end.stop_retry, end.retry_after, end.skip) == (kind, status, stop, after, skip)


def test_leaving_with_an_exit_code_ends_the_call_and_not_the_runner(child: Child) -> None:
    assert isinstance(child.call("leaves", {"code": 0}), Ok)
    end = child.call("leaves", {"code": 3})
    assert isinstance(end, Done)
    assert (end.kind, end.error_types[0]) == ("failed", "SystemExit")
    assert child.value("add", {"a": 1})[0] == 1


@pytest.mark.parametrize("target", ["os:system", "flow:plain", "flow:none", "flow", ":x", "flow:Task", "nowhere:x"])
def test_only_tasks_are_run(child: Child, target: str) -> None:
    end = child.call(target if ":" in target else "flow:", {"command": "true"})
    assert isinstance(end, Done)
    assert end.kind == "failed"
    if not target.startswith("nowhere"):
        assert end.error_types[0] == "NotATask"
        assert end.stop_retry


@pytest.mark.parametrize("target", ["sleeps", "waits"])
def test_a_call_that_is_asked_to_end_ends_as_canceled_and_the_next_goes_on(child: Child, target: str) -> None:
    (id,) = child.give((target, {}))
    child.until(id, Started)
    child.ask(id)
    child.process.send_signal(signal.SIGTERM)
    end = child.until(id)
    assert end.kind == "canceled" if target == "sleeps" else end.kind in {"canceled", "failed"}
    assert child.value("add", {"a": 1})[0] == 1


def test_a_call_that_was_asked_before_it_began_does_not_do_its_work(child: Child) -> None:
    first, second = child.give(("sleeps", {}), ("says", {}))
    child.until(first, Started)
    child.ask(second)
    child.ask(first)
    child.process.send_signal(signal.SIGTERM)
    assert child.until(first).kind == "canceled"
    assert child.until(second).kind == "canceled"
    assert child.logs(second) == []


def test_a_generator_is_stored_item_by_item_and_a_large_result_in_a_file(child: Child) -> None:
    few = child.call("many", {"n": 3})
    assert isinstance(few, Done)
    assert (few.result, few.result_lines, few.result_count) == (b"0\n1\n2\n", True, 3)
    lots = child.call("many", {"n": 100_000})
    assert isinstance(lots, Done)
    assert (lots.result, lots.result_lines, lots.result_count) == (None, True, 100_000)
    assert Path(lots.result_path).read_bytes() == "".join(f"{i}\n" for i in range(100_000)).encode()


def test_a_value_that_nobody_can_carry_fails_with_a_sentence(child: Child) -> None:
    end = child.call("odd")
    assert isinstance(end, Done)
    assert end.kind == "failed"
    assert end.error is not None
    assert "object" in msgspec.json.decode(end.error)["message"]


def test_the_newest_progress_is_told_with_the_end(child: Child) -> None:
    end = child.call("progresses")
    assert isinstance(end, Done)
    assert msgspec.json.decode(end.progress) == {"done": 2, "total": 2, "message": "done"}


def test_all_that_a_call_says_is_captured_in_order_with_level_and_logger(child: Child) -> None:
    (id,) = child.give(("says", {}))
    child.until(id)
    logs = child.logs(id)
    out = "".join(text for stream, text, _, _ in logs if stream == "stdout")
    assert out == "one\ntwo\nthree\nseven"
    assert "".join(text for stream, text, _, _ in logs if stream == "stderr") == "four\n"
    structured = [(text, level, logger) for stream, text, level, logger in logs if stream == "log"]
    assert structured[0] == ("five 5\n", "WARNING", "mine")
    assert structured[1][1:] == ("WARNING", "py.warnings")
    assert "six" in structured[1][0]
    assert len(structured) == 2


def test_a_runner_that_dies_leaves_its_last_words_and_finished_calls(child: Child) -> None:
    first, second, third = child.give(("add", {"a": 1}), ("dies", {}), ("nothing", {}))
    making, unsent = child.left()
    everything = [*child.told, *unsent]
    assert making == second
    assert [m.result for m in everything if m.id == first and isinstance(m, Ok)] == [b'[1,"2026-01-01"]']
    assert b"last words\n" in b"".join(m.data for m in everything if m.id == second and isinstance(m, Log))
    assert [m for m in everything if m.id == third] == []


def test_a_copy_that_a_call_forked_never_takes_the_place_of_the_runner(child: Child) -> None:
    ids = child.give(("forks", {"returns": True}), *[("add", {"a": n}) for n in range(5)])
    end = child.until(ids[0])
    assert (type(end), end.result) == (Ok, b'"original, 0"')
    assert [msgspec.json.decode(child.until(id).result)[0] for id in ids[1:]] == list(range(5))
    assert not [m for m in child.told if isinstance(m, (Ok, Done))]
    assert "".join(text for _, text, _, _ in child.logs(ids[0])) == "from the copy\n"


def test_a_copy_that_a_call_forked_ends_when_it_is_told_to(child: Child) -> None:
    assert child.value("forks", {"returns": False}) == f"original, {signal.SIGTERM.value}"


def test_a_call_that_closes_its_standard_descriptors_is_heard_and_the_next_is_made(child: Child) -> None:
    (id,) = child.give(("closes", {}))
    assert isinstance(child.until(id), Ok)
    assert child.logs(id) == [("stdout", "still heard\n", "", "")]
    assert child.value("add", {"a": 1})[0] == 1


def test_an_end_is_told_whatever_text_or_exit_status_it_has(child: Child) -> None:
    end = child.call("surrogates")
    assert isinstance(end, Done)
    assert end.exit_status is not None
    assert end.exit_status.startswith("\\ud800")
    assert end.error is not None
    assert msgspec.json.decode(end.error)["message"] == "half a pair: \\ud800"
    number = child.call("numbers")
    assert isinstance(number, Done)
    assert number.exit_status == "7"
