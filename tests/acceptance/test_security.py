"""What PROMISES.md says of security on one machine, asked of a real server from outside."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_up import PATIENCE_S, Up, until, words_of

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
TRICKS = [
    "; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "| touch PWNED", "&& touch PWNED", "& touch PWNED &", "\ntouch PWNED\n",
    "> PWNED", "< /etc/passwd", "${HOME}", "$HOME", "~root", "*", "?", "[a-z]", "{a,b}", "!!", "#", "'", '"', "\\", "'; touch PWNED; '",
    '"; touch PWNED; "', "-rf", "--help", "-e", "-c", "@/etc/passwd", "%s%n", "\t", " ", "$'\\x41'", "$((1+1))", "\x1b[31m", "é ü 漢 🎉",
    "${params.x}", "$${x}", "${item}", "$(<PWNED)", ";", "||true", "\r\n",
]  # fmt: skip
"""Texts that a shell, a template or an option parser would take for more than texts."""

UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec_websocket_version": "13",
    "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    old = os.umask(0)
    try:
        found = Up(tmp_path_factory.mktemp("security") / "data")
    finally:
        os.umask(old)
    yield found
    found.process.terminate()
    found.process.wait(PATIENCE_S)


def ask(up: Up, path: str, *, method: str = "GET", token: bool = True, body: Any = None, **headers: str) -> Any:
    """(status, headers, body) of one request over a real socket."""
    connection = http.client.HTTPConnection(up.server["url"].removeprefix("http://"), timeout=PATIENCE_S)
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    if token:
        sent["authorization"] = f"Bearer {(up.data / 'admin-token').read_text()}"
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("content-type", "application/json")
    connection.request(method, path, data, sent)
    answer = connection.getresponse()
    found = answer.status, answer.headers, answer.read()
    connection.close()
    return found


def inodes(pids: set[int]) -> set[str]:
    found = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = entry.readlink().name
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def doors(pids: set[int]) -> list[tuple[str, str]]:
    """(protocol, local address) of every internet socket of these processes that others can reach."""
    mine, found = inodes(pids), []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in mine and (protocol.startswith("udp") or words[3] == "0A"):
                found.append((protocol, words[1]))
    return found


def test_a_fresh_server_has_one_door_and_it_is_on_loopback(up: Up) -> None:
    port = int(up.server["url"].rpartition(":")[2])
    assert doors(up.family()) == [("tcp", f"0100007F:{port:04X}")]


def test_its_files_are_its_users_alone_whatever_the_umask(up: Up) -> None:
    up.call("/users", {"name": "files", "role": "watcher", "password": PASSWORD})
    run = up.submit("true")
    until(lambda: up.state(run) == "succeeded")
    open_to_others = [
        str(path)
        for path in [up.data, *up.data.rglob("*")]
        if "attempts" not in path.parts and not path.is_symlink() and path.lstat().st_mode & 0o077
    ]
    assert open_to_others == []
    assert stat.S_IMODE((up.data / "admin-token").stat().st_mode) == 0o600


def test_no_credential_no_entry_also_not_by_address_or_upgrade(up: Up) -> None:
    token = (up.data / "admin-token").read_text()
    for path in (
        "/api/v1/runs",
        "/api/v1/events",
        "/api/v1/events/stream",
        "/metrics",
        "/api/openapi.json",
        "/api/docs",
        "/",
    ):
        assert ask(up, path, token=False)[0] == 401, path
        assert ask(up, f"{path}?token={token}", token=False)[0] == 401, path
        assert ask(up, f"{path}?access_token={token}", token=False)[0] == 401, path
        assert ask(up, path, token=False, **UPGRADE)[0] == 401, path
    assert ask(up, f"/api/v1/runs?token={token}")[0] == 400
    assert ask(up, "/health/live", token=False)[0] == 200


def test_other_names_and_other_peoples_pages_are_refused(up: Up) -> None:
    port = up.server["url"].rpartition(":")[2]
    assert ask(up, "/api/v1/runs", host=f"rebound.example:{port}")[0] == 421
    assert ask(up, "/health/live", token=False, host="rebound.example")[0] == 421
    for wrong in ({"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        assert ask(up, "/api/v1/runs", method="POST", body={"command": ["true"]}, **wrong)[0] == 403
        assert ask(up, "/api/v1/users/files", method="DELETE", **wrong)[0] == 403
        login = {"name": "files", "password": PASSWORD}
        assert ask(up, "/api/v1/login", method="POST", token=False, body=login, **wrong)[0] == 403
    form = {"content_type": "application/x-www-form-urlencoded"}
    assert ask(up, "/api/v1/runs", method="POST", body={}, **form)[0] == 415
    assert "Access-Control-Allow-Origin" not in ask(up, "/api/v1/runs", origin="http://evil.example")[1]


def test_answers_tell_browsers_to_be_careful_and_nobody_what_serves_them(up: Up) -> None:
    for path in ("/api/v1/runs", "/nothing", "/health/live"):
        _, headers, _ = ask(up, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] is None


def test_a_session_in_a_cookie_works_from_our_own_pages_only(up: Up) -> None:
    up.call("/users", {"name": "cookie", "role": "admin", "password": PASSWORD})
    status, headers, body = ask(
        up, "/api/v1/login", method="POST", token=False, body={"name": "cookie", "password": PASSWORD}
    )
    assert (status, json.loads(body)["token"]) == (200, None)
    cookie, *flags = headers["Set-Cookie"].split("; ")
    assert set(flags) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert ask(up, "/api/v1/me", token=False, cookie=cookie)[0] == 200
    command = {"command": ["true"]}
    assert ask(up, "/api/v1/runs", method="POST", token=False, body=command, cookie=cookie)[0] == 403
    origin = up.server["url"]
    assert ask(up, "/api/v1/runs", method="POST", token=False, body=command, cookie=cookie, origin=origin)[0] == 201
    stream = "/api/v1/events/stream?after=latest"
    for wrong in ({}, {"origin": "http://evil.example"}, {"origin": origin.replace("http:", "https:") + "0"}):
        assert ask(up, stream, token=False, cookie=cookie, **wrong, **UPGRADE)[0] == 403
    assert ask(up, stream, token=False, cookie=cookie, origin=origin, **UPGRADE)[0] == 101


def test_no_token_stands_in_any_command_line(up: Up) -> None:
    run = up.submit("sleep", "30")
    until(lambda: up.state(run) == "running")
    family = up.family()
    assert any(b"sleep" in words_of(pid)[0] for pid in family if words_of(pid))
    for pid in family:
        assert not re.search(rb"hrr?s?_[A-Za-z0-9_-]{20}", b" ".join(words_of(pid)))
    up.call(f"/runs/{run}/cancel", {})


def test_parameters_reach_commands_as_they_are_and_never_a_shell(up: Up, tmp_path: Path) -> None:
    definition = {
        "name": "tricks",
        "params": {"type": "object", "properties": {"texts": {"type": "array"}}},
        "tasks": [
            {"name": "argv", "each": "${params.texts}", "command": ["printf", "%s.", "${item}"]},
            {"name": "env", "each": "${params.texts}", "env": {"TEXT": "${item}"}, "script": 'printf "%s." "$TEXT"'},
        ],
    }
    run = up.call("/runs", {"job": definition, "params": {"texts": TRICKS}})["id"]
    until(lambda: up.state(run) in {"succeeded", "failed"})
    assert up.state(run) == "succeeded"
    headers = {"authorization": f"Bearer {(up.data / 'admin-token').read_text()}", "accept": "text/plain"}
    for task in ("argv", "env"):
        for index, text in enumerate(TRICKS):
            url = f"{up.server['url']}/api/v1/runs/{run}/tasks/{task}/{index}/logs?stream=stdout"
            with urllib.request.urlopen(urllib.request.Request(url, None, headers), timeout=10) as answer:
                assert answer.read().decode() == text + ".", (task, text)
    assert not list(up.data.rglob("PWNED"))


def test_a_script_is_never_rendered(up: Up) -> None:
    text = "printf \"%s\" '${params.x}'"
    definition = {
        "name": "raw",
        "params": {"type": "object", "properties": {"x": {"type": "string"}}},
        "tasks": [{"name": "raw", "script": text}],
    }
    run = up.call("/runs", {"job": definition, "params": {"x": "'; touch PWNED; '"}})["id"]
    until(lambda: up.state(run) in {"succeeded", "failed"})
    assert up.text(f"/runs/{run}/logs?stream=stdout") == "${params.x}"
    assert not list(up.data.rglob("PWNED"))


def test_who_guesses_passwords_is_made_to_wait(up: Up) -> None:
    up.call("/users", {"name": "guessed", "role": "watcher", "password": PASSWORD})
    wrong, statuses = {"name": "guessed", "password": "not this one"}, []
    for _ in range(6):
        status, headers, _ = ask(up, "/api/v1/login", method="POST", token=False, body=wrong)
        statuses.append(status)
    assert statuses == [401] * 5 + [429]
    assert int(headers["Retry-After"]) >= 1


def test_two_servers_share_no_secret_and_each_token_has_256_bits(up: Up, tmp_path: Path) -> None:
    other = Up(tmp_path / "data")
    try:
        for name in ("admin-token", "run-secret"):
            one, two = (up.data / name).read_text(), (other.data / name).read_text()
            assert one != two
            assert len(one) >= 43
        headers = {"authorization": f"Bearer {(up.data / 'admin-token').read_text()}"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(
                urllib.request.Request(other.server["url"] + "/api/v1/runs", None, headers), timeout=10
            )
    finally:
        other.process.terminate()
        said, _ = other.process.communicate(timeout=PATIENCE_S)
    assert b"Headrace is up" in said
    assert (other.data / "admin-token").read_bytes() not in said


def test_no_default_secret_stands_in_the_product() -> None:
    words = re.compile(
        r"changeme|change_me|default_token|admin[/:]admin|password\s*=\s*[\"'][^\"']+[\"']", re.IGNORECASE
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for line in path.read_text().splitlines()
        if words.search(line)
    ]
    assert found == []


def headrace(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE")} | more
    command = [sys.executable, "-m", "headrace.cli.main", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.test"])
def test_beyond_this_machine_nothing_starts_without_tls(tmp_path: Path, host: str) -> None:
    done = headrace("up", "--host", host, "--port", "0", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "--tls-cert" in done.stderr
    assert not (tmp_path / "data").exists()


def test_half_a_certificate_is_none(tmp_path: Path) -> None:
    for more in (("--tls-cert", "x.pem"), ("--tls-cert", "x.pem", "--tls-key", "y.pem")):
        done = headrace("up", "--port", "0", "--data", str(tmp_path / "data"), *more)
        assert done.returncode == 2
        assert "TLS" in done.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=mill.test"]
    subprocess.run(
        [*command, "-addext", "subjectAltName=DNS:mill.test,DNS:localhost,IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")  # an old one is what is tried
def test_with_a_certificate_it_speaks_tls_and_nothing_else(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    data = tmp_path / "data"
    words = ["up", "--host", "0.0.0.0", "--hosts", "localhost,mill.test", "--port", "0", "--data", str(data)]
    words += ["--tls-cert", str(cert), "--tls-key", str(key)]
    up = subprocess.Popen(
        [sys.executable, "-m", "headrace.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        until((data / "server.json").exists)
        url = json.loads((data / "server.json").read_text())["url"]
        assert url.startswith("https://localhost:")
        port = int(url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(cert))
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        bearer = {"authorization": f"Bearer {(data / 'admin-token').read_text()}", "content-type": "application/json"}
        user = json.dumps({"name": "eva", "role": "admin", "password": PASSWORD})
        connection.request("POST", "/api/v1/users", user, bearer)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (201, True)
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        connection.request(
            "POST", "/api/v1/login", json.dumps({"name": "eva", "password": PASSWORD}), {"host": "mill.test"}
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.headers["Set-Cookie"].startswith("__Host-headrace=hrs_")
        assert "Secure" in answer.headers["Set-Cookie"].split("; ")
        connection.request("GET", "/api/v1/runs", headers={**bearer, "host": "other.test"})
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (421, True)
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        plain.request("GET", "/health/live")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        old = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
        with pytest.raises(ssl.SSLError):
            old.request("GET", "/health/live")
        done = headrace("exec", "--wait", "--data", str(data), "--", "true", SSL_CERT_FILE=str(cert))
        assert done.returncode == 0, done.stderr
        done = headrace("runs", "--data", str(data))
        assert done.returncode == 3
        assert "certificate" in done.stderr
    finally:
        up.terminate()
        up.wait(PATIENCE_S)


def test_the_admin_token_is_shown_once_and_to_a_person_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    said = [seen_on_a_terminal(data), seen_on_a_terminal(data)]
    token = (data / "admin-token").read_text()
    assert [token in text for text in said] == [True, False]


def seen_on_a_terminal(data: Path) -> str:
    """What a first start says to a terminal until it is up, and at its end."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "headrace.cli.main", "up", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    text = b""
    deadline = time.monotonic() + PATIENCE_S
    while b"Headrace is up" not in text and time.monotonic() < deadline:
        text += os.read(ours, 4096)
    process.terminate()
    process.wait(PATIENCE_S)
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    return text.decode()
