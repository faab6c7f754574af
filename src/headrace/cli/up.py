"""``headrace up``: becomes the supervisor of a control and an agent on one data folder. Called by the command line.

It only prepares the folder and the commands; ``cli.supervisor`` does the rest in a process that imports nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headrace.cli.folders import writable
from headrace.cli.processes import control_command, local_command, machine_labels
from headrace.control.folder import TOKEN_NAME
from headrace.control.settings import SOCKET_NAME, ControlSettings, UpSettings
from headrace.control.tls import check_doors

__all__ = ["UpSettings", "run"]


def run(settings: UpSettings) -> int:
    """Become the supervisor; ends on SIGTERM or SIGINT. Never returns."""
    s = settings
    control = ControlSettings(
        data=s.data,
        host=s.host,
        port=s.port,
        store=s.store,
        url=s.url,
        quiet=s.quiet,
        hosts=s.hosts,
        tls_cert=s.tls_cert,
        tls_key=s.tls_key,
    )
    check_doors(control)
    writable(s.data)
    script = str(Path(__file__).with_name("supervisor.py"))
    how = "1" if s.quiet else "0" if (Path(s.data) / TOKEN_NAME).exists() else "2"
    command = [sys.executable, "-I", "-S", script, how, str(s.data)]
    given = {"slots": s.workers, "labels": {**machine_labels(), **s.labels}, "pass_env": s.pass_env}
    agent = local_command(s.data, s.data / SOCKET_NAME, given, shared=bool(s.store))
    command += ["--", *control_command(control), "--", *agent]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 -- no shell is wanted: this process becomes the supervisor
