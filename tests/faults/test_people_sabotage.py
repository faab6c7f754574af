"""Take a defence of the border out of the product, and the test that stands for it must go red.

Each case edits a copy of the product and runs the product's own tests against it, never the other way round. A text that is
to be edited and is not there fails the case.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_sabotage import SOURCE, Edit

TESTS = SOURCE.parents[1] / "tests"
SECONDS = 200
ENTRY, AUTH, TOKENS = "control/api/entry.py", "control/auth.py", "control/api/tokens.py"
PEOPLE, MATRIX, ROUTES = "test_api_people.py", "test_role_matrix.py", "test_api_routes.py"
COMPARED = "        _compare(record.digest, hashed)\n"
"""What the border rests on, one line each: (the edit, the file of tests, which of them)."""
DEFENCES = (
    (Edit(ENTRY, "    caller.require(route.permission)", "    pass"), MATRIX, "every_role"),
    (
        Edit(ENTRY, "route.permission is Permission.public:\n            caller", "route.permission.value[:4] == 'jobs':\n            caller"),
        MATRIX,
        "no_good",
    ),
    (Edit(ENTRY, "if not route.run_token and route.permission is not Permission.public:", "if False:"), MATRIX, "run_token_opens"),
    (
        Edit(ENTRY, 'call.values.get("id") != str(caller.claim.run)', 'int(call.values.get("id") or 0) != caller.claim.run'),
        "test_hostile_ids.py",
        "spelling",
    ),
    (Edit(ENTRY, "            if not value.startswith(SESSION_PREFIX.encode()):", "            if False:"), MATRIX, "no_good"),
    (Edit(ENTRY, "        if unsafe or endpoint.route.socket:", "        if False:"), ROUTES, "other_peoples"),
    (Edit(ENTRY, "surely=cookie)", "surely=False)"), PEOPLE, "out_of_reach"),
    (Edit(ENTRY, 'b"HttpOnly", ', ""), PEOPLE, "out_of_reach"),
    (Edit(ENTRY, 'b"SameSite=Strict"', 'b"SameSite=None"'), PEOPLE, "out_of_reach"),
    (Edit(ENTRY, '        parts.append(b"Secure")', "        pass"), PEOPLE, "over_tls"),
    (Edit("control/api/guard.py", "        if name not in self._names:", "        if False:"), ROUTES, "good_hosts"),
    (Edit("control/api/guard.py", '(secure and scheme != b"https")', "False"), PEOPLE, "over_tls"),
    (Edit("control/api/standing.py", "auth.over(caller))", "asyncio.Event().wait())"), PEOPLE, "what_waits"),
    (Edit(AUTH, "        self._bell.set()\n", ""), PEOPLE, "what_streams"),
    (Edit(AUTH, "return caller.permissions <= fresh.permissions", "return True"), PEOPLE, "may_less"),
    (Edit(AUTH, "if found is None or record.made_at <= found[1].since:", "if found is None:"), PEOPLE, "end_all_sessions"),
    (Edit(AUTH, "return None if record.disabled else (row, record)", "return (row, record)"), MATRIX, "no_good"),
    (Edit(AUTH, "if row is None or row.deleted_at:\n            raise", "if row is None:\n            raise"), PEOPLE, "here_at_once"),
    (Edit(AUTH, "or owner[0].created_at > row.created_at", ""), PEOPLE, "made_again"),
    (Edit(AUTH, "            held &= ROLES[Role(owner[1].role)]", "            pass"), PEOPLE, "what_its_user_may"),
    (Edit(AUTH, "held = frozenset(p for p in held if p in _ALWAYS or p.value in record.scopes)", "pass"), PEOPLE, "scopes_say"),
    (Edit(AUTH, "min(record.expires_at, record.seen_at + IDLE_US)", "record.expires_at"), PEOPLE, "not_used"),
    (Edit(AUTH, "min(record.expires_at, record.seen_at + IDLE_US)", "record.seen_at + IDLE_US"), PEOPLE, "after_its_time"),
    (Edit(AUTH, COMPARED + "        role", "        role"), "test_auth.py", "compared_whole"),
    (Edit(AUTH, COMPARED + "        user", "        user"), PEOPLE, "place_that_was_left"),
    (Edit(TOKENS, "    if beyond := sorted(p.value for p in wanted - caller.permissions):", "    if beyond := []:"), PEOPLE, "nobody_makes"),
    (Edit(TOKENS, "return min(end, caller.expires_at)", "return end"), PEOPLE, "outlive"),
    (Edit(TOKENS, "or row.deleted_at or not _may_see(call, row):", "or row.deleted_at:"), PEOPLE, "see_and_revoke"),
    (Edit(TOKENS, ", kept=lambda _: Told(201, kept, place)", ""), PEOPLE, "shown_once"),
    (Edit("control/api/users.py", "    hide_password(call)\n    kept", "    kept"), PEOPLE, "idempotency_key"),
    (Edit("control/api/sessions.py", "    services.lockout.begin(body.name,", "    print(body.name,"), PEOPLE, "slowed_down"),
    (Edit("control/passwords.py", "(kept or self._nobody)", '(kept or "x")'), PEOPLE, "wrong_name"),
    (Edit("control/changes/people.py", "or record.password != self.password", ""), PEOPLE, "between"),
    (Edit("control/changes/people.py", "if (0 if row is None else row.version) != self.version:", "if False:"), PEOPLE, "at_once_take"),
    (Edit("control/api/call.py", "self.address or ", ""), PEOPLE, "from_where"),
    (Edit("control/tls.py", "if not settings.tls_cert and not is_loopback(settings.host):", "if False:"), "acceptance", "beyond_this"),
    (Edit("cli/control.py", "    os.umask(0o077)", "    pass"), "acceptance", "umask"),
    (Edit("cli/supervisor.py", "if self._first and sys.stdout.isatty():", "if self._first:"), "acceptance", "two_servers"),
)  # fmt: skip


def without(edit: Edit, folder: Path) -> Path:
    """A copy of the product without this defence."""
    shutil.copytree(SOURCE, folder / "headrace")
    path = folder / "headrace" / edit.path
    text = path.read_text()
    assert edit.text in text, f"{edit.path} has no {edit.text!r}: where has its defence gone?"
    path.write_text(text.replace(edit.text, edit.instead, 1))
    return folder


def ask_the_suite(source: Path, where: str, which: str) -> subprocess.CompletedProcess[str]:
    path = TESTS / "acceptance/test_security.py" if where == "acceptance" else TESTS / "control" / where
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "pytest_timeout"]
    command += [str(path), "-k", which]
    # Loading every plugin there is takes longer than most of these tests.
    environ = os.environ | {"PYTHONPATH": str(source), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, env=environ, cwd=TESTS.parent, capture_output=True, text=True, timeout=SECONDS)


def test_every_text_that_is_to_be_taken_out_is_there() -> None:
    missing = [edit for edit, _, _ in DEFENCES if edit.text not in (SOURCE / edit.path).read_text()]
    assert missing == []


@pytest.mark.tail
@pytest.mark.parametrize(
    ("edit", "where", "which"), DEFENCES, ids=[f"{e.path}: {e.text.strip()[:40]}" for e, _, _ in DEFENCES]
)
def test_the_border_without_a_defence_is_red(edit: Edit, where: str, which: str, tmp_path: Path) -> None:
    done = ask_the_suite(without(edit, tmp_path), where, which)
    assert done.returncode == 1, f"{done.stdout[-3000:]}\n{done.stderr[-1000:]}"


@pytest.mark.tail
def test_the_border_with_all_of_them_is_green(tmp_path: Path) -> None:
    whole = without(Edit("control/auth.py", COMPARED, COMPARED), tmp_path)
    for where in sorted({where for _, where, _ in DEFENCES}):
        done = ask_the_suite(whole, where, " or ".join(sorted({w for _, there, w in DEFENCES if there == where})))
        assert done.returncode == 0, done.stdout[-3000:]
