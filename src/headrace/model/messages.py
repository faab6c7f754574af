"""Messages: what one run has to tell another, written in the commit that decided it, delivered afterwards.

Rows of the outbox. Encoded as tagged MessagePack arrays: fields are only ever added, at the end, with a default. The
receiver looks at epochs, so that a message delivered twice changes nothing. Made by ``core``, delivered by
``control.loops.outbox``.
"""

from __future__ import annotations

from msgspec import Struct

CHILD = "child"
"""The kind of outbox rows about parents and children; their subject is the parent's run."""


class Message(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base: the attempt of the parent's task that it is about."""

    run: int
    no: int
    index: int
    epoch: int


class StartChild(Message, frozen=True, array_like=True, tag="start", gc=False):
    """Make the child run of this attempt. ``params`` is the JSON text of its parameters, ``version`` 0 the newest,
    ``actor`` whoever asked for the parent. ``source`` is the run that the parent goes on from; 0: none.
    """

    job: str = ""
    version: int = 0
    params: bytes = b"{}"
    depth: int = 1
    priority: int = 0
    actor: str = ""
    source: int = 0


class StopChild(Message, frozen=True, array_like=True, tag="stop", gc=False):
    """The parent's word to its child: ``how`` is the verb, ``reason`` what its run will show."""

    how: str = "cancel"
    reason: str = ""


class ChildEnded(Message, frozen=True, array_like=True, tag="ended", gc=False):
    """The child ``child`` has ended: how, is read from its rows, which never change any more."""

    child: int = 0


AnyMessage = StartChild | StopChild | ChildEnded
