"""``?as_of=``: the same handler over the store as it was at an instant. Called by ``control.api.dispatch``."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from headrace.control.api.call import Call
from headrace.control.api.times import instant_of
from headrace.control.events.cursor import Gone
from headrace.control.past import PastReader
from headrace.control.saved import SavedJobs
from headrace.control.values import Values
from headrace.model.errors import Invalid, Problem
from headrace.store.port import Reader

_OF_NOW = ("wait", "with")
"""Query parameters that make sense of the present only."""


async def look_back(call: Call) -> None:
    """From here on the call sees the store of that instant. Raises Gone when that is older than what is kept."""
    at = instant_of(call, "as_of")
    if at is None:
        return
    for name in _OF_NOW:
        if name in call.query:
            problem = Problem(f"query.{name}", "is of now; it has no meaning together with as_of")
            raise Invalid(f"query parameter {name} and as_of", problems=(problem,), malformed=True)
    services = call.services
    _, pruned = await services.reader.pruned()
    if at < pruned:
        raise Gone("that instant is older than what is kept")
    # a reader that answers what it has a past for, and passes everything else on
    past = cast(Reader, PastReader(services.reader, at))
    call.services = replace(
        services,
        reader=past,
        jobs=SavedJobs(past, alone=False),
        values=Values(past, services.blobs, services.values.place),
    )
