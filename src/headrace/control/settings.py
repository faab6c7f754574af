"""What a control process is told when it starts. A record; how flags and files become it is the CLI's business."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

SOCKET_NAME = "control.sock"
AGENT_SOCKET_NAME = "agent.sock"


class ControlSettings(Struct, frozen=True, kw_only=True):
    """``store`` empty: SQLite in the data folder; else ``postgresql://…``. ``port`` 0: any free one.

    ``url`` is what attempts and people are told to call; empty: derived from host and port. ``hosts``: names by which
    the server may be called beside those. ``tls_cert`` and ``tls_key``: PEM files, asked for beyond loopback.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8420
    store: str = ""
    url: str = ""
    quiet: bool = False
    hosts: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def socket(self) -> Path:
        """The Unix socket on which agents of this machine ring."""
        return self.data / SOCKET_NAME


class UpSettings(Struct, frozen=True, kw_only=True):
    """``headrace up``: control, and an agent with ``workers`` slots (0: one per processor), in one process tree.

    ``labels``: of the agent, beside those of its machine. ``pass_env``: variables that attempts may see.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8420
    store: str = ""
    url: str = ""
    workers: int = 0
    quiet: bool = False
    hosts: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    labels: dict[str, str] = {}
    pass_env: tuple[str, ...] = ()
