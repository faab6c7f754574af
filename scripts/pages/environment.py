"""docs/reference/environment.md: what an attempt sees, and the settings of Headrace itself."""

from __future__ import annotations

from msgspec import inspect as shapes

from headrace.agent.executors.environment import PASSED, Given, environment
from headrace.client.config import DEFAULT_PORT, Config
from headrace.link.records import Assignment
from pages.words import GENERATED, field_docs, table, type_words

MEANS = {
    "HEADRACE_RUN": "the run's number",
    "HEADRACE_TASK": "the task's name; an instance of a task with `each` is `name[3]`",
    "HEADRACE_ATTEMPT": "1, 2, 3 …",
    "HEADRACE_EPOCH": "the fencing token: hand it to other systems so that they refuse older writers",
    "HEADRACE_JOB": "the job's name",
    "HEADRACE_OUTPUTS": "a folder: what is put here becomes artifacts",
    "HEADRACE_INPUTS": "a folder: the artifacts of the tasks that this one needs, one folder per task",
    "HEADRACE_RESULT": "a file: JSON written here is the task's result",
    "HEADRACE_EXIT_STATUS": "a file: text written here is the exit status",
    "HEADRACE_PARAMS": "a JSON file with the run's parameters",
    "HEADRACE_PARAM_<NAME>": "each parameter, its name in capitals; text as it is, anything else as JSON; what is beyond 128 KiB, or 512 KiB in all, stands in `HEADRACE_PARAMS` only",
    "HEADRACE_URL": "the server, where it has an address",
    "HEADRACE_TOKEN": "a credential for this run only",
    "HEADRACE_ATTEMPT_KEY": "the agent's mark, by which it finds every process of an attempt; nothing for you to use",
}


def page() -> str:
    """The whole page. Raises AssertionError when the code sets a variable that has no meaning here, or one is gone."""
    assignment = Assignment(1, 0, -1, 1, 1, 0, "command", "t", job="j", params=b'{"<name>":1}', url="u", token="t")
    names = [
        "HEADRACE_PARAM_<NAME>" if name.startswith("HEADRACE_PARAM_") else name
        for name in environment({}, assignment, "", "k", Given())
    ]
    assert sorted(names) == sorted(MEANS), set(names) ^ set(MEANS)
    passed = ", ".join(f"`{name}`" for name in PASSED)
    parts = [
        GENERATED,
        "# Environment\n",
        "## What an attempt sees\n",
        "An attempt runs in an empty working folder of its own. It sees the variables below, the `env` of its job and "
        f"task, and of the agent's own environment only {passed}.\n",
        table(("variable", "is"), [(f"`{name}`", means) for name, means in MEANS.items()]),
        "A Python task needs none of them: its `Context` says the same.\n",
        "## Settings\n",
        "A flag comes before `HEADRACE_*`, that before the nearest `headrace.toml` (or `[tool.headrace]` of "
        "`pyproject.toml`) upwards from the working folder, that before `~/.config/headrace/config.toml`, that before "
        "the default. One name in all forms: `--port`, `HEADRACE_PORT`, `port = …`. `headrace config` prints every "
        "value and where it comes from. Unknown keys of a file are errors.\n",
        _settings(),
        f"The default port is {DEFAULT_PORT}. The data folder is `--data`, else `.headrace` beside `headrace.toml`, "
        "else `headrace` in the XDG data folder (`~/.local/share`). While a server runs, its data folder holds "
        "`server.json` (`url`, `pid`) and `admin-token`: command line and client find it by them.\n",
        "`NO_COLOR` (any value) turns colours off.\n",
    ]
    return "\n".join(parts)


def _settings() -> str:
    docs = field_docs(Config)
    rows = [
        (f"`{f.name}`", f"`HEADRACE_{f.name.upper()}`", type_words(f.type), docs[f.name])
        for f in shapes.type_info(Config).fields  # type: ignore[attr-defined]  # a record
    ]
    return table(("setting", "variable", "type", "means"), rows)
