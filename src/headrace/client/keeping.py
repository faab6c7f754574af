"""What a client does to keep definitions and the whole store: versions, packages, export and import, backups.

Flows like those of ``client.flow``: requests out, answers in, no socket. Called by the CLI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.client.flow import Flow, Request, address, check, expect, listed, query
from headrace.model import views

BACKUP_SECONDS = 24 * 3600.0
"""How long a backup may take before the answer."""


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _because(reason: str | None) -> dict[str, str]:
    return {"reason": reason} if reason else {}


def delete_job(name: str, reason: str | None) -> Flow[None]:
    """Delete a job softly."""
    check((yield Request("DELETE", query(address("jobs", name), reason=reason))))


def restore_job(name: str, version: int | None, reason: str | None) -> Flow[dict[str, Any]]:
    """Bring a deleted job back, or an older version."""
    body = _because(reason) | ({} if version is None else {"version": version})
    return expect((yield Request("POST", address("jobs", name, "restore"), _json(body))), dict[str, Any])


def patch_job(name: str, patch: Mapping[str, Any], reason: str | None) -> Flow[dict[str, Any]]:
    """Change parts of a job: a JSON merge patch."""
    path = query(address("jobs", name), reason=reason)
    return expect((yield Request("PATCH", path, _json(patch), "application/merge-patch+json")), dict[str, Any])


def job_versions(name: str, cursor: str | None = None) -> Flow[views.JobVersionPage]:
    """A page of a job's versions, newest first."""
    path = query(address("jobs", name, "versions"), cursor=cursor, limit=500)
    return expect((yield Request("GET", path)), views.JobVersionPage)


def job_diff(name: str, before: int | None, after: int | None) -> Flow[views.JobDiffView]:
    """What two versions differ in."""
    path = query(address("jobs", name, "diff"), **{"from": before, "to": after})
    return expect((yield Request("GET", path)), views.JobDiffView)


def package_versions(name: str) -> Flow[dict[str, Any]]:
    """A package's versions, all of them, newest first."""
    return listed("packages", name, "versions")


def rollback_package(name: str, to: str | None, reason: str | None) -> Flow[views.PackageView]:
    """The name means an earlier version again: a number, a digest, or the one before."""
    body: dict[str, Any] = _because(reason)
    if to is not None:
        body |= {"version": int(to)} if to.isdigit() and len(to) < 8 else {"digest": to}
    return expect((yield Request("POST", address("packages", name, "rollback"), _json(body))), views.PackageView)


def delete_package(name: str, digest: str | None, reason: str | None) -> Flow[None]:
    """Take a package back, or one version of it."""
    path = address("packages", name) if digest is None else address("packages", name, digest)
    check((yield Request("DELETE", query(path, reason=reason))))


def package_jobs(name: str, definitions: Sequence[Mapping[str, Any]]) -> Flow[views.ImportView]:
    """Save the jobs of a package."""
    body = _json({"definitions": definitions})
    return expect((yield Request("POST", address("packages", name, "jobs"), body)), views.ImportView)


def export() -> Flow[dict[str, Any]]:
    """Every definition as one document."""
    return expect((yield Request("GET", address("export"), wait=60)), dict[str, Any])


def import_(document: bytes, content: str, *, dry: bool, reason: str | None) -> Flow[views.ImportView]:
    """Make what the document says so, all of it or nothing."""
    path = query(address("import"), dry_run="true" if dry else None, reason=reason)
    return expect((yield Request("POST", path, document, content, wait=60)), views.ImportView)


def backup(name: str | None) -> Flow[views.BackupView]:
    """Make a backup on the server."""
    body = _json({} if name is None else {"name": name})
    return expect((yield Request("POST", address("backup"), body, wait=BACKUP_SECONDS)), views.BackupView)


def backups() -> Flow[dict[str, Any]]:
    """Backups on the server."""
    return expect((yield Request("GET", address("backups"))), dict[str, Any])


def delete_backup(name: str) -> Flow[None]:
    """Remove one from the server."""
    check((yield Request("DELETE", address("backups", name))))


def restore(name: str, *, force: bool) -> Flow[views.BackupView]:
    """Have the server begin anew with a backup that is on it."""
    body = _json({"name": name, "force": force})
    return expect((yield Request("POST", address("restore"), body, wait=BACKUP_SECONDS)), views.BackupView)
