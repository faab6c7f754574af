"""Must not pass: each line marked E is an error to mypy --strict."""

from datetime import date

from headrace import Context, job, task


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
