"""How rough a simulated world is, and what it came to. Records only, used by everything here."""

from __future__ import annotations

from random import Random

from msgspec import Struct, field


class Plan(Struct, frozen=True):
    """How rough a world is. Made from the seed; tests may give their own."""

    tasks: int = 90
    """Submitted in all, instances included: each goes through about five transitions."""
    transitions: int = 0
    """A world that has come to fewer when it is healed goes on: dice may have canceled nearly all of it."""
    span_s: float = 12.0
    faults: int = 4
    point_rate: float = 0.004
    slots: int = 3
    honest_disk: bool = True

    @staticmethod
    def of(dice: Random) -> Plan:
        """The plan of a seed."""
        return Plan(
            tasks=dice.randint(34, 42),
            transitions=200,
            span_s=dice.uniform(5, 20),
            faults=dice.randint(3, 7),
            point_rate=dice.choice((0.0, 0.001, 0.004)),
            slots=dice.randint(1, 6),
        )


class Outcome(Struct):
    """What a world came to."""

    seed: int
    faults: int = 0
    transitions: int = 0
    runs: int = 0
    limited: int = 0
    """Attempts that took from named limits."""
    lost_writes: int = 0
    virtual_s: float = 0.0
    callbacks: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    """Violated invariants, each with what was seen; empty when the world held."""
