"""``headrace package ls|push|versions|rollback|rm``: registered code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from headrace.cli import targets
from headrace.cli.runs import connect
from headrace.cli.shapes import Page
from headrace.cli.terminal import Terminal
from headrace.client import flow, keeping
from headrace.model.errors import Invalid
from headrace.model.views import PackageView


def add(commands: Any) -> None:
    """The words of these commands."""
    verbs = commands.add_parser("package", help="registered code: ls, push, versions, rollback, rm").add_subparsers(
        required=True, metavar="VERB (ls push versions rollback rm)"
    )
    verbs.add_parser("ls", help="list registered code").set_defaults(do=list_packages)
    push = verbs.add_parser("push", help="register a project's or a file's code")
    push.add_argument("path", help="a folder or a file; file.py:job saves that job too")
    push.add_argument("--name", help="default: that of the project or the file")
    push.set_defaults(do=push_package)
    versions = verbs.add_parser("versions", help="every version of a package")
    versions.add_argument("name")
    versions.set_defaults(do=list_versions)
    rollback = verbs.add_parser("rollback", help="let the name mean an earlier version again")
    rollback.add_argument("name")
    rollback.add_argument("to", nargs="?", metavar="VERSION", help="a version or a digest; default: the one before")
    rollback.add_argument("--reason", help="why; kept with the version")
    rollback.set_defaults(do=rollback_package)
    rm = verbs.add_parser("rm", help="take a package back, or one version of it; refused while it is used")
    rm.add_argument("name")
    rm.add_argument("digest", nargs="?", help="only this version")
    rm.add_argument("--reason", help="why; kept with the version")
    rm.set_defaults(do=delete_package)


def list_packages(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace package ls``."""
    with connect(args) as client:
        listed = client.do(flow.listed("packages"))
    return _table(listed, terminal, "no packages: headrace package push PATH")


def list_versions(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace package versions``."""
    with connect(args) as client:
        listed = client.do(keeping.package_versions(args.name))
    return _table(listed, terminal, "no versions")


def _table(listed: dict[str, Any], terminal: Terminal, nothing: str) -> int:
    if terminal.data(listed, lambda: Page[PackageView]):
        return 0
    rows = [
        (one["name"], str(one["version"]), one["digest"][:12], str(one["size"]), terminal.when(one.get("created_at")))
        for one in listed["items"]
    ]
    if rows:
        terminal.table(("name", "version", "digest", "size", "created_at"), rows)
    else:
        terminal.line(nothing)
    return 0


def push_package(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace package push``."""
    from headrace.author.bundle import bundle, package_name

    file, _, job = args.path.partition(":")
    path = Path(file)
    if not path.exists():
        raise Invalid(f"there is no file or folder {file!r}")
    name = args.name or package_name(path)
    with connect(args) as client:
        package = client.packages.put(name, bundle(path))
        if job:
            definition = targets.read(args.path).definition
            if definition is None:
                raise Invalid(f"{args.path!r} is no job")
            client.do(keeping.package_jobs(name, [{**definition, "package": name}]))
    if not terminal.data(package):
        also = f"; job {job} saved" if job else ""
        told = f"package {package.name} version {package.version}  {package.digest[:12]}  {len(package.tasks)} tasks"
        terminal.line(told + also)
    return 0


def rollback_package(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace package rollback``."""
    with connect(args) as client:
        package = client.do(keeping.rollback_package(args.name, args.to, args.reason))
    if not terminal.data(package):
        terminal.line(f"package {package.name} version {package.version} is {package.digest[:12]} again")
        terminal.line("  jobs that were saved before stay with the code they have: save them again to move them")
    return 0


def delete_package(args: argparse.Namespace, terminal: Terminal) -> int:
    """``headrace package rm``."""
    with connect(args) as client:
        client.do(keeping.delete_package(args.name, args.digest, args.reason))
    what = args.name if args.digest is None else f"{args.name} {args.digest[:12]}"
    if not terminal.data({"deleted": what}):
        terminal.line(f"package {what} is taken back")
    return 0
