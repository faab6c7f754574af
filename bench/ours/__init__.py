"""Headrace's rows, each through the real ``headrace up``. ``ROWS`` is the table from top to bottom."""

from __future__ import annotations

from lab.rows import Row

from ours import backlog, fanout, latency, ledgers, listing, standing, throughput, watching

ROWS: tuple[Row, ...] = (
    *throughput.ROWS,
    *latency.ROWS,
    *fanout.ROWS,
    *standing.ROWS,
    *backlog.ROWS,
    *ledgers.ROWS,
    *listing.ROWS,
    *watching.ROWS,
)
