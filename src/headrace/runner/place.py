"""Where a call runs: its working folder, its environment, its inputs and outputs; and that nothing of it stays behind.

Most calls write no file, so they share one scratch folder that is proved empty after each of them. Blocking, POSIX.
Called by ``runner.calls`` only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from headrace.runner.environ import Environ
from headrace.runner.left import exit_status_in, result_in
from headrace.runner.protocol import Call, kept_path
from headrace.runner.watch import Watch

SCRATCH = ("work", "outputs", "inputs", "files")
WATCHED = ("work", "outputs")
UNTOUCHED_NS = 1_000_000_000
"""Change time given to an empty folder: any file made or removed in it sets another one. One fstat instead of a listing."""
REAP_SECONDS = 5.0


class Grounds:
    """The scratch folders and the environment of one runner, lent to one call after the other."""

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._paths = {name: os.path.join(scratch, name) for name in SCRATCH}
        self._fds: dict[str, int] = {}
        self._watch = Watch()
        for name in SCRATCH:
            self._renew(name)
        files = self._paths["files"]
        self._fixed = {
            "HEADRACE_OUTPUTS": self._paths["outputs"],
            "HEADRACE_INPUTS": self._paths["inputs"],
            "HEADRACE_PARAMS": files + "/params.json",
            "HEADRACE_RESULT": files + "/result",
            "HEADRACE_EXIT_STATUS": files + "/exit-status",
        }
        self._environ = Environ(self._fixed)
        self._params = b""
        """What stands in the parameter file, unless somebody wrote to it; empty: there is none."""
        self._params_fd = -1
        self.wrote = False
        """Whether the last call wrote to the files of its exit status or result."""
        self.said: str | None = None
        """The exit status that the last call wrote to its file."""
        self.result: bytes | None = None
        """The result that the last call wrote to its file."""
        self.bad = ""
        """What is wrong with that result."""

    @property
    def ears(self) -> tuple[int, ...]:
        """A descriptor that tells by being readable that ``leave`` has to look; none where nothing tells."""
        return (self._watch.fd,) if self._watch.fd >= 0 else ()

    def enter(self, call: Call) -> None:
        """Put this process where the call belongs. Raises OSError."""
        if call.work:
            os.chdir(call.work)
        else:
            os.fchdir(self._fds["work"])
        self._give_params(call.params)
        self._environ.enter(call)

    def folder(self, call: Call, name: str) -> str:
        """The call's ``inputs`` or ``outputs``."""
        return (call.outputs if name == "outputs" else call.inputs) or self._paths[name]

    def leave(self, call: Call, *, still: bool = False) -> bool:
        """Take everything of the call away: files and changed variables. True when outputs were kept.

        ``still``: nothing is to be read from ``ears`` since the call is over.
        """
        kept = False
        if self._watch.calm() if still else self._watch.quiet():
            self.wrote = False
        else:
            kept = self._look(call)
        self._environ.leave()
        return kept

    def _look(self, call: Call) -> bool:
        """Which of the folders was written to, if any. True when outputs were kept."""
        # Forgotten first: what is written while we look, also by ourselves, is looked at after the next call.
        self._watch.forget()
        kept = False
        for name in WATCHED:
            if os.stat(self._fds[name]).st_mtime_ns != UNTOUCHED_NS:
                kept = self._clear(call, name) or kept
        self.wrote = os.stat(self._fds["files"]).st_mtime_ns != UNTOUCHED_NS
        if self.wrote:
            self.said = exit_status_in(self._fixed["HEADRACE_EXIT_STATUS"])
            self.result, self.bad = result_in(self._fixed["HEADRACE_RESULT"])
            self._renew("files")
            self._params = b""
        return kept

    def result_path(self, call: Call) -> str:
        """Where a large result is left for the agent."""
        return os.path.join(self._scratch, f"result-{call.id}")

    def _give_params(self, params: bytes) -> None:
        """The parameter file and variables of this call: mostly those of the call before, untouched."""
        opened = self._watch.opened
        if params == self._params and not (opened and os.fstat(self._params_fd).st_mtime_ns != UNTOUCHED_NS):
            return
        if params != self._params:
            self._environ.give(params)
        path = self._fixed["HEADRACE_PARAMS"]
        fresh = not self._params
        if fresh:
            if self._params_fd >= 0:
                os.close(self._params_fd)
            self._params_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.utime(self._paths["files"], ns=(UNTOUCHED_NS, UNTOUCHED_NS))
        os.pwrite(self._params_fd, params, 0)
        os.ftruncate(self._params_fd, len(params))
        os.utime(self._params_fd, ns=(UNTOUCHED_NS, UNTOUCHED_NS))
        if fresh:
            self._watch.follow(path)
        self._watch.own()
        self._params = params

    def _clear(self, call: Call, name: str) -> bool:
        moved = name == "outputs" and bool(os.listdir(self._fds[name]))
        if moved:
            os.rename(self._paths[name], kept_path(self._scratch, call.id))
        self._renew(name)
        return moved

    def _renew(self, name: str) -> None:
        path = self._paths[name]
        if os.path.lexists(path):
            import shutil  # 0.5 MB in every runner; most tasks leave no files

            shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, mode=0o700)
        os.utime(path, ns=(UNTOUCHED_NS, UNTOUCHED_NS))
        if name in self._fds:
            os.close(self._fds[name])
        self._fds[name] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if name != "inputs":
            self._watch.add(path)

    def end_children(self) -> None:
        """Kill what calls started and left running: this process is the subreaper of their orphans."""
        deadline = time.monotonic() + REAP_SECONDS
        while True:
            try:
                if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG) is not None:
                    continue
            except ChildProcessError:
                return
            for pid in children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)


def children() -> list[int]:
    """The direct children of this process, orphans it inherited included."""
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children") as f:
            found += [int(pid) for pid in f.read().split()]
    return found
