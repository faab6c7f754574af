"""Fault points: named places at which a test may kill, stop or fail this process.

``HEADRACE_FAULT=point:verb[:nth]`` (several, joined by commas) is read once, by the process entry points, and refused
unless ``HEADRACE_ALLOW_FAULTS=1``: a server that was never meant to be tested cannot be made to die by one variable.
Verbs: ``kill`` (SIGKILL, nothing is cleaned up), ``stop`` (SIGSTOP), ``exit`` (exit code 70, no clean-up), ``error``
(raises ``StoreError``). ``HEADRACE_FAULT_MARKS=folder``: each point strikes at most once in all lives of all processes
that share the folder, and leaves a file of its name there: so a test knows that it struck, and what is started again
goes on. Control and agent share this file; core and the simulator never import it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

from headrace.model.errors import Invalid, StoreError
from headrace.model.ports import Fault, no_fault

VERBS = frozenset({"kill", "stop", "exit", "error"})
EXIT_CODE = 70


class FaultPoints:
    """Counts the passes of each armed point and strikes at the nth one. Points that are not armed cost one look-up."""

    def __init__(self, armed: Mapping[str, tuple[str, int]], marks: str = "") -> None:
        self._marks = marks
        self._left = {name: nth for name, (_, nth) in armed.items()}
        self._verbs = {name: verb for name, (verb, _) in armed.items()}

    def __call__(self, name: str, /) -> None:
        left = self._left.get(name)
        if not left:
            return
        self._left[name] = left - 1
        if left == 1 and self._first(name):
            strike(self._verbs[name], name)

    def _first(self, name: str) -> bool:
        """Whether nobody struck here before; the mark is on the disk before the process ends."""
        if not self._marks:
            return True
        try:
            fd = os.open(os.path.join(self._marks, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # noqa: PTH118  no pathlib in the lean processes
        except FileExistsError:
            return False
        os.write(fd, b"%d\n" % os.getpid())
        os.close(fd)
        return True


def strike(verb: str, name: str) -> None:
    """Do what the verb says, to this very process."""
    if verb == "error":
        raise StoreError(f"fault point {name}")
    if verb == "exit":
        os._exit(EXIT_CODE)
    os.kill(os.getpid(), signal.SIGSTOP if verb == "stop" else signal.SIGKILL)


def parse(text: str) -> dict[str, tuple[str, int]]:
    """``point:verb[:nth]`` pieces joined by commas. Raises Invalid for anything else."""
    armed: dict[str, tuple[str, int]] = {}
    for piece in text.split(","):
        parts = piece.strip().split(":")
        nth = parts[2] if len(parts) == 3 else "1"
        if len(parts) not in (2, 3) or parts[1] not in VERBS or not nth.isdigit() or int(nth) < 1:
            raise Invalid(f"HEADRACE_FAULT: {piece!r} is not point:verb[:nth] with a verb of {sorted(VERBS)}")
        armed[parts[0]] = (parts[1], int(nth))
    return armed


def from_environment(environ: Mapping[str, str]) -> Fault:
    """The fault port that this environment asks for. Raises Invalid when faults are asked for and not allowed."""
    text = environ.get("HEADRACE_FAULT", "")
    if not text:
        return no_fault
    if environ.get("HEADRACE_ALLOW_FAULTS") != "1":
        raise Invalid("HEADRACE_FAULT is set, but faults are only allowed with HEADRACE_ALLOW_FAULTS=1")
    return FaultPoints(parse(text), environ.get("HEADRACE_FAULT_MARKS", ""))
