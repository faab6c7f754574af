"""``headrace backup | restore | export | import``: the whole store as one file, every definition as one document.

A backup is checked whole after it was written, wherever it was written. Without a server both work on the data folder
(or ``--store``) themselves; the store is imported inside those functions only.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headrace.cli import targets
from headrace.cli.runs import connect
from headrace.cli.shapes import Page
from headrace.cli.terminal import Terminal, formatted
from headrace.client import keeping
from headrace.client.config import data_folder, settings
from headrace.client.sync import Client
from headrace.model.errors import Busy, Conflict, Invalid, Unreachable
from headrace.model.states import RunState
from headrace.model.views import BackupView

TROUBLE = 1
"""Exit code of a backup that was made of a store with damaged or missing blobs."""


def add(commands: Any) -> None:
    """The words of these commands."""
    backup = commands.add_parser(
        "backup",
        help="everything as one file, made beside all work and checked",
        description="Without FILE the backup stays in the server's folder backups.",
    )
    backup.add_argument("file", nargs="?", metavar="FILE")
    backup.add_argument("--verify", action="store_true", help="make none: read FILE whole and say whether it is good")
    backup.add_argument("--list", action="store_true", help="make none: list those in the server's folder")
    backup.set_defaults(do=run_backup)
    restore = commands.add_parser(
        "restore",
        help="make a store of a backup: into an empty data folder or database",
        description="Into the data folder, or into the PostgreSQL of --store: so a store moves from one to the other. "
        "With --server, FILE is the name of a backup in the running server's folder.",
    )
    restore.add_argument("file", metavar="FILE")
    restore.add_argument("--store", help="postgresql://… instead of SQLite in the data folder")
    restore.add_argument("--force", action="store_true", help="set aside, under another name, what is there")
    restore.add_argument("--server", action="store_true", help="have the running server begin anew with it")
    restore.set_defaults(do=run_restore)
    export = commands.add_parser("export", help="every definition as one document to edit by hand")
    export.add_argument("file", nargs="?", metavar="FILE", help="default: print it; as EDN when it ends in .edn")
    export.set_defaults(do=run_export)
    import_ = commands.add_parser("import", help="make what such a document says so: all of it, or nothing")
    import_.add_argument("file", metavar="FILE", help="JSON, YAML or EDN")
    import_.add_argument("--dry-run", action="store_true", help="check and say what would change")
    import_.add_argument("--reason", help="why; kept with the versions")
    import_.set_defaults(do=run_import)


def run_backup(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace backup``."""
    if args.list:
        return _list(args, terminal)
    if args.verify:
        if not args.file:
            raise Invalid("say which file: headrace backup --verify FILE")
        return _tell(_verified(Path(args.file)), terminal, f"{args.file} is whole and good")
    try:
        client = connect(args)
        client.version()
    except Unreachable:
        if args.url or not args.file:
            raise
        return _tell(_own(args), terminal, f"wrote {args.file}")
    with client:
        if not args.file:
            view = client.do(keeping.backup(None))
            return _tell(view, terminal, f"the server keeps {view.name}")
        path = Path(args.file)
        _free(path)
        view = client.do(keeping.backup(None))
        try:
            _fetch(client, view.name, path)
        finally:
            client.do(keeping.delete_backup(view.name))
    return _tell(view, terminal, f"wrote {path}")


def _list(args: argparse.Namespace, terminal: Terminal) -> int:
    with connect(args) as client:
        listed = client.do(keeping.backups())
    if not terminal.data(listed, lambda: Page[BackupView]):
        rows = [(one["name"], str(one["size"]), terminal.when(one["made_at"])) for one in listed["items"]]
        if rows:
            terminal.table(("name", "size", "made_at"), rows)
        else:
            terminal.line("no backups on the server")
    return 0


def _free(path: Path) -> None:
    if path.exists():
        raise Conflict(f"there is a file {path}: give another name")
    if not path.parent.is_dir():
        raise Invalid(f"there is no folder {path.parent}")


def _fetch(client: Client, name: str, path: Path) -> None:
    """The backup's bytes under ``path``: whole, checked and on the disk, or not at all."""
    from headrace.store.archive import Archive, disk_trouble, sync_folder

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with disk_trouble(f"cannot write {path}"):
        try:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                client.save(f"/api/v1/backups/{quote(name)}", file)
                file.flush()
                os.fsync(file.fileno())
            Archive(part).check()
            part.rename(path)
            sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)


def _verified(path: Path) -> BackupView:
    from headrace.control.api.backups import backup_view
    from headrace.control.backup.process import work
    from headrace.control.backup.work import Work

    return backup_view(path.name, work(Work(do="check", file=str(path))))


def _place(args: argparse.Namespace) -> tuple[Path, str]:
    """(data folder, PostgreSQL or the empty text) that the flags name."""
    flags = {"data": args.data, "store": getattr(args, "store", None)}
    found = settings(flags, os.environ, Path.cwd())
    return data_folder(found, os.environ, Path.cwd()), found["store"].value or ""


def _own(args: argparse.Namespace) -> BackupView:
    """A backup of a store on which no server runs."""
    from headrace.control.api.backups import backup_view
    from headrace.control.backup.process import work
    from headrace.control.backup.work import Work

    path = Path(args.file)
    _free(path)
    folder, store = _place(args)
    if not store and not (folder / "headrace.db").is_file():
        raise Unreachable(f"no server runs, and there is no store in the data folder {folder}")
    todo = Work(do="save", file=str(path), folder=str(folder), dsn=store)
    return backup_view(path.name, work(todo))


def _tell(view: BackupView, terminal: Terminal, what: str) -> int:
    if not terminal.data(view):
        rows = view.rows
        terminal.line(f"{what}: {view.size:,} bytes, everything up to {terminal.when(view.at)}")
        terminal.line(
            f"  {rows.get('run', 0):,} runs, {rows.get('task', 0):,} tasks, {rows.get('entity', 0):,} named things, "
            f"{view.blobs or 0:,} blobs of {view.blob_size or 0:,} bytes; from {view.store}, schema {view.schema}"
        )
        for trouble in view.troubles:
            terminal.line(terminal.style(f"  {trouble}", "red"))
    return TROUBLE if view.troubles else 0


def run_restore(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace restore``."""
    if args.server:
        with connect(args) as client:
            view = client.do(keeping.restore(args.file, force=args.force))
        if not terminal.data(view):
            terminal.line(f"the server begins anew with {view.name}; log in again")
        return 0
    from headrace.control.backup.process import work
    from headrace.control.backup.work import Work

    folder, store = _place(args)
    todo = Work(do="restore", file=args.file, folder=str(folder), dsn=store, force=args.force)
    try:
        done = work(todo)
    except Busy as error:
        raise Conflict(f"{error.message}: stop it first, or use --server") from error
    restored = done.restored
    if restored is None or terminal.data(restored):
        return 0
    terminal.line(f"restored into {'PostgreSQL' if store else folder}: everything up to {_at(terminal, restored)}")
    terminal.line(f"  incarnation {restored.incarnation}: agents' attempts, run tokens, sessions and tokens of before")
    terminal.line("  are refused; the data folder's admin-token opens the server")
    if restored.set_aside:
        terminal.line(f"  what was there is in {restored.set_aside}")
    if restored.unfinished:
        terminal.line(f"  {len(restored.unfinished)} runs had not ended; what became of them since is unknown:")
        rows = [(str(u.run), u.job or "", RunState(u.state).name) for u in restored.unfinished[:20]]
        terminal.table(("  run", "job", "state then"), [(f"  {run}", job, state) for run, job, state in rows])
        if len(restored.unfinished) > len(rows):
            terminal.line("  … all of them: --json")
    return 0


def _at(terminal: Terminal, restored: Any) -> str:
    from datetime import UTC, datetime

    return terminal.when(datetime.fromtimestamp(restored.backup_at / 1e6, UTC))


def run_export(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace export``."""
    with connect(args) as client:
        document = client.do(keeping.export())
    if not args.file:
        terminal.out.write(formatted(document, "edn" if terminal.form == "edn" else "json", _export_type) + "\n")
        return 0
    path = Path(args.file)
    form = "edn" if path.suffix.lower() == ".edn" else "json"
    path.write_text(formatted(document, form, _export_type) + "\n", encoding="utf-8")
    counts = {noun: len(document[noun]) for noun in ("jobs", "limits", "users")}
    if not terminal.data({"file": str(path), **counts}):
        terminal.line(f"wrote {path}: " + ", ".join(f"{count} {noun}" for noun, count in counts.items()))
    return 0


def _export_type() -> Any:
    from headrace.control.api.transfer import ExportView

    return ExportView


def run_import(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace import``."""
    path = Path(args.file)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read {path}: {error.strerror}") from error
    content = targets.MEDIA.get(path.suffix.lower(), "application/json")
    with connect(args) as client:
        done = client.do(keeping.import_(data, content, dry=args.dry_run, reason=args.reason))
    if terminal.data(done):
        return 0
    for item in done.items:
        waits = f"  waits for: {', '.join(item.waits_for)}" if item.waits_for else ""
        terminal.line(f"{item.kind} {item.name}: {item.outcome}{waits}")
    if done.dry_run:
        terminal.line("nothing was written: --dry-run")
    elif not done.items:
        terminal.line("nothing to import")
    return 0
