"""A job that is called like a function runs whole, in this process, by the rules of core."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from headrace import Context, Fail, Retry, RunFailed, Skip, Task, command, current, first, job, task, when
from headrace.model.errors import Invalid, NotAvailable


@dataclass
class Row:
    region: str
    amount: int


@task
def regions(day: date) -> list[str]:
    return ["EU", "US", str(day.year)]


@task
def load(region: str, day: date) -> Row:
    return Row(region, len(region) * day.day)


@task
def publish(rows: list[Row], title: str) -> float:
    assert title == "Sales of 2026-03-09"
    return sum(row.amount for row in rows) / 2


@job(schedules=[{"cron": "0 1 * * *"}])
def report(day: date, owner: str = "ops") -> float:
    rows = load.map(regions(day), day=day)
    return publish(rows, title=f"Sales of {day}")


def test_a_called_job_runs_its_graph_here_and_gives_the_typed_result():
    assert report(date(2026, 3, 9)) == (2 + 2 + 4) * 9 / 2


def test_tasks_run_in_the_callers_own_thread_with_a_context():
    @task
    def where(ctx: Context) -> list[object]:
        return [threading.get_ident(), ctx.task, ctx.attempt, ctx.job, current() is ctx]

    @job
    def one() -> list[object]:
        return where()

    assert one() == [threading.get_ident(), "where", 1, "one", True]


def test_a_result_is_rebuilt_by_the_jobs_annotation():
    @task
    def span() -> timedelta:
        return timedelta(hours=1)

    @job
    def typed() -> timedelta:
        return span()

    @job
    def bare():
        span()

    assert typed() == timedelta(hours=1)
    assert bare() == "PT3600S"


def test_retries_do_not_wait():
    said = []

    @task(retries={"max": 3, "delay": "1h"})
    def flaky(ctx: Context) -> int:
        said.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("away")
        if ctx.attempt == 3:
            raise Retry("not yet", after="2h")
        return ctx.attempt

    @job
    def stubborn() -> int:
        return flaky()

    assert stubborn() == 4
    assert said == [1, 2, 3, 4]


def test_a_task_that_asks_for_another_attempt_for_ever_is_let_go_of():
    @task
    def never() -> None:
        raise Retry("not yet", after="1s")

    @job
    def hopes() -> None:
        never()

    with pytest.raises(RunFailed, match="never asked for another attempt 1000 times"):
        hopes()


def test_a_failed_run_raises_with_the_tasks_own_exception_as_its_cause():
    said = []

    @task(retries=5)
    def bad(n: int) -> int:
        said.append(n)
        raise Fail(f"no {n}", exit_status="NO_DATA")

    @task
    def never(n: int) -> None:
        said.append("never")

    @task
    def tell(word: str) -> None:
        said.append(word)

    @job
    def broken(n: int) -> None:
        result = bad(n)
        never(result)
        tell.after(result, state="failed", exit="NO_*")("told")

    with pytest.raises(RunFailed, match="job broken failed: task bad failed: no 7") as caught:
        broken(7)
    assert isinstance(caught.value.__cause__, Fail)
    assert (caught.value.state, caught.value.error) == ("failed", {"type": "Fail", "message": "no 7"})
    assert said == [7, "told"]


def test_conditions_skips_and_allowed_failures_are_those_of_a_server():
    @task
    def kind(name: str) -> str:
        return name.rsplit(".", 1)[-1]

    @task
    def pdf() -> str:
        return "pdf!"

    @task
    def other() -> str:
        raise Skip("nothing to do")

    @task(allow_failure=True)
    def shaky() -> str:
        raise OSError("disk")

    @job
    def choose(name: str) -> str:
        found = kind(name)
        shaky()
        with when(found == "pdf"):
            a = pdf()
        b = other()
        return first(a, b)

    assert choose("x.pdf") == "pdf!"
    assert choose("x.txt") is None


def test_on_failure_stop_begins_nothing_more_and_finally_runs():
    said = []

    @task
    def bad() -> None:
        raise ValueError("x")

    @task
    def more() -> None:
        said.append("more")

    @task(finally_=True)
    def tidy() -> None:
        said.append("tidy")

    @job(on_failure="stop")
    def stopping() -> None:
        bad()
        more()
        tidy()

    with pytest.raises(RunFailed, match="task bad failed: x"):
        stopping()
    assert said == ["tidy"]


def test_a_failed_instance_is_named_and_a_large_fan_out_runs():
    @task
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @task
    def check(n: int, bad: int) -> int:
        if n == bad:
            raise ValueError("that one")
        return n

    @task
    def total(found: list[int], text: str) -> int:
        return sum(found) + len(text)

    @job
    def wide(n: int, bad: int = -1) -> int:
        return total(check.map(numbers(n), bad=bad), "x" * 3_000)

    assert wide(2_500) == sum(range(2_500)) + 3_000
    with pytest.raises(RunFailed, match=r"task check\[3\] failed: that one"):
        wide(5, bad=3)


def test_an_async_job_is_awaited_and_its_tasks_run_in_that_loop():
    @task
    async def fetch(n: int) -> int:
        await asyncio.sleep(0)
        assert current().task == "fetch"
        return n + id(asyncio.get_running_loop()) * 0

    @task
    async def fail() -> None:
        raise KeyError("k")

    @job
    async def double(n: int) -> int:
        return await fetch(n)

    @job
    async def broken() -> None:
        await fail()

    @job
    def plain(n: int) -> int:
        return fetch(n)

    assert asyncio.run(double(4)) == 4
    assert plain(5) == 5
    with pytest.raises(RunFailed) as caught:
        asyncio.run(broken())
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_task_class_has_one_instance_per_attempt_and_its_hooks_are_told():
    told = []

    class Load(Task):
        def run(self, ctx, n: int) -> int:
            self.n = n
            if n < 0:
                raise ValueError(n)
            return n * 2

        def on_status_change(self, old, new):
            told.append(new)

        def on_finished(self, result):
            told.append(result)

        def on_exception(self, error):
            told.append(type(error).__name__)

    @job
    def classes(n: int) -> int:
        return Load()(n)

    assert classes(4) == 8
    with pytest.raises(RunFailed):
        classes(-1)
    assert told == ["running", 8, "succeeded", "running", "ValueError", "failed"]


def test_a_run_past_its_timeout_begins_nothing_more(monkeypatch):
    from headrace.author.local import LocalRun

    clock = [1_000_000_000]
    monkeypatch.setattr(LocalRun, "_now", lambda self: clock[0])
    said = []

    @task
    def slow() -> int:
        clock[0] += 3_600_000_000
        return 1

    @task
    def after(n: int) -> None:
        said.append(n)

    @job(timeout="30m")
    def late() -> None:
        after(slow())

    with pytest.raises(RunFailed, match="job late failed"):
        late()
    assert said == []


def test_parameters_are_checked_and_filled_in():
    with pytest.raises(Invalid, match="day"):
        report("no day")
    with pytest.raises(Invalid, match="missing a required argument"):
        report()


def test_other_kinds_of_tasks_are_not_available_here_and_nothing_has_run():
    said = []

    @task
    def before() -> None:
        said.append(1)

    @job
    def mixed() -> None:
        before()
        command("true")

    with pytest.raises(NotAvailable, match="task true in this process"):
        mixed()
    assert said == []


def test_a_broken_definition_names_its_problem():
    @task(retries={"max": 1, "only": ["x y"]})
    def odd() -> None: ...

    @job
    def bad() -> None:
        odd()

    with pytest.raises(Invalid, match=r"tasks\[0\].retries.only"):
        bad()


def test_what_is_no_exception_ends_the_call():
    @task
    def stop() -> None:
        raise KeyboardInterrupt

    @job
    def stopped() -> None:
        stop()

    with pytest.raises(KeyboardInterrupt):
        stopped()


def test_a_dry_run_says_what_a_call_would_do_and_does_nothing() -> None:
    done: list[str] = []

    @task
    def list_them(n: int) -> list[int]:
        done.append("list")
        return list(range(n))

    @task
    def work(item: int) -> int:
        done.append("work")
        return item

    @task
    def tell(text: str) -> None:
        done.append("tell")

    @job
    def whole(n: int) -> list[int]:
        items = list_them(n)
        results = work.map(items)
        tell.after(items, state="failed")("it failed")
        return results

    said = whole.dry_run(3)
    assert done == []
    assert [line.partition(":")[0] for line in said] == ["list-them", "work[0]", "tell"]
    assert said[0].endswith('with {"n": "3"}')
    assert said[1].endswith('with {"item": "(item)"}')
    assert said[2] == "tell: skipped (needs)"
