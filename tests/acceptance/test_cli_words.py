"""Every word of the command line against a real server: what it prints, as text and JSON, and its exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Server, serving, until
from headrace.codec.edn import Keyword, loads

HEADRACE = str(Path(sys.executable).with_name("headrace"))

YAML = """\
name: greet
description: says hello
params:
  type: object
  properties: {who: {type: string}, times: {type: integer, maximum: 3}}
  required: [who]
tasks:
  - name: hello
    command: [sh, -c, 'echo "hello $HEADRACE_PARAM_WHO"; echo note > note.txt; echo careful >&2']
    outputs: [note.txt]
  - name: after
    needs: [hello]
    command: ["true"]
"""

STEPS = """\
name: steps
params: {type: object, properties: {word: {type: string}}}
tasks:
  - name: make
    command: [sh, -c, 'echo make >> "$HEADRACE_PARAM_WORD"; echo hello > note.txt']
    outputs: [note.txt]
  - name: per
    each: [1, 2]
    command: [sh, -c, 'echo "per $0" >> "$HEADRACE_PARAM_WORD"; echo "$0" > n; test "$0" = 1 || test -e "$HEADRACE_PARAM_WORD.ok"', "${item}"]
    outputs: [n]
  - name: use
    needs: [make, per]
    command: [sh, -c, 'cd "$HEADRACE_INPUTS"; cat make/note.txt per/*/n']
"""

WRONG = """\
name: wrong
tasks:
  - name: a
    comand: [echo]
  - name: b
    needs: [c]
    command: [echo, "${params.x"]
"""

PY = """
from headrace import Fail, job, task

@task
def half(n: int) -> int:
    if n % 2:
        raise Fail(f"{n} is odd", exit_status="ODD")
    return n // 2

@task
def never(n: int) -> None: ...

@job
def halve(n: int = 4) -> int:
    result = half(n)
    never(result)
    return result
"""


FAMILY = """
from headrace import job, run_job, task, wait

@task
def double(n: int) -> int:
    return 2 * n

@job
def child(n: int) -> int:
    return double.after(wait("50ms"))(n)

@job
def parent(n: int) -> list[int]:
    saved = run_job("child", {"n": 10})
    return [child(n), saved]
"""

PHASED = """
import os, threading
from headrace import Context, job, task

@task
def digest(ctx: Context, gate: str) -> None:
    ctx.phase("validation")
    ctx.phase("digest", "half of it")
    ctx.progress(3, 6, "rows")
    while not os.path.exists(gate):
        threading.Event().wait(0.02)
    ctx.phase("load")

@job(phases=["validation", "digest", "load"])
def phased(gate: str) -> None:
    digest(gate)
"""


class Words:
    """The command line in a folder of its own, against one server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def __call__(self, *words: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [HEADRACE, "--data", str(self.server.data), *words]
        env = {**self.server.environ, **environ}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True)
        assert done.returncode == code, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = ["env", "--default-signal=INT", HEADRACE, "--data", str(self.server.data), *words]
        # A suite that was started in the background ignores SIGINT, and its children would inherit that.
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.server.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Words]:
    folder = tmp_path_factory.mktemp("words")
    (folder / "greet.yaml").write_text(YAML)
    (folder / "wrong.yaml").write_text(WRONG)
    (folder / "code.py").write_text(PY)
    (folder / "family.py").write_text(FAMILY)
    (folder / "one.json").write_text('{"name": "one", "tasks": [{"name": "a", "command": ["true"]}]}')
    with serving(folder / "data") as server:
        yield Words(server, folder)


def number_in(text: str) -> str:
    found = re.search(r"^run (\d+)", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_a_saved_job_is_put_listed_shown_saved_and_run(words: Words) -> None:
    assert words("job", "put", "greet.yaml").stdout == "job greet version 1\n"
    assert words.json("job", "put", "greet.yaml")["version"] == 1
    assert "greet  1" in words("job", "ls").stdout
    assert [j["name"] for j in words.json("job", "ls", "-q", "greet")["items"]] == ["greet"]
    assert words.json("job", "show", "greet")["description"] == "says hello"
    assert '"says hello"' in words("job", "show", "greet", "--version", "1").stdout
    words("job", "save", "greet", "-o", "saved.json")
    assert words("job", "put", "saved.json").stdout == "job greet version 1\n"
    done = words("run", "greet", "--who", "Ada", "--wait")
    number = number_in(done.stdout)
    assert done.stdout.startswith(f"run {number} succeeded after ")
    assert words("logs", number, "hello", "--stream", "stdout").stdout == "hello Ada\n"
    assert words("logs", number, "--stream", "stderr").stdout == "hello │ careful\n"
    assert {r["text"] for r in words.json("logs", number)} >= {"hello Ada\n", "careful\n"}
    shown = words("show", number).stdout
    assert "greet v1" in shown
    assert re.search(r"hello +succeeded +1 +0", shown)
    assert words.json("show", number)["tasks"][0]["name"] == "hello"
    assert words.json("show", number, "--output")["tasks"][0]["stdout"] == "hello Ada\n"
    assert words("explain", number).stdout.startswith("succeeded\n")
    assert words.json("explain", number)["decision"]
    assert "hello  note.txt  5" in words("artifacts", number).stdout
    words("artifacts", number, "-o", "files")
    assert (words.folder / "files" / "hello" / "note.txt").read_text() == "note\n"
    assert words("cancel", number, code=3).stderr.startswith("error: ")


EDN_JOB = """\
#:job{:name "spoken" ; in EDN
      :params {"type" "object" "properties" {"who" {"type" "string"}}}
      :on_failure :stop
      :tasks [#:task{:name "hello" :command ["echo" "hello ${params.who}"] :retries {:max 1}}]}
"""


def test_every_command_speaks_edn_and_files_may_be_written_in_it(words: Words) -> None:
    def edn(*given: str, code: int = 0) -> Any:
        return loads(words(*given, "--edn", code=code).stdout.encode())

    k = Keyword
    (words.folder / "spoken.edn").write_text(EDN_JOB)
    assert words("check", "spoken.edn").stdout == "spoken.edn: ok\n"
    saved = edn("job", "put", "spoken.edn")
    assert (saved[k("job/name")], saved[k("job/version")], saved[k("job/on_failure")]) == ("spoken", 1, k("stop"))
    run = edn("run", "spoken", "--who", "Ada", "--wait")
    assert (run[k("run/state")], run[k("run/params")]) == (k("succeeded"), {"who": "Ada"})
    number = str(run[k("run/id")])
    shown = edn("show", number)
    assert shown[k("run/created_at")].tzinfo is not None
    assert shown[k("run/tasks")][0][k("task/attempts")][0][k("attempt/state")] == k("succeeded")
    assert number in [str(r[k("run/id")]) for r in edn("runs", "--job", "spoken")[k("items")]]
    assert edn("logs", number)[0][k("log/text")] == "hello Ada\n"
    assert edn("explain", number)[k("decision")]
    assert edn("job", "show", "spoken")[k("job/tasks")][0][k("task/retries")] == {k("max"): 1}
    assert edn("job", "ls", "-q", "spoken")[k("items")][0][k("job/name")] == "spoken"
    assert edn("agent", "ls")[k("items")][0][k("agent/state")] == k("linked")
    assert edn("version")[k("version")]
    assert edn("config")[k("data")]["origin"] is not None
    words("job", "save", "spoken", "-o", "again.edn")
    assert "#" not in (words.folder / "again.edn").read_text()
    assert words("job", "put", "again.edn").stdout == "job spoken version 1\n"
    for name in ("again.yaml", "again.YML"):
        words("job", "save", "spoken", "-o", name)
        assert (words.folder / name).read_text().startswith("name: spoken\n")
        assert words("job", "put", name).stdout == "job spoken version 1\n"
    assert edn("run", "again.edn", "--who", "Bo", "--dry-run")[k("job/name")] == "spoken"
    (words.folder / "bad.edn").write_text('{:job/name "bad"\n :job/taks []}')
    assert "bad.edn: 2 problems" in words("check", "bad.edn", code=2).stdout
    assert "(line 2, column 12)" in words("job", "put", "bad.edn", code=2).stderr
    refused = words("show", "999999", "--edn", code=3).stderr
    assert loads(refused.encode())[k("status")] == 404


def test_a_run_without_waiting_prints_its_number_and_is_listed(words: Words) -> None:
    done = words("run", "one.json", "--reason", "a test", "--priority", "5", "--key", "once")
    again = words("run", "one.json", "--reason", "a test", "--priority", "5", "--key", "once")
    assert number_in(done.stdout) == number_in(again.stdout)
    number = number_in(done.stdout)
    assert f"headrace logs {number} --follow" in done.stdout
    words.server.wait(int(number))
    view = words.json("show", number)
    assert (view["priority"], view["version"], view["job"]) == (5, None, "one")
    rows = words.json("runs", "--job", "one", "--state", "succeeded", "--limit", "1")["items"]
    assert [str(r["id"]) for r in rows] == [number]
    assert words("runs", "--job", "one").stdout.split("\n")[0].split() == [
        "id",
        "job",
        "state",
        "exit",
        "created",
        "took",
    ]
    assert words("runs", "--job", "none-such").stdout == "no runs\n"
    assert "UTC" in words("--utc", "runs").stdout


def test_python_runs_and_a_failure_shows_the_users_own_line_and_what_did_not_run(words: Words) -> None:
    ok = words.json("run", "code.py:halve", "--n", "8", "--wait")
    assert ok["result"] == 4
    done = words("run", "code.py:halve", "-p", "n=7", "--follow", code=1)
    assert "half │ " in done.stdout
    assert "half failed ODD on attempt 1" in done.stdout
    assert "Fail: 7 is odd" in done.stdout
    assert re.search(r"code\.py:7 in half: raise Fail", done.stdout)
    assert "did not run: never" in done.stdout
    number = number_in(done.stdout)
    assert f"headrace logs {number}" in done.stdout
    assert f"headrace explain {number}" in done.stdout
    assert words.json("run", "code.py:halve", "--n", "3", "--wait", code=1)["state"] == "failed"
    assert words.json("run", "code.py", "--dry-run")["tasks"][0]["python"] == "code:half"
    words("job", "put", "code.py:halve")
    assert words.json("run", "halve", "--wait")["result"] == 2


def test_who_runs_a_task_as_a_job_is_told_two_commands_that_run_it(words: Words) -> None:
    (words.folder / "alone.py").write_text(
        "from headrace import task\n\n@task\ndef third(n: int) -> int:\n    return n // 3\n"
    )
    told = words("run", "alone.py:third", code=2).stderr
    found = re.search(r"headrace (package push \S+) && headrace (task run \S+) runs it alone", told)
    assert found, told
    words(*found[1].split())
    done = words.json(*found[2].split(), "--n", "9", "--wait")
    assert done["result"] == 3
    assert "did you mean 'third'?" in words("run", "alone.py:thrid", code=2).stderr


def test_jobs_that_a_job_calls_are_saved_with_it_and_their_runs_are_shown(words: Words) -> None:
    done = words("run", "family.py:parent", "--n", "4", "--follow")
    assert "result  [8,20]" in done.stdout
    assert re.search(r"child succeeded → run \d+", done.stdout)
    number = number_in(done.stdout)
    children = words.json("runs", "--parent", number)["items"]
    assert [(c["job"], c["version"], c["parent"], c["result"]) for c in children] == [
        ("child", 1, int(number), None)
    ] * 2
    shown = words("show", number).stdout
    told = set(re.findall(r"child(?:-2)? +succeeded +1 +run (\d+)", shown))
    assert told == {str(child["id"]) for child in children}
    assert f"  parent   run {number}\n" in words("show", str(children[0]["id"])).stdout
    assert words("check", "family.py").stdout == "family.py: ok\n"
    words("job", "put", "family.py:parent")
    assert words.json("run", "parent", "--n", "1", "--wait")["result"] == [2, 20]


def test_explain_says_until_when_a_run_waits(words: Words) -> None:
    (words.folder / "waits.yaml").write_text("{name: waits, tasks: [{name: w, wait: {for: 1h}}]}")
    number = number_in(words("run", "waits.yaml").stdout)
    told = words("explain", number).stdout
    assert told.startswith("waits for a child run or for time\n  w waits for 3")
    assert "expected at" in told
    words("cancel", number)
    assert words.json("show", number)["state"] == "canceled"


def test_exec_runs_one_command_with_its_environment(words: Words) -> None:
    done = words(
        "exec",
        "--env",
        "WHAT=tea",
        "--follow",
        "--",
        "sh",
        "-c",
        'printf "%s\\n" "$WHAT"; printf half; sleep 0.2; echo .',
    )
    assert "│ tea\n" in done.stdout
    assert "│ half.\n" in done.stdout
    failed = words("exec", "--wait", "--", "sh", "-c", "exit 4", code=1)
    assert "failed 4 on attempt 1" in failed.stdout
    assert "say what to run" in words("exec", code=2).stderr


def test_code_is_pushed_and_its_tasks_and_the_agents_are_listed(words: Words) -> None:
    assert re.match(
        r"package mine version \d+  [0-9a-f]{12}  2 tasks", words("package", "push", "code.py", "--name", "mine").stdout
    )
    assert "mine" in words("package", "ls").stdout
    assert "code:half" in words("task", "ls").stdout
    assert len(words.json("agent", "ls")["items"]) == 1
    assert words.json("package", "ls")["items"]


def test_every_problem_of_a_file_is_told_with_line_column_and_the_nearest_name(words: Words) -> None:
    for command in (("check",), ("job", "check"), ("job", "put"), ("run",)):
        done = words(*command, "wrong.yaml", code=2)
        told = done.stdout + done.stderr
        assert re.search(r"tasks\[0\]\.comand: unknown field.*command.*\(line 4, column \d+\)", told), told
        assert "no task 'c'" in told
        assert "line 7" in told
    done = words("check", "greet.yaml", "wrong.yaml", "none.yaml", "code.py:halve", code=2)
    assert "greet.yaml: ok" in done.stdout
    assert "none.yaml: 1 problem\n" in done.stdout
    assert "code.py:halve: ok" in done.stdout
    assert words.json("check", "wrong.yaml", code=2)["problems"]["wrong.yaml"][0]["line"] == 4
    assert words("check", "greet.yaml", "one.json").stdout == "greet.yaml: ok\none.json: ok\n"


def test_wrong_parameters_are_told_all_at_once(words: Words) -> None:
    done = words("run", "greet.yaml", "--times", "9", "--hwo", "x", code=2)
    assert "params.times: 9 is greater than the maximum of 3" in done.stderr
    assert "--hwo: there is no such parameter (did you mean --who?)" in done.stderr
    assert "params.who: is missing" in done.stderr
    done = words("run", "greet.yaml", "stray", "-p", "novalue", code=2)
    assert "stray: write parameters as --name value" in done.stderr
    assert "-p novalue: write it as name=value" in done.stderr


def test_what_is_not_there_is_refused_in_plain_words(words: Words) -> None:
    assert words("show", "999999", code=3).stderr == "error: there is no run 999999\n"
    told = json.loads(words("show", "999999", "--json", code=3).stderr)
    assert (told["error"], told["status"]) == ("there is no run 999999", 404)
    for command in (("logs",), ("explain",), ("cancel",), ("artifacts",)):
        assert "there is no run 999999" in words(*command, "999999", code=3).stderr
    assert "no job" in words("run", "no-such-job", code=3).stderr
    assert "did you mean 'halve'?" in words("run", str(words.folder / "code.py:halv"), code=2).stderr
    assert "no job" in words("job", "show", "no-such-job", code=3).stderr
    assert "there is no file" in words("run", "no/such/file.py:job", code=2).stderr
    assert "its jobs: halve" in words("run", "code.py:other", code=2).stderr
    assert "not one of ours" in words("runs", code=3, HEADRACE_TOKEN="hr_wrong").stderr
    nobody = words("--url", "http://127.0.0.1:9", "runs", code=3).stderr
    assert nobody.startswith("error: no server answers at http://127.0.0.1:9")


def test_a_file_of_the_users_that_cannot_be_imported_shows_his_lines_only(words: Words) -> None:
    (words.folder / "broken.py").write_text("import headrace\nimport no_such_module\n")
    done = words("run", "broken.py:x", code=2)
    assert "No module named 'no_such_module'" in done.stderr
    assert "line 2" in done.stderr
    (words.folder / "torn.py").write_text("def (\n")
    assert "SyntaxError" in words("run", "torn.py:x", code=2).stderr


def test_unknown_words_get_the_nearest_one_and_later_ones_say_so(words: Words) -> None:
    assert "did you mean 'runs'?" in words("rnus", code=2).stderr
    assert words("schedule", "ls", code=3).stderr == "error: not available yet: headrace schedule\n"
    assert "not available yet" in words("package", "watch", "greet", code=3).stderr
    assert "not available yet" in words("run", "greet", "--local", code=3).stderr
    assert "--nonsense" in words("runs", "--nonsense", code=2).stderr
    assert "usage: headrace" in words(code=2).stdout
    assert "a run is called by its number" in words("show", "seven", code=2).stderr


def test_help_names_every_command_and_every_command_has_help(words: Words) -> None:
    top = words("--help").stdout
    for command in (
        "up",
        "run",
        "exec",
        "runs",
        "show",
        "logs",
        "explain",
        "cancel",
        "artifacts",
        "job",
        "check",
        "config",
    ):
        assert re.search(rf"^    {command} ", top, re.MULTILINE), command
        assert f"usage: headrace {command}" in words(command, "--help").stdout


def test_about_needs_no_server(words: Words) -> None:
    assert re.match(r"headrace \d+\.\d+", words("version").stdout)
    assert words.json("version")["version"]
    rows = words.json("config")
    assert rows["data"] == {"value": str(words.server.data), "origin": "flag"}
    assert "HEADRACE_" not in words("config", HEADRACE_TOKEN="secret").stdout
    assert "secret" not in words("config", HEADRACE_TOKEN="secret").stdout
    for what in ("job", "schedule", "calendar", "subscription", "config"):
        assert json.loads(words("schema", what).stdout)["$schema"].startswith("https://json-schema.org/")


def test_follow_on_a_terminal_shows_progress_in_colours_and_ends_clean(words: Words) -> None:
    ours, theirs = pty.openpty()
    command = [
        HEADRACE,
        "--data",
        str(words.server.data),
        "exec",
        "--follow",
        "--",
        "sh",
        "-c",
        "echo begun; sleep 1; echo over",
    ]
    environ = {**words.server.environ, "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(command, cwd=words.folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65_536):
            shown += data
    except OSError:
        pass  # the other end is closed: that is how a pty ends
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert "0/1 tasks, running" in text
    assert "\x1b[32msucceeded\x1b[0m" in text
    assert text.index("begun") < text.index("0/1 tasks, running", text.index("begun")) < text.index("over")
    last = text.rstrip().rsplit("\n", 1)[-1]
    assert "tasks," not in last.rsplit("\x1b[2K", 1)[-1]


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it says after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    return process.communicate()[1]


def test_ctrl_c_leaves_the_run_going_and_says_how_to_end_it(words: Words) -> None:
    process = words.start("exec", "--follow", "--", "sh", "-c", "echo begun; exec sleep 600")
    assert process.stdout is not None
    seen = ""
    while "begun" not in seen:
        seen += process.stdout.readline()
    told = interrupted(process)
    assert process.returncode == 130
    found = re.search(r"run (\d+) goes on", told)
    assert found, told
    assert f"headrace cancel {found[1]}" in told
    assert words.json("show", found[1])["state"] == "running"
    assert words("cancel", found[1], "--reason", "enough", "--wait").stdout == f"run {found[1]} canceled\n"
    assert words("logs", found[1], "--follow").stdout.count("begun") == 1


def test_a_control_that_dies_while_somebody_watches_is_waited_for(words: Words, tmp_path: Path) -> None:
    process = words.start(
        "exec",
        "--follow",
        "--",
        "sh",
        "-c",
        f"echo begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo over",
    )
    assert process.stdout is not None
    seen = ""
    while "begun" not in seen:
        seen += process.stdout.readline()
    os.kill(words.server.control(), signal.SIGKILL)
    words.server.forget()
    words.server.ask(lambda c: c.version())
    (tmp_path / "go").touch()
    rest, told = process.communicate()
    assert process.returncode == 0, told + rest
    assert "over" in rest


def test_a_server_that_is_only_starting_is_waited_for(words: Words, tmp_path: Path) -> None:
    data = tmp_path / "both"
    env = words.server.environ
    up = subprocess.Popen([HEADRACE, "--data", str(data), "up", "--port", "0", "--quiet"], env=env)
    try:
        until((data / "control.lock").exists)
        command = [HEADRACE, "--data", str(data), "run", str(words.folder / "code.py:halve"), "--n", "6"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert up.poll() is None
        again = subprocess.run([*command, "--wait"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert "run 2 succeeded" in again.stdout, again.stdout + again.stderr
    finally:
        up.terminate()
        assert up.wait() == 0


@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_an_answer_that_cannot_be_written_is_said_in_a_sentence(words: Words, where: str) -> None:
    command = f"{HEADRACE} --data {words.server.data} runs {where}"
    done = subprocess.run(["sh", "-c", command], env=words.server.environ, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    if "full" in where:
        assert (done.returncode, done.stderr.count("\n")) == (3, 1)
        assert "could not be written: No space left" in done.stderr


def test_without_a_server_one_runs_for_the_length_of_the_run(words: Words, tmp_path: Path) -> None:
    data = tmp_path / "own"
    env = words.server.environ
    command = [HEADRACE, "--data", str(data), "run", str(words.folder / "code.py:halve"), "--n", "6"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no server is running: starting one" in done.stdout
    assert "run 1 succeeded" in done.stdout
    gone = subprocess.run(
        [HEADRACE, "--data", str(data), "runs"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert gone.returncode == 3
    assert "start one with: headrace up" in gone.stderr


def test_a_run_is_restarted_from_what_failed_with_the_files_of_what_had_succeeded(words: Words) -> None:
    said = words.folder / "said"
    (words.folder / "steps.yaml").write_text(STEPS)
    words("job", "put", "steps.yaml")
    old = number_in(words("run", "steps", "--word", str(said), "--wait", code=1).stdout)
    assert sorted(said.read_text().splitlines()) == ["make", "per 1", "per 2"]
    (words.folder / "said.ok").touch()
    new = number_in(words("restart", old, "--reason", "the machine is mended", "--wait").stdout)
    assert sorted(said.read_text().splitlines()) == ["make", "per 1", "per 2", "per 2"]
    assert words("logs", new, "use").stdout == "hello\n1\n2\n"
    view = words.json("show", new)
    assert (view["restarted_from"], view["reason"]) == (int(old), "the machine is mended")
    assert [task["taken_from"] for task in view["tasks"]] == [int(old), None, None]
    assert "per[0]" not in words("logs", new).stdout, "its log stays where it was made"
    shown = words("artifacts", new).stdout
    assert ("note.txt" in shown, "per[0]" in shown, "per[1]" in shown) == (True, True, True)
    assert f"restarted as  {new}" in words("show", old).stdout
    assert "nothing in it failed" in words("restart", new, code=3).stderr
    third = number_in(words("restart", new, "--from", "use", "-p", f"word={said}2", "--wait").stdout)
    assert words.json("show", third)["params"] == {"word": f"{said}2"}
    assert not (words.folder / "said2").exists()


def test_what_is_asked_of_runs(words: Words) -> None:
    number = number_in(words("run", "one.json", "--delay", "1h").stdout)
    assert "waits for its time" in words("explain", number).stdout
    assert words("pause", number, "--reason", "later").stdout == f"run {number} paused\n"
    assert words("resume", number).stdout == f"run {number} queued\n"
    assert words("resume", number, code=3).stderr == f"error: run {number} is queued: Resume refused\n"
    assert words("stop", number, "--wait").stdout == f"run {number} canceled\n"
    assert words("abandon", number, code=3).stderr == f"error: run {number} has ended: canceled\n"
    number = number_in(words("exec", "--at", "2040-01-01T06:00Z", "--", "true").stdout)
    assert words.json("show", number)["begins_at"] == "2040-01-01T06:00:00Z"
    assert words.json("abandon", number)["state"] == "abandoned"


def test_what_python_work_says_of_itself_is_shown_while_it_runs_and_kept(words: Words) -> None:
    gate = words.folder / "gate"
    (words.folder / "phased.py").write_text(PHASED)
    number = number_in(words("run", "phased.py", "--gate", str(gate)).stdout)
    until(lambda: (words.json("show", number)["tasks"][0]["progress"] or {}).get("done") == 3)
    view = words.json("show", number)
    assert (view["phase"], view["message"]) == ("digest", "half of it")
    assert "phase    digest (half of it)" in words("show", number).stdout
    gate.touch()
    until(lambda: words.json("show", number)["state"] == "succeeded")
    assert words.json("show", number)["phase"] == "load"
