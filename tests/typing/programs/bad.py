"""Must not pass: each line marked E is an error to mypy --strict."""

from datetime import date

from headrace import Context, http, job, run_job, task, wait


@task
def regions(day: date) -> list[str]:
    return [str(day)]


@task
def with_context(ctx: Context, n: int) -> int:
    return n


@task(retires=3)  # E
def misspelt() -> None: ...


@job
def flow(day: date) -> int:
    regions("2026-01-01")  # E
    regions()  # E
    regions(day, day)  # E
    with_context("x")  # E
    with_context.options(retries="many")  # E
    return regions(day)  # E


flow(1)  # E


@job
def outer(day: date) -> str:
    flow("2026-01-01")  # E
    flow.options(retries="many")(day)  # E
    flow.after(day, state=3)(day)  # E
    wait(for_=[1])  # E
    http(1)  # E
    run_job(flow, {})  # E
    return flow(day)  # E
