"""The link's session, walked along its tables from both ends."""

from __future__ import annotations

import itertools

import pytest

from headrace.link.records import AttemptName, Held, Hello, Pulse, PulseAnswer, Welcome
from headrace.link.session import AGENT_MOVES, CONTROL_MOVES, AgentLink, ControlLink, LinkState, reconcile
from headrace.model.errors import LinkError, Refused

HELLO = Hello("a", "b1", 2)


def agent_in(state: LinkState) -> AgentLink:
    link = AgentLink(HELLO)
    if state is not LinkState.apart:
        link.dialed(0)
    if state is LinkState.linked:
        link.heard(Welcome(1, 5), 10.0)
    return link


AGENT_EVENTS = {
    "dialed": lambda x: x.dialed(3),
    "welcome": lambda x: x.heard(Welcome(1, 5), 11.0),
    "answer": lambda x: x.heard(PulseAnswer(1), 11.0),
    "pulse": lambda x: x.pulse(11.0, load=0.0, running=0, queued=0),
    "cut": lambda x: x.cut(),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LinkState, AGENT_EVENTS)))
def test_the_agents_end_moves_as_its_table_says_and_refuses_all_else(state: LinkState, event: str) -> None:
    link = agent_in(state)
    after = AGENT_MOVES.get((state, event))
    if after is None:
        with pytest.raises(LinkError):
            AGENT_EVENTS[event](link)
        assert link.state is state
    else:
        AGENT_EVENTS[event](link)
        assert link.state is after


def control_in(state: LinkState) -> ControlLink:
    link = ControlLink()
    if state is not LinkState.apart:
        link.opened()
    if state is LinkState.linked:
        link.heard(HELLO)
    return link


CONTROL_EVENTS = {
    "opened": lambda x: x.opened(),
    "hello": lambda x: x.heard(HELLO),
    "pulse": lambda x: x.heard(Pulse(1)),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LinkState, CONTROL_EVENTS)))
def test_controls_end_moves_as_its_table_says_and_refuses_all_else(state: LinkState, event: str) -> None:
    link = control_in(state)
    after = CONTROL_MOVES.get((state, event))
    if after is None:
        with pytest.raises(LinkError):
            CONTROL_EVENTS[event](link)
        assert link.state is state
    else:
        CONTROL_EVENTS[event](link)
        assert link.state is after


def test_both_ends_meet() -> None:
    agent, control = AgentLink(HELLO), ControlLink()
    control.opened()
    assert control.heard(agent.dialed(7)) is None
    assert control.hello is not None
    assert control.hello.last == 7
    agent.heard(control.welcome(3, 9, 4), 1.5)
    assert (agent.agent, agent.link_epoch) == (3, 9)
    answer = control.heard(agent.pulse(4.0, load=0.5, running=1, queued=0))
    agent.heard(answer, 4.2)
    assert agent.unheard(6.0) == 2.0


def test_the_fuse_counts_from_the_sending_of_the_last_answered_pulse_only() -> None:
    link = agent_in(LinkState.linked)
    for at in (13.0, 16.0, 19.0):
        link.pulse(at, load=0, running=0, queued=0)
    link.heard(PulseAnswer(2), 30.0)
    assert link.unheard(31.0) == 15.0
    link.heard(PulseAnswer(1), 31.0)
    assert link.unheard(31.0) == 15.0, "an older answer, come late, does not turn the clock back"
    link.heard(PulseAnswer(99), 32.0)
    assert link.unheard(32.0) == 16.0, "an answer to nothing proves nothing"


def test_a_lower_link_epoch_is_refused_and_a_higher_one_kept() -> None:
    link = agent_in(LinkState.linked)
    with pytest.raises(Refused):
        link.admit(4)
    link.admit(5)
    link.admit(6)
    with pytest.raises(Refused):
        link.admit(5)
    link.cut()
    link.dialed(0)
    with pytest.raises(LinkError):
        link.heard(Welcome(1, 5), 40.0)
    assert link.state is LinkState.greeting


def test_reconciling_names_the_missing_and_the_foreign_and_spares_the_newest() -> None:
    a, b, c, d, new = (AttemptName(n, 0, -1, 1) for n in range(1, 6))
    held = Held("b", [b, c, new], [d])
    found = reconcile(held, [a, b, d], [new])
    assert found.missing == (a,)
    assert found.foreign == (c,)
    assert reconcile(Held("b", [new]), [], [new]).foreign == ()
