"""Bundles: the project around a file, the same bytes each time, never a secret."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from headrace.author.bundle import bundle, load_job, package_name
from headrace.codec.scan import tasks_in
from headrace.model.errors import Invalid

FLOW = """
from headrace import job, task
import helper
@task
def one(): ...
@job
def flow(): one()
"""


def project(root: Path, **files: str) -> Path:
    for name, text in {"pyproject.toml": "", "jobs/flow_of_bundle.py": FLOW, "jobs/helper.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "jobs" / "flow_of_bundle.py"


def names(data: bytes) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(data)).namelist()) - {".headrace/package.json"}


def test_a_project_is_packed_without_what_is_ignored_and_without_secrets(tmp_path: Path) -> None:
    ignore = "*.log\n/build/\ndata/*.csv\n!data/keep.csv\n**/deep.txt\n# note\n"
    unwanted = (".env", ".env.local", "a.log", "x/b.log", "build/c", "data/d.csv", "x/y/deep.txt", "k.pem", ".git/config",
                ".venv/x", "jobs/__pycache__/x.pyc", "id_rsa", "secrets.toml")  # fmt: skip
    wanted = ("data/keep.csv", "x/build/c", "README")
    file = project(tmp_path, **dict.fromkeys((*unwanted, *wanted), ""), **{".gitignore": ignore})
    (tmp_path / "link").symlink_to("/etc/passwd")
    found = names(bundle(file))
    assert found == {*wanted, "pyproject.toml", "jobs/flow_of_bundle.py", "jobs/helper.py", ".gitignore"}


def test_the_same_files_give_the_same_bytes_and_modules_are_named_as_they_are_imported(tmp_path: Path) -> None:
    file = project(tmp_path)
    data = bundle(file)
    file.touch()
    assert bundle(file) == data
    assert [t.reference for t in tasks_in(data)] == ["flow_of_bundle:one"]
    job = load_job(file)
    assert job.definition().tasks[0].python == "flow_of_bundle:one"
    with pytest.raises(Invalid, match="flow"):
        load_job(file, "nothing")


def test_who_asks_for_a_task_as_a_job_is_told_how_it_is_run(tmp_path: Path) -> None:
    file = tmp_path / "tasks_of_bundle.py"
    file.write_text(
        "from headrace import Task, job, task\n\n@task\ndef clean() -> int:\n    return 1\n\n"
        "class Load(Task):\n    def run(self, ctx) -> int:\n        return 2\n"
    )
    way = "headrace package push .*tasks_of_bundle.py && headrace task run tasks_of_bundle:clean"
    for name, told in (
        ("clean", f"'clean' of tasks_of_bundle.py is a task, no job: {way}"),
        ("Load", "'Load' .* is a task, no job: .*headrace task run tasks_of_bundle:Load"),
        ("claen", "no job 'claen' .did you mean 'clean'.*its jobs: none; its tasks: Load, clean"),
        (None, "not exactly one job; its jobs: none; its tasks: Load, clean; headrace package push"),
    ):
        with pytest.raises(Invalid, match=told):
            load_job(file, name)


def test_a_file_outside_a_project_is_packed_alone(tmp_path: Path) -> None:
    file = tmp_path / "My File.py"
    file.write_text(FLOW)
    (tmp_path / "other.py").write_text("")
    assert names(bundle(file)) == {"My File.py"}
    assert package_name(file) == "my-file"
