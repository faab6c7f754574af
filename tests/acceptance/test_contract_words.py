"""What the contract says, asked from outside of one server with nothing but HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harness import Server, serving
from headrace import Client, RunFailed

FINAL = {"succeeded", "failed", "canceled", "abandoned"}


class Api:
    """A server and how it is asked."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = json.loads((server.data / "server.json").read_text())["url"] + "/api/v1"
        self.token = (server.data / "admin-token").read_text().strip()

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status, and the body read as JSON or as it is."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            status, text = refused.code, refused.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def submit(self, *tasks: dict[str, Any], **given: Any) -> int:
        """A run of these tasks; ``given`` stands beside the definition."""
        status, run = self("POST", "/runs", {"job": {"name": "words", "tasks": list(tasks)}, **given})
        assert status == 201, run
        return int(run["id"])

    def ended(self, number: int) -> dict[str, Any]:
        """The run, when it has ended."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            _, run = self("GET", f"/runs/{number}?wait=10s")
            if run["state"] in FINAL:
                return dict(run)
        raise AssertionError(f"run {number} has not ended")

    def run(self, *tasks: dict[str, Any], **given: Any) -> dict[str, Any]:
        """Submit, and wait for the end."""
        return self.ended(self.submit(*tasks, **given))


def sh(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "script": text, **more}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("words") / "data") as server:
        yield Api(server)


def test_a_run_says_what_the_task_says_whose_result_is_its_own(api: Api) -> None:
    said = 'echo "$0" > "$HEADRACE_EXIT_STATUS"'.replace('"$0"', "{}")
    chain = api.run(sh("a", "true"), sh("b", said.format("NO_ROWS"), needs=["a"]))
    assert (chain["state"], chain["exit_status"]) == ("succeeded", "NO_ROWS")
    last = {"finally": True, "name": "tidy", "script": "exit 7"}
    assert api.run(sh("a", "true"), sh("b", said.format("NO_ROWS"), needs=["a"]), last)["exit_status"] == "7"
    handled = api.run(sh("a", "exit 3"), sh("b", said.format("MENDED"), needs=[{"task": "a", "state": "failed"}]))
    assert (handled["state"], handled["exit_status"]) == ("failed", "3")
    assert api.run(sh("a", "true"), sh("b", "true"))["exit_status"] is None
    named = {"name": "words", "tasks": [sh("a", said.format("A")), sh("b", said.format("B"))]}
    _, run = api("POST", "/runs", {"job": {**named, "result": "${tasks.a.result}"}})
    assert api.ended(run["id"])["exit_status"] == "A"


def test_a_failure_that_is_followed_shows_what_the_task_was_given(api: Api, tmp_path: Path) -> None:
    tasks = [
        sh("a", 'echo "[4, 0]" > "$HEADRACE_RESULT"'),
        {"name": "b", "each": "${tasks.a.result}", "command": ["sh", "-c", "test $0 != 0", "${item}", "${params.day}"]},
        {"name": "c", "needs": ["b"], "command": ["true"]},
    ]
    params = {"type": "object", "properties": {"day": {"type": "string"}}}
    (tmp_path / "divide.json").write_text(json.dumps({"name": "divide", "params": params, "tasks": tasks}))
    headrace = str(Path(sys.executable).with_name("headrace"))
    for how in ("--follow", "--wait"):
        argv = [headrace, "run", str(tmp_path / "divide.json"), "--day", "mon day", how]
        told = subprocess.run(
            argv, env={**os.environ, "HEADRACE_DATA": str(api.server.data)}, capture_output=True, text=True, timeout=60
        )
        lines = told.stdout.splitlines()
        assert (told.returncode, "  did not run: c" in lines) == (1, True), told
        assert "    given: sh -c 'test $0 != 0' 0 'mon day'" in lines
        assert "  b[1] failed 1 on attempt 1" in lines


def test_the_files_of_a_cached_task_are_those_of_the_run(api: Api) -> None:
    task = sh("a", 'echo kept > "$HEADRACE_OUTPUTS/f.txt"', cache={"for": "1h"})
    first, second = api.run(task), api.run(task)
    assert second["tasks"][0]["reason"] == "cached"
    listed = [api("GET", f"/runs/{run['id']}/artifacts")[1]["items"] for run in (first, second)]
    assert [item["path"] for item in listed[1]] == ["f.txt"]
    assert listed[0] == listed[1]
    assert api("GET", f"/runs/{second['id']}/artifacts/f.txt") == (200, b"kept\n")


def test_a_task_that_takes_too_long_says_timeout(api: Api) -> None:
    run = api.run(sh("a", "sleep 60", timeout="200ms"))
    (task,) = run["tasks"]
    assert (task["state"], task["reason"], task["attempts"][0]["reason"]) == ("failed", "timeout", "timeout")


def test_a_task_with_each_says_when_it_began(api: Api) -> None:
    run = api.run({"name": "a", "each": [1, 2], "command": ["true"]})
    (task,) = run["tasks"]
    began, ended = (datetime.fromisoformat(task[name]) for name in ("started_at", "ended_at"))
    assert datetime.fromisoformat(run["created_at"]) <= began <= ended


def test_a_condition_on_the_item_is_decided_for_each_instance(api: Api) -> None:
    def sifted(items: list[Any], **when: Any) -> tuple[str, str, Any, Any]:
        task = {"name": "a", "each": items, "when": {"value": "${item}", **when}, "interpreter": ["sh", "-eu"]}
        task |= {"script": 'echo "$I" > "$HEADRACE_RESULT"', "env": {"I": "${item}"}, "concurrency": 2}
        run = api.run(task, sh("after", "true", needs=["a"]))
        return run["state"], run["tasks"][0]["state"], run["tasks"][0]["result"], run["tasks"][1]["state"]

    assert sifted([1, 2, 3, 4, 5], ne=2) == ("succeeded", "succeeded", [1, None, 3, 4, 5], "succeeded")
    assert sifted([1, 2], gt=5) == ("succeeded", "skipped", [None, None], "skipped")
    assert sifted([], gt=5) == ("succeeded", "succeeded", [], "succeeded")
    assert sifted(list(range(700)), lt=1)[:2] == ("succeeded", "succeeded")


def test_a_deleted_job_is_not_found(api: Api) -> None:
    job = {"name": "shortlived", "tasks": [sh("a", "true")]}
    assert api("PUT", "/jobs/shortlived", job)[0] == 201
    assert api("DELETE", "/jobs/shortlived")[0] == 204
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/runs")):
        status, problem = api(method, f"/jobs/shortlived{path}", {} if method == "POST" else None)
        assert (status, "restore" in problem["detail"]) == (404, True)
    assert api("POST", "/jobs/shortlived/restore")[0] == 200
    assert api("GET", "/jobs/shortlived")[0] == 200


def test_what_is_no_task_is_not_run(api: Api) -> None:
    for path, body in (
        ("/runs", {"task": "os:system"}),
        ("/tasks/os:system/runs", {}),
        ("/runs", {"job": {"name": "words", "tasks": [{"name": "a", "python": "os:system"}]}}),
    ):
        status, problem = api("POST", path, body)
        assert (status, "not a task" in problem["problems"][0]["message"]) == (422, True), problem


def test_a_run_expires_after_a_time_or_at_an_instant(api: Api) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    number = api.submit(sh("a", "true"), expires=soon, delay="1h")
    assert api("GET", f"/runs/{number}")[1]["expires_at"] == soon
    gone = api.run(sh("a", "true"), expires="2001-01-01T00:00:00Z", delay="1h")
    assert (gone["state"], gone["reason"]) == ("canceled", "expired")
    status, problem = api("POST", "/runs", {"command": ["true"], "expires": "soon"})
    assert (status, problem["problems"][0]["path"]) == (422, "expires")


def test_an_http_task_expects_statuses_and_classes(api: Api, tmp_path: Path) -> None:
    base = api.url.removesuffix("/v1")
    for expect, state in ((["2xx", 401], "succeeded"), ([404, "5xx"], "failed"), ("401", "succeeded")):
        task = {"name": "ask", "http": {"url": f"{base}/openapi.json", "expect": expect}}
        assert api.run(task)["state"] == state


def test_a_result_that_there_is_not_raises_the_cause_and_its_traceback(api: Api) -> None:
    broken = [{"name": "a", "each": [1, 0], "command": ["sh", "-c", "exit $0", "${item}"]}]
    with Client(data=api.server.data) as client:
        with pytest.raises(RunFailed, match=r"a\[0\] failed: exit code 1") as failed:
            client.submit({"job": {"name": "words", "tasks": broken}}).result()
        assert failed.value.error.type == "ExitCode"
        ask = {"url": "http://127.0.0.1:1/"}
        with pytest.raises(RunFailed, match=r"ConnectionRefusedError: GET http://127.0.0.1:1/"):
            client.submit({"job": {"name": "words", "tasks": [{"name": "a", "http": ask}]}}).result()


def test_a_run_that_is_not_wanted_says_so_in_the_answer_that_made_it(api: Api) -> None:
    job = {"name": "alone", "tasks": [sh("a", "sleep 60")], "concurrency": {"max": 1, "when_full": "skip"}}
    assert api("PUT", "/jobs/alone", job)[0] == 201
    first, second = (api("POST", "/jobs/alone/runs", {"reason": "why not"})[1] for _ in range(2))
    assert (first["state"], first["reason"], first["ended_at"]) == ("queued", "why not", None)
    assert second["state"] == "canceled"
    assert f"run {first['id']} is in the way" in second["reason"]
    assert second == api("GET", f"/runs/{second['id']}")[1] | {"tasks": []}
    assert api("POST", f"/runs/{first['id']}/abandon", {})[0] == 202


def test_states_of_others_are_keywords_in_edn(api: Api) -> None:
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "application/edn"}
    for text in ('{:id "d-1" :job "digest" :status :pending}', '{:job/id "d-2" :job/status "pending"}'):
        asked = urllib.request.Request(api.url + "/job", text.encode(), headers, method="POST")
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert (answer.status, json.loads(answer.read())["state"]) == (201, "queued")


@pytest.mark.parametrize(("flag", "value"), [("--port", "99999"), ("--port", "-1"), ("--workers", "-3")])
def test_a_number_that_cannot_be_is_told_at_once(tmp_path: Path, flag: str, value: str) -> None:
    headrace = str(Path(sys.executable).with_name("headrace"))
    argv = [headrace, "up", "--data", str(tmp_path / "d"), "--port", "0", flag, value]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert (told.returncode, told.stdout) == (2, "")
    assert flag.lstrip("-") in told.stderr
    assert value in told.stderr
    assert "Traceback" not in told.stderr
