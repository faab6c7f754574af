"""The one tree of errors.

    HeadraceError
    ├── Invalid            a definition or request is wrong; carries every problem        422 / 400
    ├── NotFound                                                                          404
    │   ├── Deleted        it was there; the message says how it comes back               404
    │   └── Gone           older than what is kept                                        410
    ├── Conflict           the state of things forbids it; names entity and state         409
    │   ├── Refused        a change that core refused                                     409
    │   │   └── Stale      by its epoch: an attempt that is over or another one's         409
    │   └── Outdated       ``If-Match`` named a version that is not the newest any more   412
    ├── Unauthorized / Forbidden                                                          401 / 403
    ├── TooLarge                                                                          413
    ├── Busy               try again later (Retry-After)                                  429 / 503
    │   └── UnknownOutcome the commit may or may not have happened: repeat with the key   503
    ├── NotAvailable       written in the contract, built by a later version              501
    ├── StoreError         the database failed; chained from the driver's error           500
    │   └── StoreAway      (and Busy) it cannot be reached now; nothing was written       503
    ├── LinkError          the other end of a link failed or spoke nonsense               502
    └── Unreachable        no server answered                                             exit code 3

Raised anywhere, turned into problem documents at one border (``control.api.problems``). Drivers' errors never pass
a room's door: they are chained with ``from``.
"""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: where, what, and how to mend it.

    ``path`` is written like ``tasks[2].retries.max``; ``line`` and ``column`` count from 1 and are known for files.
    """

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        where = f" (line {self.line}{column})" if self.line else ""
        return f"{self.path}: {self.message}{where}" if self.path else f"{self.message}{where}"


class HeadraceError(Exception):
    """Base of everything that Headrace raises on purpose. ``status`` is its HTTP status."""

    status = 500

    def __init__(self, message: str = "", *, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems


class Invalid(HeadraceError):
    """Something that was sent is wrong. ``problems`` lists all of it, never only the first."""

    status = 422

    def __init__(self, message: str, *, problems: tuple[Problem, ...] = (), malformed: bool = False) -> None:
        super().__init__(message, problems=problems)
        if malformed:
            self.status = 400

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  {p}" for p in self.problems)])


class NotFound(HeadraceError):
    """No such thing; the message names it and, where one is near, the name that was meant."""

    status = 404


class Deleted(NotFound):
    """It was there and was deleted; the message says how it comes back."""


class Gone(NotFound):
    """What was asked for is older than what is kept."""

    status = 410


class Conflict(HeadraceError):
    """The request is well formed, but what it concerns is in a state that forbids it."""

    status = 409


class Refused(Conflict):
    """Core refused a change and left everything as it was; names the entity, its state and the change."""


class Stale(Refused):
    """An outcome of an attempt that is not the newest any more: nothing it says is taken."""


class Outdated(Conflict):
    """The caller expected another version (``If-Match``); nothing was changed."""

    status = 412


class Unauthorized(HeadraceError):
    """No credential, or one that is not (or no longer) good."""

    status = 401


class Forbidden(HeadraceError):
    """A good credential that does not allow this."""

    status = 403


class TooLarge(HeadraceError):
    """Beyond a limit; the message says which limit and its size."""

    status = 413


class Busy(HeadraceError):
    """Not now. ``retry_after`` is in whole seconds."""

    status = 503

    def __init__(self, message: str, *, retry_after: int = 1, status: int = 503) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class UnknownOutcome(Busy):
    """The connection was lost during COMMIT and nobody can say what became of it: repeat with the same key."""


class NotAvailable(HeadraceError):
    """The syntax is accepted from the first version on; the behaviour comes with a later one."""

    status = 501


class StoreError(HeadraceError):
    """The store failed. The component that met it stops and says why."""


class StoreAway(Busy, StoreError):
    """The database cannot be reached now and what was asked for did not happen: try again, nothing need stop."""


class LinkError(HeadraceError):
    """The other end of a link is gone, too slow, or does not speak the protocol."""

    status = 502


class Unreachable(HeadraceError):
    """No server answered where one was expected."""

    status = 503
