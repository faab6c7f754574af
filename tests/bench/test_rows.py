"""Every row of the benchmark at its smallest: it runs through the real ``headrace up`` and proves its work.

No number is judged here. Peers are not run here at all: what is not installed cannot be proved; ``make bench-smoke`` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from lab.rows import Line, Metric, Row, quantile
from lab.stage import Stage
from lab.up import Broken, Up, python
from ours import ROWS

pytestmark = pytest.mark.xdist_group("bench")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all rows: a PostgreSQL is started once. On a real disk: the rows refuse memory."""
    with Stage() as stage:
        yield stage


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_runs_proves_its_work_and_gives_every_number_it_promises(stage: Stage, row: Row) -> None:
    values = row.measure(stage, row.tiny)
    assert {m.name for m in row.metrics} <= values.keys()


def test_work_that_was_not_done_has_no_number(stage: Stage) -> None:
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 5)
        up.prove(5, job="noop")
        with pytest.raises(Broken, match="6 runs of noop expected, 5 have succeeded"):
            up.prove(6, job="noop")


def test_settings_that_are_not_durable_end_the_row() -> None:
    up = object.__new__(Up)
    up.store = ""
    up.ask = lambda *_: {"settings": {"journal_mode": "wal", "synchronous": "1"}}  # type: ignore[method-assign]  # an answer
    with pytest.raises(Broken, match="not durable"):
        up.settings()


def test_a_target_is_met_from_its_right_side() -> None:
    assert Metric("rate", "runs/s", 10, more=True).met(11)
    assert not Metric("rate", "runs/s", 10, more=True).met(9)
    assert Metric("p50", "ms", 2).met(1.9)
    assert not Metric("p50", "ms", 2).met(2.1)
    assert Metric("told", "MB").met(1) is None


def test_a_line_gives_middle_and_span_of_its_samples() -> None:
    line = Line("x", [{"a": 3.0}, {"a": 1.0}, {"a": 2.0}])
    assert line.median("a") == 2.0
    assert line.span("a") == (1.0, 3.0)
    assert line.median("b") is None
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
