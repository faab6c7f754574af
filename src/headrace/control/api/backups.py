"""Backups of the whole store: made, listed, handed out, removed; and the restore of one.

A backup holds everything that the store holds: only admins make, read or restore one. Called through the route table only.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.control.api.answers import Told, answer_of, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.negotiate import media_of
from headrace.control.api.records import NewBackup, RestoreBackup
from headrace.control.api.table import ANYTHING, BASE, BYTES, PAGE, RECORDS, Kind, Query, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.backup.service import Backups
from headrace.control.backup.work import Done
from headrace.control.changes.backups import Deed, NoteBackup
from headrace.model.errors import Conflict, NotAvailable
from headrace.model.views import BackupPage, BackupView


async def post_backup(call: Call) -> Reply:
    """``POST /backup``: answered when the backup is whole, checked and on the disk."""
    body: NewBackup = call.body
    if (again := await answer_of(call)) is not None:
        return again
    name, done = await _backups(call).save(body.name)
    told = Told(201, backup_view(name, done), f"{BASE}/backups/{name}")
    return await ask_named(call, NoteBackup(name, Deed.made), lambda _: told)


async def list_backups(call: Call) -> Reply:
    """``GET /backups``: by name."""
    limit, after = call.limit(), call.text("cursor") or ""
    found = [kept for kept in _backups(call).kept() if kept.name > after]
    items = [
        BackupView(name=kept.name, size=kept.size, made_at=datetime.fromtimestamp(kept.made_at, UTC))
        for kept in found[:limit]
    ]
    return Reply(BackupPage(items=items, next_cursor=items[-1].name if len(found) > limit else None))


async def get_backup(call: Call) -> Reply:
    """``GET /backups/{name}``: the file. ``?check=true``: what is in it, after reading it whole."""
    name = call.values["name"]
    if call.yes("check"):
        call.accept = media_of(dict(call.scope["headers"]).get(b"accept"), RECORDS)
        return Reply(backup_view(name, await _backups(call).check(name)))
    size, stream = _backups(call).open(name)
    headers = (
        (b"content-length", str(size).encode()),
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
    )
    return Reply(media=BYTES, headers=headers, stream=stream)


async def delete_backup(call: Call) -> Reply:
    """``DELETE /backups/{name}``."""
    name = call.values["name"]
    _backups(call).remove(name)
    return await ask_named(call, NoteBackup(name, Deed.removed), lambda _: Told(204, None))


async def post_restore(call: Call) -> Reply:
    """``POST /restore``: control ends, and its next start restores the backup before it opens its doors."""
    body: RestoreBackup = call.body
    services = call.services
    if (again := await answer_of(call)) is not None:
        return again
    _backups(call).require(body.name)
    holds = await services.reader.statement("holds_work", {})
    if holds[0][0] and not body.force:
        raise Conflict("this store holds jobs or runs: say force to set them aside, or restore into an empty one")
    done = await _backups(call).ask_restore(body.name, force=body.force)
    told = Told(202, backup_view(body.name, done))
    try:
        return await ask_named(call, NoteBackup(body.name, Deed.restore_asked), lambda _: told)
    finally:
        # it is asked for, whatever became of the note
        services.begin_anew(f"the backup {body.name} is to be restored")


def _backups(call: Call) -> Backups:
    found = call.services.backups
    if found is None:
        raise NotAvailable("this control keeps no backups")
    return found


def backup_view(name: str, done: Done) -> BackupView:
    """A backup as it is shown."""
    manifest = done.manifest
    if manifest is None:
        return BackupView(name=name, size=done.size)
    header = manifest.header
    return BackupView(
        name=name,
        size=done.size,
        made_at=moment(header.made_at),
        at=moment(header.at),
        store=header.store,
        schema=header.schema,
        incarnation=header.incarnation,
        rows=manifest.rows,
        blobs=manifest.blobs,
        blob_size=manifest.blob_size,
        troubles=manifest.troubles,
    )


ROUTES = (
    Route(
        method="POST",
        path=BASE + "/backup",
        permission=Permission.system_backup,
        handler=post_backup,
        summary="Make a backup of everything, beside all work; answered when it is whole, checked and on the disk",
        statuses=(201, 409, 507),
        request=NewBackup,
        response=BackupView,
        accepts=RECORDS,
    ),
    Route(
        method="GET",
        path=BASE + "/backups",
        permission=Permission.system_backup,
        handler=list_backups,
        summary="Backups in the server's folder, by name",
        response=BackupPage,
        query=PAGE,
    ),
    Route(
        method="GET",
        path=BASE + "/backups/{name}",
        permission=Permission.system_backup,
        handler=get_backup,
        summary="A backup's bytes",
        statuses=(200, 422),
        media=ANYTHING,
        query=(Query("check", "tell what is in it instead, after reading it whole", Kind.yes),),
    ),
    Route(
        method="DELETE",
        path=BASE + "/backups/{name}",
        permission=Permission.system_backup,
        handler=delete_backup,
        summary="Remove a backup from the server's folder",
        statuses=(204,),
    ),
    Route(
        method="POST",
        path=BASE + "/restore",
        permission=Permission.system_restore,
        handler=post_restore,
        summary="Restore a backup of the server's folder: control ends and begins anew with it, under a higher incarnation",
        statuses=(202, 409, 422),
        request=RestoreBackup,
        response=BackupView,
        accepts=RECORDS,
    ),
)
