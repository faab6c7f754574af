"""After a failed attempt: is there another one, and when?

Pure arithmetic on a compiled policy. Called when an attempt is settled.
"""

from __future__ import annotations

from headrace.core.nodes import RetryPolicy
from headrace.model.changes import OutcomeKind, Settle

LOST_IN_A_ROW = 3
"""So many lost attempts in a row and the task is held: it may be what kills its agents."""

LOST, QUARANTINED = "lost", "quarantined"
"""Why a task is held after lost attempts: its definition says ``on_lost: ask``, or there were three in a row."""

AFTER_LOSS = frozenset({LOST, QUARANTINED})

SHORT_WAIT_US = 1_000_000
"""How long a task waits that an agent refused twice in a row."""


def delay_us(policy: RetryPolicy, failures: int, dice: float) -> int:
    """Microseconds to wait after the given number of failures; ``dice`` in [0, 1) spreads it by the policy's jitter."""
    grown = policy.delay * policy.backoff ** min(failures - 1, 1_000) if policy.backoff > 1 else policy.delay
    waited = min(grown, policy.max_delay) * (1 + policy.jitter * (2 * dice - 1))
    return int(waited * 1000)


def names_of(change: Settle) -> set[str]:
    """What ``only`` and ``never`` may call this failure: exception classes with and without module, exit:N, timeout."""
    names = {change.kind.value} if change.kind in {OutcomeKind.timeout, OutcomeKind.lost} else set()
    for full in change.error_types:
        names |= {full, full.rsplit(".", 1)[-1]}
    if change.exit_code is not None:
        names.add(f"exit:{change.exit_code}")
    if change.exit_status is not None:
        names.add(f"exit:{change.exit_status}")
    return names


def another(policy: RetryPolicy, change: Settle, failures: int) -> bool:
    """Whether a further attempt follows ``failures`` failed ones.

    ``Fail`` ends it. ``Retry`` asks for it: counted against ``retries`` where the task has them, else always granted.
    """
    if change.stop_retry:
        return False
    if change.retry_after is not None:
        return not policy.given or failures <= policy.max
    if failures > policy.max:
        return False
    names = names_of(change)
    if policy.only is not None and not names & policy.only:
        return False
    return not names & policy.never
