"""Names and ids in paths are compared whole and never become paths: what is no name is a 4xx, and nothing happens."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest
from api_world import HELLO, SECRET, World, run_async

from headrace.control.api.routes import all_routes
from headrace.control.credentials import mint_run_token

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ROUTES = [r for r in all_routes() if "{" in r.path]
HOSTILE = [
    "..", ".", "...", "%2e%2e", "%252e%252e", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "..\\..\\x", "/etc/passwd", "//",
    "\x00", "a\x00b", "\r\nx: y", "~root", "a" * 3000, "-rf", "--help", "@/etc/passwd", "1.", "+1", "1 ", " 1", "0x1", "1e0", "١", "１", "²",
    "hello.", "HELLO", "hello\n", "hello/", "hеllo", "hello%00", "'; drop table run; --", '" or 1=1 --', "${params.x}", "{0.__class__}",
    "%s%n", "\ud7ff", "\U0001f600", "9" * 40, str(2**53), str(2**63), "-1", "*", "hello*", "%",
]  # fmt: skip


def paths(template: str, text: str) -> list[str]:
    """The path with the text in each of its places, the others filled with what is there."""
    found = []
    pieces = template.split("/")
    for at, piece in enumerate(pieces):
        if piece.startswith("{"):
            filled = [
                text if i == at else "1" if p in {"{id}", "{index}"} else "hello" if p.startswith("{") else p
                for i, p in enumerate(pieces)
            ]
            found.append("/".join(filled))
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def dsn(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_dsn"))


@run_async
async def test_no_name_or_password_in_a_login_breaks_anything(tmp_path: Path, dsn: str) -> None:
    async with World(tmp_path / "data", dsn) as world:
        for text in (
            b'"\\u0000"',
            b'"\\ud800"',
            b'"\\udfff\\ud800"',
            '"😀"'.encode(),
            b'"' + b"x" * 199 + b'"',
            b'""',
            b"null",
            b"1",
        ):
            for body in (b'{"name":%b,"password":"x"}' % text, b'{"name":"eva","password":%b}' % text):
                world.services.lockout._tries.clear()
                answer = await world.call("POST", "/api/v1/login", body, role=None)
                assert answer.status in {400, 401, 422}, (body, answer.status, answer.body)
            for method, path in (
                ("POST", "/users"),
                ("PUT", "/users/eva"),
                ("PATCH", "/users/eva"),
                ("POST", "/tokens"),
            ):
                for field in (b"name", b"password", b"description", b"role", b"expires", b"user", b"scopes"):
                    body = b'{"name":"eva",%b:%b}' % (b'"' + field + b'"', text)
                    answer = await world.call(method, "/api/v1" + path, body)
                    assert answer.status < 500, (method, body, answer.status, answer.body)


@run_async
async def test_no_text_in_a_path_opens_makes_or_breaks_anything(tmp_path: Path, dsn: str) -> None:
    async with World(tmp_path / "data", dsn) as world:
        await world.post("/jobs", HELLO)
        before = sorted(p.name for p in tmp_path.rglob("*"))
        for route in ROUTES:
            for text in HOSTILE:
                for path in paths(route.path, text):
                    answer = await world.call(route.method, path.replace("?", "%3f"), b"{}")
                    good = NAME.fullmatch(text) is not None
                    assert (200 if good else 400) <= answer.status < 500 or answer.status == 501, (
                        route.method,
                        path[:200],
                        answer.body[:200],
                    )
        assert sorted(p.name for p in tmp_path.rglob("*")) == before
        assert len((await world.get("/jobs")).json["items"]) == 1


@run_async
async def test_a_run_token_opens_the_run_whose_number_is_written_so_and_no_other_spelling(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        mine = (await world.post("/jobs/hello/runs", {})).json["id"]
        for _ in range(12):
            await world.post("/jobs/hello/runs", {})
        token = mint_run_token(SECRET, mine, 0, epoch=1, expires_at=2**60)
        assert (await world.get(f"/runs/{mine}", token=token)).status == 200
        for text in (
            f"0{mine}",
            f"{mine}0",
            f"{mine}.",
            f"+{mine}",
            f" {mine}",
            f"{mine}%20",
            f"{mine}/",
            "１",
            "١",
            f"{mine}\n",
        ):
            status = (await world.get(f"/runs/{text}", token=token)).status
            assert status in {400, 403, 404}, (text, status)
            assert (await world.get(f"/runs/{quote(text)}", token=token)).status in {400, 403, 404}


@run_async
async def test_a_nul_character_in_any_field_of_any_request_breaks_nothing(tmp_path: Path, dsn: str) -> None:
    async with World(tmp_path / "data", dsn) as world:
        await world.post("/jobs", HELLO)
        await world.post("/jobs/hello/runs", {})
        for route in all_routes():
            if not isinstance(route.request, type) or not issubclass(route.request, msgspec.Struct):
                continue
            world.services.lockout._tries.clear()
            path = route.path.replace("{id}", "1").replace("{name}", "hello").replace("{index}", "0")
            path = re.sub(r"\{\w+\}", "say", path)
            names = [f.encode_name for f in msgspec.structs.fields(route.request)]
            good = {"name": "hello", "job": "hello", "command": ["true"]}
            for name in names:
                for value in ("a\0b", ["a\0b"], {"a\0b": "a\0b"}):
                    body = {k: v for k, v in good.items() if k in names and k != name} | {name: value}
                    answer = await world.call(route.method, path, body)
                    assert answer.status < 500 or answer.status == 501, (route.method, path, body, answer.body)
