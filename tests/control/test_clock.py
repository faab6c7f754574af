"""The node's clock goes on when the machine's is set back."""

from __future__ import annotations

from headrace.control.clock import SteadyClock


class Machine:
    wall = 1_000_000_000
    mono = 0.0

    def now(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.mono


def test_time_goes_on_while_the_machine_is_set_back() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    machine.wall -= 3_600_000_000
    machine.mono += 2.0
    assert clock.now() == 1_002_000_000
    machine.mono += 0.5
    assert clock.now() == 1_002_500_000


def test_a_clock_set_forward_is_followed() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    machine.wall += 3_600_000_000
    assert clock.now() == 4_600_000_000


def test_no_instant_before_the_stores_last_one_is_said() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    clock.at_least(1_500_000_000)
    machine.mono += 1.0
    assert clock.now() == 1_501_000_000


def test_reading_often_loses_no_time() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    machine.wall -= 3_600_000_000
    for _ in range(1000):
        machine.mono += 0.000_000_9
        clock.now()
    assert clock.now() == 1_000_000_900
