"""What a person can do about a run that waits or has ended: commands of ``headrace``, each with what it is good for.

Pure; says nothing of what goes on by itself. Called by ``control.api.explain`` and ``control.api.failed``.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.core.eligible import Reason

NO_PLACE = frozenset({"no_label", "other_agent"})


def while_waiting(run: int, reasons: Iterable[Reason]) -> list[str]:
    """For a run that has not ended: what ends those waits that only a person ends."""
    found: list[str] = []
    reasons = list(reasons)
    fits = any(reason.code in ("no_room", "queued", "next") for reason in reasons)
    for reason in reasons:
        name = reason.refers_to
        if reason.code == "limit_missing":
            found.append(f"headrace limit put {name} --slots N  (or --rate 10/1s) makes the limit")
        elif reason.code == "limit_paused":
            found.append(f"headrace limit resume {name}  lets the limit give units again")
        elif reason.code == "run_paused":
            found.append(f"headrace resume {run}  lets the run go on")
        elif reason.code == "held":
            found += [f"headrace resume {run}  tries it again", f"headrace cancel {run}  ends the run"]
        elif reason.code in NO_PLACE and not fits:
            found.append(
                "headrace up --labels NAME=VALUE  gives an agent labels; headrace agent ls  shows those there are"
            )
        elif reason.code == "no_agent":
            found.append("headrace up  starts an agent with the server; headrace agent ls  shows those there are")
    return list(dict.fromkeys(found))


def after(run: int, *, saved: bool, python: bool) -> list[str]:
    """For a run that has ended otherwise than succeeded: how to go on, and where to read more."""
    found = [f"headrace restart {run}  goes on from here: what had succeeded is not repeated"]
    if python:
        found.append(f"headrace restart {run} --file FILE  does so with the code of FILE, mended")
    elif saved:
        found.append(f"headrace restart {run} --version N  does so with another version of the job, saved by job put")
    found.append(f"headrace logs {run}  shows all that it said")
    return found
