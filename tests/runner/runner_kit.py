"""A real runner in a process of its own, spoken to as an agent does: frames over a socket pair. For the tests here."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import msgspec

from headrace.runner.memory import make_memory, read_memory
from headrace.runner.protocol import FROM_RUNNER, Ask, Call, Done, Frames, Log, Ok, Started, Work, frame

SERVE = """
import socket, sys
from headrace.runner.main import serve
serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), (sys.argv[3],), sys.argv[4])
"""


class Child:
    """One runner on the module ``flow``. ``told`` keeps what it said that nobody waited for."""

    def __init__(self, folder: Path, code: str) -> None:
        source = folder / "source"
        source.mkdir()
        (source / "flow.py").write_text(code)
        (folder / "scratch").mkdir()
        ours, theirs = socket.socketpair()
        self.memory = make_memory()
        argv = [
            sys.executable,
            "-c",
            SERVE,
            str(theirs.fileno()),
            str(self.memory),
            str(source),
            str(folder / "scratch"),
        ]
        env = {"PATH": os.environ["PATH"], "HOME": "/tmp"}
        self.process = subprocess.Popen(
            argv, pass_fds=(theirs.fileno(), self.memory), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        theirs.close()
        ours.settimeout(30)
        self.told: list[Any] = []
        self._sock = ours
        self._frames = Frames(FROM_RUNNER)
        self._id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
        self.process.kill()
        self.process.wait()
        os.close(self.memory)

    def give(self, *calls: tuple[str, dict[str, Any]], **more: Any) -> list[int]:
        """Send these as one frame of work; gives their ids."""
        made = []
        for target, args in calls:
            self._id += 1
            given = {"run": 5, "index": -1, "epoch": 9, "attempt": 2, "task": "t", "job": "j", **more}
            target = target if ":" in target else f"flow:{target}"
            made.append(Call(self._id, target, msgspec.json.encode(args), **given))
        self._sock.sendall(frame([Work(made)]))
        return [call.id for call in made]

    def ask(self, id: int) -> None:
        """Ask for the end of a call."""
        self._sock.sendall(frame([Ask(id)]))

    def until(self, id: int, *kinds: type) -> Any:
        """The first message of one of these kinds about this call."""
        wanted = kinds or (Ok, Done)
        while True:
            for message in self.told:
                if message.id == id and isinstance(message, wanted):
                    self.told.remove(message)
                    return message
            data = self._sock.recv(1 << 18)
            if not data:
                raise EOFError(f"the runner has gone: {self.process.wait()}")
            self.told += self._frames.feed(data)

    def call(self, target: str, args: dict[str, Any] | None = None, **more: Any) -> Ok | Done:
        """Make one call and wait for its end."""
        (id,) = self.give((target, args or {}), **more)
        end: Ok | Done = self.until(id)
        return end

    def value(self, target: str, args: dict[str, Any] | None = None, **more: Any) -> Any:
        """The result of a call that succeeds."""
        end = self.call(target, args, **more)
        assert isinstance(end, Ok) or end.kind == "succeeded", end
        assert end.result is not None
        return msgspec.json.decode(end.result)

    def logs(self, id: int) -> list[tuple[str, str, str, str]]:
        """(stream, text, level, logger) of what was logged of a call."""
        found = [m for m in self.told if isinstance(m, Log) and m.id == id]
        return [(m.stream, m.data.decode(), m.level, m.logger) for m in found]

    def left(self) -> tuple[int, list[Any]]:
        """After its death: the call it was making, and what it could not send."""
        self.process.wait()
        while data := self._sock.recv(1 << 18):
            self.told += self._frames.feed(data)
        return read_memory(self.memory, self._frames.count)


__all__ = ["Child", "Done", "Log", "Ok", "Started"]
