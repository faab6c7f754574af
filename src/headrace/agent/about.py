"""What an agent tells tools about itself: its numbers for Prometheus, one attempt, the list of its calls. Pure.

Called by ``agent.api``; what stands here is read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.link.records import AttemptName, Held
from headrace.model.errors import NotFound

METRICS = "text/plain; version=0.0.4; charset=utf-8"
_GAUGES = {
    "slots": "Attempts that it takes at once.",
    "running": "Attempts that an executor has.",
    "queued": "Attempts that wait for a slot.",
    "waiting": "Outcomes that control has not acknowledged.",
    "draining": "1 while it accepts nothing more.",
}
_CALLS = (
    ("GET", "/spec", "what this agent is"),
    ("GET", "/health", "that it answers"),
    ("GET", "/metrics", "its numbers in Prometheus's text format"),
    ("GET", "/attempts", "what it holds"),
    ("GET", "/attempts/{name}", "one attempt: run.task.index.epoch"),
    ("GET", "/attempts/{name}/logs", "an attempt's log, `?after=&limit=&wait=`"),
    ("GET", "/packages", "digests of the packages that it has"),
    ("GET", "/api/openapi.json", "this description"),
    ("POST", "/attempts", "control only: begin these"),
    ("POST", "/attempts/stop", "control only: ask, kill, fence"),
    ("GET", "/outcomes", "control only: what has ended, `?after=&wait=&link=`"),
    ("PUT", "/packages/{digest}", "control only: keep this code"),
    ("POST", "/drain", "control only: accept nothing more"),
    ("POST", "/join", "control only; not available yet"),
)


def metrics(spec: Mapping[str, Any]) -> bytes:
    """The numbers of ``GET /spec`` in Prometheus's text format."""
    lines = []
    for name, text in _GAUGES.items():
        full = f"headrace_agent_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} gauge", f"{full} {int(spec[name])}"]
    return ("\n".join(lines) + "\n").encode()


def attempt(held: Held, name: AttemptName) -> dict[str, Any]:
    """How an attempt stands here. Raises NotFound for one that the agent does not hold."""
    for state, names in (("accepted", held.attempts), ("finished", held.finished), ("logged", held.logs)):
        if name in names:
            return {"run": name.run, "no": name.no, "index": name.index, "epoch": name.epoch, "state": state}
    raise NotFound(f"this agent holds no attempt {name.run}.{name.no}.{name.index}.{name.epoch}")


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the agent's calls."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, text in _CALLS:
        places = [word[1:-1] for word in path.split("/") if word.startswith("{")]
        parameters = [{"name": p, "in": "path", "required": True, "schema": {"type": "string"}} for p in places]
        answers = {"default": {"description": "a record, or a problem document"}}
        paths.setdefault(path, {})[method.lower()] = {"summary": text, "parameters": parameters, "responses": answers}
    return {"openapi": "3.1.0", "info": {"title": "Headrace agent", "version": version or "0"}, "paths": paths}
