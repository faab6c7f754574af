"""Rows of use follow from cells by core's own rules: who holds a gate, who waits at it."""

from __future__ import annotations

from itertools import product

import pytest

from headrace.core.limits import holds_gate, waits_at_gate
from headrace.model.cells import RunCell, RunMore
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState
from headrace.store.rows import Batch
from headrace.store.uses import uses_of


@pytest.mark.parametrize(("state", "waiting", "begin_at"), list(product(RunState, (False, True), (0, 5))))
def test_a_run_has_its_row_of_use_and_its_place_in_the_queue_exactly_when_core_says_so(
    state: RunState, waiting: bool, begin_at: int
) -> None:
    run = RunCell(7, 1, state, more=RunMore(begin_at=begin_at, gate="job:j", key="k", waiting=waiting, rank=3))
    found = uses_of(Batch(1, runs=[run]))
    assert found is not None
    use, wait = ("job:j", "k", 7, RUN_ITSELF, WHOLE), ("job:j", "k", 3, 7)
    assert (use in found.held, use in found.over) == (holds_gate(run), not holds_gate(run))
    assert (wait in found.waiting, wait in found.entered) == (waits_at_gate(run), not waits_at_gate(run))
