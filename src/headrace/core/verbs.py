"""What a person may ask of a run: cancel, stop, abandon, pause, resume. Each is O(1); sweeps do what reaches further.

Pure and private to core; called by ``core.stepping``. A verb that makes no sense for the run's state is refused and
names that state; one that is already done changes nothing.
"""

from __future__ import annotations

from headrace.core.amending import amend, report
from headrace.core.draft import BY_WISH, Draft
from headrace.core.waking import bring_to_end
from headrace.core.work import Ended
from headrace.model.changes import Abandon, Amend, Cancel, Pause, Report, Restarted, Resume, Stop, Verb
from headrace.model.errors import Refused
from headrace.model.facts import RunChanged, RunEnded, RunRestarted
from headrace.model.states import RUN_FINAL, RunState, StopIntent

RESTARTS_KEPT = 100
"""So many of the runs that go on with one run are kept with it."""


def ask(draft: Draft, change: Verb | Restarted | Amend | Report) -> None:
    """Do what is asked. Raises ``Refused``."""
    if isinstance(change, Restarted):
        _restarted(draft, change)
    elif isinstance(change, Amend):
        amend(draft, change)
    elif isinstance(change, Report):
        report(draft, change)
    elif draft.run.state in RUN_FINAL:
        raise Refused(_says(draft, change))
    elif draft.run.more is not None and draft.run.more.foreign and not isinstance(change, Abandon):
        raise Refused(f"run {draft.run.run} runs elsewhere: {type(change).__name__} refused; abandon ends its record")
    elif isinstance(change, Cancel):
        _cancel(draft, change)
    elif isinstance(change, Stop):
        _stop(draft, change)
    elif isinstance(change, Abandon):
        _abandon(draft, change)
    elif isinstance(change, Pause):
        _pause(draft, change)
    else:
        _resume(draft, change)


def _cancel(draft: Draft, change: Cancel) -> None:
    """The run is brought to its end; what never began ends by the sweep, what runs by the ladder."""
    run = draft.run
    if run.intent not in BY_WISH:
        bring_to_end(draft, StopIntent.cancel, change.reason)
    elif run.gate:
        # A ``finally`` task waits for a person: canceling once more is that person's word.
        draft.owe_run(cursor=0)


def _stop(draft: Draft, change: Stop) -> None:
    """Nothing new begins. A run that is canceled already does that and more."""
    if draft.run.intent not in BY_WISH and draft.run.intent != StopIntent.stop:
        bring_to_end(draft, StopIntent.stop, change.reason)


def _abandon(draft: Draft, change: Abandon) -> None:
    """The record ends now. Its tasks are ended and fenced by the sweep; until it comes to them the run's state fences them."""
    draft.change_run(
        state=RunState.abandoned, intent=StopIntent.abandon, ended_at=draft.now, reason=change.reason, gate=False
    )
    draft.facts.append(RunEnded(state=RunState.abandoned, exit_status=draft.run.exit_status, reason=change.reason))
    if draft.run.more is not None:
        draft.more(hold=-1, release=False, begin_at=0, expires_at=0)
    draft.owe_run(cursor=0)
    draft.commands.append(Ended(draft.run.run))
    draft.tell_parent()


def _pause(draft: Draft, change: Pause) -> None:
    if draft.run.state == RunState.paused:
        return
    if draft.run.state == RunState.stopping:
        raise Refused(_says(draft, change))
    draft.change_run(state=RunState.paused, reason=change.reason)
    draft.facts.append(RunChanged(state=RunState.paused, reason=change.reason))
    draft.more(hold=0, release=False)
    draft.owe_run()


def _resume(draft: Draft, change: Resume) -> None:
    """A paused run goes on; of one that runs, tasks go on that are held because their attempts were lost."""
    run = draft.run
    if run.state == RunState.paused:
        state = RunState.queued if run.started_at == 0 else RunState.running
        draft.change_run(state=state, reason=None)
        draft.facts.append(RunChanged(state=state, reason=change.reason))
    elif run.state == RunState.stopping or run.more is None or run.more.held == 0:
        raise Refused(_says(draft, change))
    draft.more(hold=0, release=True)
    draft.owe_run()


def _restarted(draft: Draft, change: Restarted) -> None:
    """A new run goes on with what this one did not do; asked for in the commit that makes it."""
    run = draft.run
    if run.state not in RUN_FINAL:
        raise Refused(f"run {run.run} is {run.state.name}: restart refused, it has not ended")
    if run.more is not None and run.more.foreign:
        raise Refused(f"run {run.run} runs elsewhere: restart refused")
    before = run.more.restarted_as if run.more is not None else ()
    draft.more(restarted_as=(*before, change.by)[-RESTARTS_KEPT:])
    draft.facts.append(RunRestarted(by=change.by))


def _says(draft: Draft, change: Verb) -> str:
    return f"run {draft.run.run} is {draft.run.state.name}: {type(change).__name__} refused"
