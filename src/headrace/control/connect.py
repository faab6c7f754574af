"""From an agent's address to its calls: which transport reaches it. Made by ``control.app``; the simulator has its own."""

from __future__ import annotations

from headrace.control.links import LinkedCalls
from headrace.link.records import Hello
from headrace.link.unix import UnixAgent
from headrace.model.errors import LinkError


def connect(hello: Hello) -> LinkedCalls:
    """The calls of an agent on this machine. Raises LinkError for an address of another kind."""
    scheme, _, path = hello.address.partition(":")
    if scheme != "unix" or not path:
        raise LinkError(f"agent {hello.agent} can only be called at {hello.address!r}, which is no Unix socket")
    return UnixAgent(path)
