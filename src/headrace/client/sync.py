"""``Client``: the server from ordinary Python. Drives the flows of ``client.flow`` over one connection.

``Client()`` finds the server by itself (flags, environment, ``headrace.toml``, else the local one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from headrace.client import find, flow, nouns
from headrace.client.handle import FINAL, WAIT_SLICE, Run, RunFailed, RunTask, describe_failure
from headrace.client.transport import Connection
from headrace.model import views
from headrace.model.errors import NotAvailable

__all__ = ["FINAL", "WAIT_SLICE", "Client", "Run", "RunFailed", "RunTask", "describe_failure"]

T = TypeVar("T")
LATER = ("schedules", "calendars", "approvals", "secrets", "subscriptions", "deliveries")
"""Nouns of the contract that a later version knows."""


def no_noun(client: object, name: str) -> Exception:
    """What to raise for something that a client does not have: of a later version, or of none."""
    if name in LATER:
        return NotAvailable(f"not available yet: {type(client).__name__}.{name}")
    return AttributeError(f"{type(client).__name__!r} object has no attribute {name!r}", name=name, obj=client)


class Client:
    """A server. Close it, or use it in a ``with``. Not for several threads at once: make one each."""

    def __init__(self, url: str | None = None, *, token: str | None = None, data: str | Path | None = None) -> None:
        address, secret = find.server(url, token, data)
        self.url = address
        self._connection = Connection(address, secret)
        self.jobs = nouns.Jobs(self)
        self.runs = nouns.Runs(self)
        self.packages = nouns.Packages(self)
        self.agents = nouns.Agents(self)
        self.limits = nouns.Limits(self)
        self.users = nouns.Users(self)
        self.tokens = nouns.Tokens(self)

    if not TYPE_CHECKING:  # for type checkers there is nothing else

        def __getattr__(self, name: str) -> NoReturn:
            raise no_noun(self, name)

    def do(self, call: flow.Flow[T]) -> T:
        """Drive one flow to its end."""
        try:
            request = next(call)
            while True:
                request = call.send(self._connection.send(request))
        except StopIteration as done:
            answer: T = done.value
            return answer

    def submit(
        self, target: flow.Target, params: Mapping[str, Any] | None = None, *, key: str | None = None, **options: Any
    ) -> Run:
        """Make a run of a saved job (its name) or of ``{"job": definition}``, ``{"command": [...]}`` ….

        ``key``: the same key and content give the same run again, whatever happened between. Options: priority,
        labels, reason, at (an instant) or delay (``"10m"``), expires.
        """
        return Run(self, self.do(flow.submit(target, params or {}, options, key)))

    def submit_many(self, runs: Sequence[Mapping[str, Any]], *, key: str | None = None) -> list[int]:
        """Up to 10,000 runs, all or none; gives their ids in order."""
        return self.do(flow.submit_many(runs, key))

    def version(self) -> views.VersionView:
        """Which server answers."""
        return self.do(flow.version())

    def save(self, path: str, out: IO[bytes]) -> None:
        """Write the bytes that a path of the API answers to ``out``, as they come. Raises what the server refused."""
        flow.check(self._connection.save(flow.Request("GET", path, accept="*/*", wait=600), out))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
