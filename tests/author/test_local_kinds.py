"""Child jobs, waits, requests, ``delay`` and ``repeat`` in a job that is called in this process; and the hooks' errors."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.author.test_web import server  # noqa: F401  # reason: a fixture

from headrace import Fail, RunFailed, Skip, Task, http, job, run_job, task, wait
from headrace.model.errors import NotAvailable


@task
def double(n: int) -> int:
    if n == 13:
        raise Fail("not thirteen", exit_status="UNLUCKY")
    return 2 * n


@job
def doubled(n: int) -> int:
    return double(n)


def test_a_child_job_runs_within_its_parent_and_gives_its_result():
    @job
    def outer(n: int) -> int:
        return double(doubled(n))

    assert outer(3) == 12
    (child, work) = outer.definition().tasks
    assert (child.name, child.job is not None, work.with_) == ("doubled", True, {"n": "${tasks.doubled.result}"})


def test_a_failed_child_fails_its_task_and_the_cause_stays_its_own():
    @job
    def outer(n: int) -> int:
        return doubled(n)

    with pytest.raises(RunFailed, match="task doubled failed: job doubled failed: task double failed") as caught:
        outer(13)
    assert isinstance(caught.value.__cause__, RunFailed)
    assert isinstance(caught.value.__cause__.__cause__, Fail)


def test_a_failure_of_a_child_may_be_handled_by_its_exit_status():
    said = []

    @task
    def handle() -> str:
        said.append("handled")
        return "handled"

    @job
    def outer(n: int) -> None:
        child = doubled.options(allow_failure=True)(n)
        handle.after(child, state="failed", exit="UNLUCKY")()

    outer(13)
    assert said == ["handled"]


def test_a_child_of_a_coroutine_runs_in_the_same_loop():
    @task
    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    @job
    async def inner(n: int) -> int:
        return await later(n)

    @job
    async def outer(n: int) -> int:
        return await later(await inner(n))

    assert asyncio.run(outer(1)) == 3

    @job
    def plain(n: int) -> int:
        return double(inner(n))

    assert plain(1) == 4


def test_jobs_that_call_themselves_end():
    @job
    def endless(n: int) -> int:
        return endless(n)

    with pytest.raises(RunFailed) as caught:
        endless(1)
    depth, error = 0, caught.value
    while isinstance(error.__cause__, RunFailed):
        depth, error = depth + 1, error.__cause__
    assert depth == 32
    assert "nest at most 32 deep" in str(error)


def test_waits_delays_and_repeats_are_not_slept():
    times = []

    @task(delay="1h", repeat={"times": 3, "delay": "1h"})
    def count() -> int:
        times.append(1)
        return len(times)

    @job
    def outer() -> int:
        return count.after(wait("10d"))()

    assert outer() == 3
    assert outer.definition().tasks[0].wait is not None


def test_a_request_is_really_made(server):  # noqa: F811  # reason: the fixture
    @job
    def outer(url: str) -> str:
        return http(f"{url}/a")["body"]["path"]

    assert outer(server.url) == "/a"

    @job
    def asks(url: str) -> None:
        http(url, name="asks", retries=0)

    with pytest.raises(RunFailed, match="answered 503"):
        asks(f"{server.url}/status/503")


def test_a_saved_job_is_nowhere_to_be_found_here():
    @job
    def outer() -> None:
        run_job("elsewhere", {"n": 1})

    with pytest.raises(NotAvailable, match="runs a saved job"):
        outer()


def test_an_error_in_a_hook_is_logged_and_changes_nothing(caplog):
    class Odd(Task):
        def run(self, ctx, how: str) -> str:
            if how == "fail":
                raise ValueError(how)
            if how == "skip":
                raise Skip("nothing")
            return how

        def on_status_change(self, old, new):
            raise SystemExit(new)

        def on_finished(self, result):
            raise KeyError(result)

        def on_exception(self, error):
            raise OSError(str(error))

    @job
    def odd(how: str) -> str:
        return Odd()(how)

    with caplog.at_level(logging.ERROR):
        assert odd("fine") == "fine"
        with pytest.raises(RunFailed, match="fail") as caught:
            odd("fail")
        assert isinstance(caught.value.__cause__, ValueError)
        assert odd("skip") is None
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3 + 3 + 2
    assert all("raised; the outcome stays" in text for text in told)


def test_hooks_of_a_coroutine_are_told_its_result():
    told = []

    class Later(Task):
        async def run(self, ctx, n: int) -> int:
            return n

        def on_finished(self, result):
            told.append(result)

    @job
    def later(n: int) -> int:
        return Later()(n)

    assert (later(5), told) == (5, [5])
