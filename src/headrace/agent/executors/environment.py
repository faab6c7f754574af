"""What a command's process finds around it: environment variables and the parameter file. Pure but for writing files.

The environment is an allow-list: nothing of the agent's own environment reaches user code unless it is named here or
in the agent's settings. Called by ``executors.command``.
"""

from __future__ import annotations

import os

from headrace.link.records import Assignment
from headrace.runner.variables import parameters

PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
MARK = b"HEADRACE_ATTEMPT_KEY="
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_environment(own: dict[str, str], also: tuple[str, ...]) -> dict[str, str]:
    """What every attempt gets of the agent's own environment."""
    base = {name: own[name] for name in (*PASSED, *also) if name in own}
    base.setdefault("PATH", _DEFAULT_PATH)
    return base


class Given:
    """The variables of parameters, made anew only when they differ from the last: many tasks of one run have the same."""

    def __init__(self) -> None:
        self._params = b""
        self._variables: dict[str, str] = {}

    def of(self, params: bytes) -> dict[str, str]:
        """``parameters``, remembered."""
        if params != self._params:
            self._params, self._variables = params, parameters(params)
        return self._variables


def environment(base: dict[str, str], a: Assignment, root: str, key: str, given: Given) -> dict[str, str]:
    """The whole environment of one attempt; the task's own ``env`` comes before ours, which it cannot shadow."""
    files = root + "/files"
    env = {
        **base,
        **a.env,
        "HEADRACE_RUN": str(a.run),
        "HEADRACE_TASK": a.task,
        "HEADRACE_ATTEMPT": str(a.attempt),
        "HEADRACE_EPOCH": str(a.epoch),
        "HEADRACE_JOB": a.job,
        "HEADRACE_OUTPUTS": root + "/outputs",
        "HEADRACE_INPUTS": root + "/inputs",
        "HEADRACE_RESULT": files + "/result",
        "HEADRACE_EXIT_STATUS": files + "/exit-status",
        "HEADRACE_PARAMS": files + "/params.json",
        "HEADRACE_ATTEMPT_KEY": key,
    }
    if a.url:
        env["HEADRACE_URL"] = a.url
    if a.token:
        env["HEADRACE_TOKEN"] = a.token
    if len(a.params) > 2:
        env.update(given.of(a.params))
    return env


def write_file(path: str, data: bytes) -> None:
    """Make a file, 0600. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
