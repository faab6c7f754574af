"""Two ``up`` on one PostgreSQL, each on a folder of its own: one store, two agents, and neither is in the other's way."""

from __future__ import annotations

from pathlib import Path

from conformance.postgres_server import PostgresServer
from harness import Server, as_url, until
from headrace.client import flow


def linked(server: Server) -> set[str]:
    """The agents that are linked to this node."""
    page = server.ask(lambda c: c.do(flow.listed("agents")))
    return {agent["name"] for agent in page["items"] if agent["state"] == "linked"}


def test_two_nodes_share_jobs_and_runs_and_their_agents_go_by_two_names(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    store = as_url(own_postgres.fresh())
    first, second = (Server(tmp_path / name, store=store) for name in ("a", "b"))
    try:
        first.start()
        second.start()
        here, there = until(lambda: linked(first)), until(lambda: linked(second))
        assert len(here) == len(there) == 1
        assert here != there
        done = second.submit({"command": ["sh", "-c", "echo from the second"]}, "one")
        assert first.wait(done).state == "succeeded"
        long = second.submit({"command": ["sleep", "600"]}, "two")
        until(lambda: first.state(long) == "running")
        first.cancel(long)
        assert second.wait(long).state == "canceled"
        assert "older life" not in first.words() + second.words()
    finally:
        first.kill_all()
        second.kill_all()
