"""Must pass mypy --strict: calls are typed as the results to come, and the context is not asked for."""

from datetime import date
from typing import assert_type

from headrace import Context, JobFunction, TaskFunction, http, job, run_job, task, wait


@task
def regions(day: date) -> list[str]:
    return [str(day)]


@task(concurrency=4, retries=3, timeout="1m")
def load(ctx: Context, region: str, day: date) -> dict[str, int]:
    return {region: ctx.attempt}


@task
async def fetch(n: int) -> float:
    return float(n)


@job(on_failure="stop")
def nightly(day: date, owner: str = "ops") -> list[dict[str, int]]:
    tables = load.map(regions(day), day=day)
    assert_type(tables, list[dict[str, int]])
    load.after(tables, state="failed").options(name="late")(owner, day)
    return tables


@job
def family(day: date) -> list[dict[str, int]]:
    tables = nightly(day, owner="me")
    assert_type(tables, list[dict[str, int]])
    pause = wait("10m", after=[tables])
    wait(until="${params.day}", name="later")
    http("https://example.test", method="POST", body={"day": day}, expect=[200, 201], retries=2, after=[pause])
    run_job("elsewhere", {"day": day}, timeout="1h")
    return nightly.options(retries=2, name="again").after(pause, state="ended")(day)


@job
async def awaited() -> float:
    return await fetch(1)


assert_type(regions(date(2026, 1, 2)), list[str])
checked: TaskFunction[[date], list[str]] = regions
whole: JobFunction[[date, str], list[dict[str, int]]]
