"""What may be changed of a run while it is there; and runs that others have, of which they tell the state."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs
from tests.core.counted import Counted
from tests.core.mill import Cancel, Mill, RunInput, RunState, Submit, TaskState, Wake, job, value

from headrace.core.draft import token_of
from headrace.core.explaining import explain
from headrace.core.nodes import RANK_SLOPE_MS
from headrace.core.work import Working
from headrace.model.cells import InputMore
from headrace.model.changes import Amend, Pause, Report, Restarted
from headrace.model.errors import Refused
from headrace.model.states import RUN_FINAL

CHAIN = job({"name": "a"}, {"name": "b", "needs": ["a"]})


def kinds(step):
    return [type(fact).__name__ for fact in step.facts]


def foreign():
    mill = Mill(job({"name": "theirs"}))
    more = InputMore(foreign="job-4711")
    mill.one(Submit(RunInput(1, 1, None, None, mill.now, msgspec.json.encode({}), more=more)))
    assert not mill.dispatches, "nothing of it is done here"
    return mill


def test_another_priority_moves_what_is_ready_in_line():
    mill = Mill(CHAIN, room=0)
    mill.submit()
    before = mill.at("a").rank
    mill.one(Amend(1, priority=3))
    while mill.run().more is not None and mill.run().more.hold >= 0:
        mill.one(Wake(1, first=token_of(mill.run())))
    assert mill.run().priority == 3
    assert mill.at("a").rank == before - 3 * RANK_SLOPE_MS


def test_another_priority_moves_a_run_that_waits_at_its_jobs_gate():
    mill = Counted(job({"name": "a"}, {"name": "b", "needs": ["a"]}, concurrency={"max": 1}))
    for run in (1, 2, 3):
        mill.submit(run)
    mill.one(Amend(3, priority=1))
    assert list(mill.gates()["job:job", ""].waiting) == [3, 2]


def test_labels_and_phase_are_told_once_and_a_new_phase_forgets_the_old_message():
    mill = Mill(CHAIN)
    mill.submit()
    assert kinds(mill.one(Amend(1, labels={"team": "sales"}))) == ["RunAmended"]
    assert mill.run().more.labels == {"team": "sales"}
    assert kinds(mill.one(Amend(1, phase="load", message="half"))) == ["RunPhase"]
    assert not mill.one(Amend(1, phase="load", message="half")).facts
    mill.one(Amend(1, message="most"))
    assert (mill.run().more.phase, mill.run().more.message) == ("load", "most")
    mill.one(Amend(1, phase="tell"))
    assert (mill.run().more.phase, mill.run().more.message) == ("tell", "")


def test_labels_that_are_not_named_stay_and_null_takes_one_away():
    mill = Mill(CHAIN)
    mill.submit()
    given = structs.replace(mill.inputs[1], labels={"team": "sales", "old": "x"})
    mill.inputs[1] = given
    step = mill.one(Amend(1, labels={"old": None, "new": "1"}))
    assert mill.run().more.labels == {"team": "sales", "new": "1"}
    assert step.facts[0].labels == {"team": "sales", "new": "1"}, "history has the whole of them"
    mill.one(Amend(1, labels={"absent": None, "team": "ops"}))
    assert mill.run().more.labels == {"team": "ops", "new": "1"}
    with pytest.raises(Refused, match="66 labels: 64 are the most"):
        mill.one(Amend(1, labels={str(n): "x" for n in range(64)}))


def test_of_a_run_that_has_ended_only_the_labels_can_be_changed():
    mill = Mill(CHAIN)
    mill.submit()
    mill.play()
    mill.one(Amend(1, labels={"seen": "yes"}))
    assert mill.run().more.labels == {"seen": "yes"}
    for change in (Amend(1, priority=1), Amend(1, phase="x"), Amend(1, message="x")):
        with pytest.raises(Refused, match="run 1 is succeeded: only its labels can be changed"):
            mill.one(change)


@pytest.mark.parametrize("state", [RunState.succeeded, RunState.failed, RunState.canceled])
def test_a_run_of_others_goes_the_way_that_they_tell(state):
    mill = foreign()
    mill.one(Report(1, state=RunState.running, phase="load"))
    assert (mill.run().state, mill.at("theirs").state) == (RunState.running, TaskState.running)
    mill.one(Report(1, state=RunState.running))
    told = mill.one(Report(1, state=state, exit_status="3", reason="they say so", result=value({"rows": 3})))
    assert "RunEnded" in kinds(told)
    assert mill.run().state is state
    assert (mill.at("theirs").exit_status, mill.at("theirs").reason) == ("3", "they say so")
    assert mill.one(Report(1, state=state)).facts == (), "told again"
    with pytest.raises(Refused, match=f"run 1 is {state.name}: it cannot become running"):
        mill.one(Report(1, state=RunState.running))


def test_a_run_of_others_may_end_without_having_been_told_to_run_and_never_be_queued_again():
    mill = foreign()
    mill.one(Report(1, state=RunState.succeeded))
    assert mill.run().started_at == mill.now
    mill = foreign()
    mill.one(Report(1, state=RunState.running))
    with pytest.raises(Refused, match="cannot become queued again"):
        mill.one(Report(1, state=RunState.queued))
    mill.one(Report(1, state=RunState.paused))
    mill.one(Report(1, state=RunState.running))
    assert mill.run().state is RunState.running


def test_two_who_tell_of_its_log_at_once_do_not_overwrite_each_other():
    mill = foreign()
    mill.one(Report(1, seal=b"one"))
    with pytest.raises(Refused, match="its log moved meanwhile"):
        mill.one(Report(1, seal=b"two"))
    mill.one(Report(1, seal=b"two", seal_before=b"one"))
    assert mill.at("theirs").seal == b"two"


def test_nobody_tells_the_state_of_a_run_of_ours_and_nobody_here_holds_one_of_others():
    mill = Mill(CHAIN)
    mill.submit()
    with pytest.raises(Refused, match="run 1 is one of ours"):
        mill.one(Report(1, state=RunState.succeeded))
    theirs = foreign()
    for change in (Pause(1), Cancel(1)):
        with pytest.raises(Refused, match="run 1 runs elsewhere"):
            theirs.one(change)
    node = theirs.at("theirs")
    (reason,) = explain(theirs.graph, theirs.run(), node, Working(), [], now=theirs.now)
    assert reason.code == "elsewhere"


def test_only_a_run_of_ours_that_has_ended_is_restarted():
    mill = Mill(CHAIN)
    mill.submit()
    with pytest.raises(Refused, match="it has not ended"):
        mill.one(Restarted(1, 2))
    theirs = foreign()
    theirs.one(Report(1, state=RunState.failed))
    assert theirs.run().state in RUN_FINAL
    with pytest.raises(Refused, match="run 1 runs elsewhere: restart refused"):
        theirs.one(Restarted(1, 2))
