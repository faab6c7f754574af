"""Users, sessions, tokens: who gets in, what they may, and when it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from api_world import HELLO, PASSWORD, Answered, World, run_async

from headrace.control.auth import IDLE_US, RECHECK_US, ROLES, SESSION_US, Permission, Role
from headrace.control.changes.people import SESSION, SESSIONS_MAX, USER, read_user
from headrace.control.changes.tokens import TOKEN


def cookie_of(answer: Answered) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


def pass_time(world: World, seconds: float) -> None:
    """Everything of this control is so much later."""
    world.node.clock.at_least(world.node.clock.now() + int(seconds * 1_000_000))


async def written(world: World) -> None:
    """What was noted of the use of sessions is kept."""
    while world.app.entry._writing:
        await asyncio.wait(set(world.app.entry._writing))


@run_async
async def test_a_user_is_made_read_changed_listed_and_deleted(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        body = {"name": "eva", "role": "operator", "password": PASSWORD, "description": "on call"}
        made = await world.post("/users", body)
        assert made.status == 201
        assert made.headers["location"] == "/api/v1/users/eva"
        assert {k: made.json[k] for k in ("name", "role", "description", "disabled", "password", "version")} == {
            "name": "eva", "role": "operator", "description": "on call", "disabled": False, "password": True, "version": 1,
        }  # fmt: skip
        assert (await world.post("/users", body)).status == 409
        assert (await world.get("/users/eva")).json == made.json
        changed = await world.call("PATCH", "/api/v1/users/eva", {"role": "watcher", "description": None})
        assert (changed.status, changed.json["role"], changed.json["description"]) == (200, "watcher", "")
        put = await world.put("/users/eva", {"role": "admin"})
        assert (put.status, put.json["role"], put.json["password"]) == (200, "admin", True)
        assert (await world.put("/users/adam", {"role": "watcher"})).status == 201
        assert [u["name"] for u in (await world.get("/users")).json["items"]] == ["adam", "eva"]
        page = (await world.get("/users?limit=1")).json
        assert [u["name"] for u in (await world.get(f"/users?cursor={page['next_cursor']}")).json["items"]] == ["eva"]
        assert (await world.call("DELETE", "/api/v1/users/eva")).status == 204
        assert (await world.get("/users/eva")).status == 404
        assert (await world.call("DELETE", "/api/v1/users/eva")).status == 404
        assert (await world.call("PATCH", "/api/v1/users/eva", {"role": "admin"})).status == 404


@pytest.mark.parametrize("name", ["../etc", "Eva", "a" * 64, "eva.00", "", "-x"])
@run_async
async def test_a_name_that_is_none_makes_no_user(tmp_path: Path, name: str) -> None:
    async with World(tmp_path) as world:
        assert (await world.post("/users", {"name": name, "password": PASSWORD})).status == 422
        assert (await world.put(f"/users/{name.replace('/', '%2f') or '_'}", {})).status in {404, 422}


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaa", "eva1234567", "x" * 1025])
@run_async
async def test_an_easy_password_is_refused(tmp_path: Path, password: str) -> None:
    async with World(tmp_path) as world:
        answer = await world.post("/users", {"name": "eva", "password": password})
        assert answer.status == 422
        assert answer.paths == {"password"}


@run_async
async def test_a_password_is_kept_as_argon2id_only_and_shown_nowhere(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        made = await world.post("/users", {"name": "eva", "password": PASSWORD}, headers={"idempotency-key": "k"})
        again = await world.post("/users", {"name": "eva", "password": PASSWORD}, headers={"idempotency-key": "k"})
        assert (made.status, again.status, again.json) == (201, 201, made.json)
        row = await world.node.store.reader.entity((USER, "eva"))
        assert row is not None
        assert read_user(row.image).password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        login = await world.login("eva")
        assert login.status == 200
        shown = made.body + login.body + (await world.get("/users")).body
        assert PASSWORD.encode() not in shown
        assert b"argon2" not in shown
        await world.node.close()
        kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        assert PASSWORD.encode() not in kept
        assert login.json["token"].encode() not in kept
        await world.__aenter__()


@run_async
async def test_the_digest_of_an_idempotency_key_does_not_know_the_password(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = await world.post("/users", {"name": "eva", "password": PASSWORD}, headers={"idempotency-key": "k"})
        other = await world.post(
            "/users", {"name": "eva", "password": "other " + PASSWORD}, headers={"idempotency-key": "k"}
        )
        assert (other.status, other.headers["idempotent-replay"]) == (201, "true")
        assert other.json == first.json


@run_async
async def test_login_gives_a_session_that_may_what_its_user_may(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva", Role.operator)
        login = await world.login("eva")
        assert login.status == 200
        token = login.json["token"]
        assert "set-cookie" not in login.headers
        me = (await world.get("/me", token=token)).json
        assert (me["name"], me["kind"], me["user"], me["role"]) == ("eva", "user", "eva", "operator")
        assert me["permissions"] == sorted(p.value for p in ROLES[Role.operator])
        assert (await world.get("/runs", token=token)).status == 200
        assert (await world.post("/jobs", HELLO, token=token)).status == 403
        assert (await world.get("/users", token=token)).status == 403


@run_async
async def test_a_session_in_a_cookie_is_out_of_reach_of_scripts_and_of_other_sites(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva", Role.admin)
        login = await world.login("eva", token=False)
        assert login.json["token"] is None
        cookie = login.headers["set-cookie"]
        assert cookie.startswith("headrace-8420=hrs_")
        assert {"Path=/", "HttpOnly", "SameSite=Strict"} == set(cookie.split("; ")[1:])
        sent = {"cookie": f"other=1; {cookie_of(login)}"}
        assert (await world.get("/runs", role=None, headers=sent)).status == 200
        ours = {**sent, "origin": "http://localhost:8420"}
        assert (await world.post("/jobs", HELLO, role=None, headers=ours)).status == 201
        for wrong in (
            {},
            {"origin": "http://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "same-origin", "origin": "http://localhost:1"},
        ):
            for method, path in (
                ("POST", "/jobs"),
                ("DELETE", "/users/eva"),
                ("PUT", "/users/x"),
                ("PATCH", "/users/eva"),
            ):
                answer = await world.call(method, "/api/v1" + path, b"{}", role=None, headers={**sent, **wrong})
                assert answer.status == 403, (method, wrong)
        assert (await world.post("/logout", role=None, headers={**sent, "sec-fetch-site": "same-origin"})).status == 204
        assert (await world.get("/runs", role=None, headers=sent)).status == 401


@run_async
async def test_over_tls_the_cookie_is_secure_and_bound_to_the_host(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        world.scheme = "https"
        login = await world.login("eva", token=False)
        cookie = login.headers["set-cookie"]
        assert cookie.startswith("__Host-headrace=hrs_")
        assert "Secure" in cookie.split("; ")
        assert "Domain" not in cookie
        sent = {"cookie": cookie_of(login)}
        assert (await world.get("/runs", role=None, headers=sent)).status == 200
        for origin, status in (("http://localhost:8420", 403), ("https://localhost:8420", 204)):
            assert (await world.post("/logout", role=None, headers={**sent, "origin": origin})).status == status


@run_async
async def test_only_sessions_travel_in_cookies(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        cookie = f"headrace-8420={world.tokens[Role.admin]}"
        assert (await world.get("/runs", role=None, headers={"cookie": cookie})).status == 401
        for nonsense in ("headrace-8420=", "headrace-8420", "headrace-8420=hrs_x", ";;;=", "headrace-8420=\x00"):
            assert (await world.get("/runs", role=None, headers={"cookie": nonsense})).status == 401


@run_async
async def test_each_login_is_another_session_and_logout_ends_its_own_only(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        one, two = (await world.login("eva")).json["token"], (await world.login("eva")).json["token"]
        assert one != two
        assert (await world.post("/logout", token=one)).status == 204
        assert (await world.get("/me", token=one)).status == 401
        assert (await world.get("/me", token=two)).status == 200
        assert (await world.post("/logout", role=Role.admin)).status == 409


@run_async
async def test_a_place_that_was_left_is_taken_again_and_the_old_text_opens_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        one = (await world.login("eva")).json["token"]
        await world.post("/logout", token=one)
        two = (await world.login("eva")).json["token"]
        rows = await world.node.store.reader.entities(SESSION, deleted=True)
        assert [r.name for r in rows] == ["eva/00"]
        assert (await world.get("/me", token=one)).status == 401
        assert (await world.get("/me", token=two)).status == 200


@run_async
async def test_a_user_has_so_many_sessions_and_one_more_ends_the_oldest(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("headrace.control.api.sessions.SESSIONS_MAX", 3)
    async with World(tmp_path) as world:
        await world.user("eva")
        tokens = [(await world.login("eva")).json["token"] for _ in range(4)]
        world.services.auth.forget()
        assert [(await world.get("/me", token=t)).status for t in tokens] == [401, 200, 200, 200]
    assert SESSIONS_MAX >= 3


@run_async
async def test_a_session_that_is_not_used_ends_and_one_that_is_used_lives_on(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        used, idle = (await world.login("eva")).json["token"], (await world.login("eva")).json["token"]
        for _ in range(3):
            pass_time(world, IDLE_US / 1e6 * 0.4)
            assert (await world.get("/me", token=used)).status == 200
            await written(world)
        assert (await world.get("/me", token=idle)).status == 401
        assert (await world.get("/me", token=used)).status == 200


@run_async
async def test_a_session_ends_after_its_time_however_much_it_is_used(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        token = (await world.login("eva")).json["token"]
        for _ in range(SESSION_US // IDLE_US * 2 - 1):
            pass_time(world, IDLE_US / 2e6)
            assert (await world.get("/me", token=token)).status == 200
            await written(world)
        pass_time(world, IDLE_US / 2e6)
        assert (await world.get("/me", token=token)).status == 401


@pytest.mark.parametrize(
    ("method", "body"),
    [("PATCH", {"password": "another good one"}), ("PATCH", {"disabled": True}), ("PATCH", {"role": "admin"}), ("DELETE", None)],
)  # fmt: skip
@run_async
async def test_password_role_disabling_and_deletion_end_all_sessions_at_once(
    tmp_path: Path, method: str, body: Any
) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        tokens = [(await world.login("eva")).json["token"] for _ in range(2)]
        assert (await world.call(method, "/api/v1/users/eva", body)).status in {200, 204}
        assert [(await world.get("/me", token=t)).status for t in tokens] == [401, 401]


@run_async
async def test_a_user_made_again_gets_none_of_the_old_ones_sessions_and_tokens(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        session = (await world.login("eva")).json["token"]
        token = (await world.post("/tokens", {"name": "ci"}, token=session)).json["token"]
        assert (await world.get("/me", token=token)).status == 200
        await world.call("DELETE", "/api/v1/users/eva")
        assert (await world.get("/me", token=token)).status == 401
        await world.user("eva")
        for text in (session, token):
            assert (await world.get("/me", token=text)).status == 401


@run_async
async def test_wrong_name_wrong_password_and_disabled_users_get_one_answer_after_the_same_work(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        await world.user("off")
        await world.post("/users", {"name": "nopw"})
        await world.call("PATCH", "/api/v1/users/off", {"disabled": True})
        work = []
        fits = world.services.passwords.fits

        async def counted(kept: str, password: str) -> bool:
            work.append(kept)
            return await fits(kept, password)

        world.services.passwords.fits = counted  # type: ignore[method-assign]
        answers = [await world.login("eva", "wrong one here")]
        answers += [await world.login(name) for name in ("nobody", "off", "nopw", "../x", "É")]
        assert {a.status for a in answers} == {401}
        assert len({a.body for a in answers}) == 1
        assert len(work) == len(answers)


@run_async
async def test_failed_logins_are_slowed_down_and_a_good_one_does_not_get_through_meanwhile(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        for _ in range(5):
            assert (await world.login("eva", "wrong one here")).status == 401
        locked = await world.login("eva")
        assert locked.status == 429
        assert locked.headers["retry-after"] == "1"
        assert (await world.login("nobody", "wrong one here")).status == 401
        pass_time(world, 1)
        assert (await world.login("eva", "wrong one here")).status == 401
        assert (await world.login("eva")).headers["retry-after"] == "2"
        pass_time(world, 2)
        assert (await world.login("eva")).status == 200
        assert (await world.login("eva", "wrong one here")).status == 401


@run_async
async def test_a_user_changes_their_own_password_by_the_old_one(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        token = (await world.login("eva")).json["token"]
        body = {"old": "wrong one here", "new": "a brand new one"}
        assert (await world.post("/me/password", body, token=token)).status == 403
        assert (await world.post("/me/password", {**body, "old": PASSWORD}, role=Role.admin)).status == 403
        assert (await world.post("/me/password", {**body, "old": PASSWORD, "new": "x"}, token=token)).status == 422
        assert (await world.post("/me/password", {**body, "old": PASSWORD}, token=token)).status == 204
        assert (await world.get("/me", token=token)).status == 401
        assert (await world.login("eva")).status == 401
        assert (await world.login("eva", "a brand new one")).status == 200


@run_async
async def test_a_token_is_shown_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        made = await world.post("/tokens", {"name": "ci", "role": "watcher"}, headers={"idempotency-key": "k"})
        assert made.status == 201
        text = made.json["token"]
        assert text.startswith("hr_")
        assert ".ci" in text
        again = await world.post("/tokens", {"name": "ci", "role": "watcher"}, headers={"idempotency-key": "k"})
        assert (again.status, again.json["token"]) == (201, None)
        assert "first answer" in again.json["token_omitted"]
        assert made.json["token_omitted"] is None
        assert (await world.post("/tokens", {"name": "ci", "role": "watcher"})).status == 409
        assert (await world.get("/runs", token=text)).status == 200
        shown = (await world.get("/tokens")).body + (await world.get("/tokens/ci")).body
        assert text.encode() not in shown
        assert {t["name"] for t in (await world.get("/tokens")).json["items"]} >= {"ci"}
        await world.node.close()
        kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        assert text.encode() not in kept
        assert text[3:46].encode() not in kept
        await world.__aenter__()


@run_async
async def test_a_token_may_only_what_its_scopes_say(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        made = await world.post("/tokens", {"name": "ci", "role": "operator", "scopes": ["runs:submit"]})
        text = made.json["token"]
        assert (await world.get("/me", token=text)).json["permissions"] == ["me", "public", "runs:submit"]
        assert (await world.post("/jobs/hello/runs", {}, token=text)).status == 201
        assert (await world.get("/runs", token=text)).status == 403
        assert (await world.post("/runs/1/cancel", {}, token=text)).status == 403
        assert (await world.post("/tokens", {"name": "more"}, token=text)).status == 403


@run_async
async def test_nobody_makes_a_token_that_can_more_than_they(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva", Role.operator)
        eva = (await world.login("eva")).json["token"]
        for body in (
            {"name": "x", "role": "admin"},
            {"name": "x", "role": "admin", "scopes": ["jobs:write"]},
            {"name": "x", "user": "adam"},
        ):
            assert (await world.post("/tokens", body, token=eva)).status == 403, body
        wrong = await world.post("/tokens", {"name": "x", "scopes": ["runs:sumbit", "jobs:write"]}, token=eva)
        assert wrong.status == 422
        assert "runs:submit" in wrong.json["problems"][0]["message"]
        narrow = (await world.post("/tokens", {"name": "n", "scopes": ["tokens:own", "runs:read"]}, token=eva)).json[
            "token"
        ]
        child = await world.post("/tokens", {"name": "c"}, token=narrow)
        assert child.json["scopes"] == ["me", "public", "runs:read", "tokens:own"]
        assert (await world.post("/tokens", {"name": "d", "scopes": ["runs:submit"]}, token=narrow)).status == 403


@run_async
async def test_a_token_ends_with_what_its_user_may(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva", Role.operator)
        await world.post("/jobs", HELLO)
        eva = (await world.login("eva")).json["token"]
        ci = (await world.post("/tokens", {"name": "ci"}, token=eva)).json["token"]
        assert (await world.post("/jobs/hello/runs", {}, token=ci)).status == 201
        await world.call("PATCH", "/api/v1/users/eva", {"role": "watcher"})
        assert (await world.post("/jobs/hello/runs", {}, token=ci)).status == 403
        assert (await world.get("/runs", token=ci)).status == 200
        assert (await world.get("/tokens/ci")).json["expired"] is False
        await world.call("PATCH", "/api/v1/users/eva", {"disabled": True})
        assert (await world.get("/runs", token=ci)).status == 401
        assert [t["expired"] for t in (await world.get("/tokens")).json["items"] if t["user"] == "eva"] == [True]


@run_async
async def test_a_token_made_by_a_token_does_not_outlive_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        parent = (await world.post("/tokens", {"name": "p", "expires": "1h"})).json
        child = (await world.post("/tokens", {"name": "c", "expires": "30d"}, token=parent["token"])).json
        assert child["expires_at"] == parent["expires_at"]
        for wrong in ("0s", "1ms", "4000d", "soon"):
            assert (await world.post("/tokens", {"name": "w", "expires": wrong})).status == 422, wrong


@run_async
async def test_a_token_that_has_expired_opens_nothing_and_its_name_is_free(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        old = (await world.post("/tokens", {"name": "ci", "expires": "1h"})).json["token"]
        pass_time(world, 3600)
        assert (await world.get("/me", token=old)).status == 401
        assert (await world.get("/tokens/ci")).json["expired"] is True
        new = (await world.post("/tokens", {"name": "ci"})).json["token"]
        assert (await world.get("/me", token=new)).status == 200
        assert (await world.get("/me", token=old)).status == 401


@run_async
async def test_people_see_and_revoke_their_own_tokens_and_admins_all(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        sessions = {}
        for name in ("adam", "eva"):
            await world.user(name)
            sessions[name] = (await world.login(name)).json["token"]
            assert (await world.post("/tokens", {"name": f"of-{name}"}, token=sessions[name])).status == 201
        mine = (await world.get("/tokens", token=sessions["eva"])).json["items"]
        assert [(t["name"], t["user"]) for t in mine] == [("of-eva", "eva")]
        assert (await world.get("/tokens/of-adam", token=sessions["eva"])).status == 404
        assert (await world.call("DELETE", "/api/v1/tokens/of-adam", token=sessions["eva"])).status == 404
        assert (await world.call("DELETE", "/api/v1/tokens/of-eva", token=sessions["eva"])).status == 204
        pages, cursor = [], ""
        while cursor is not None:
            page = (await world.get(f"/tokens?limit=1&cursor={cursor}")).json
            pages += page["items"]
            cursor = page["next_cursor"]
        assert {t["name"] for t in pages} >= {"of-adam"}
        assert "of-eva" not in {t["name"] for t in pages}
        assert (await world.call("DELETE", "/api/v1/tokens/of-adam")).status == 204


@run_async
async def test_a_revoked_token_is_refused_here_at_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        text = (await world.post("/tokens", {"name": "ci"})).json["token"]
        assert (await world.get("/me", token=text)).status == 200
        assert (await world.call("DELETE", "/api/v1/tokens/ci")).status == 204
        assert (await world.get("/me", token=text)).status == 401
        assert (await world.call("DELETE", "/api/v1/tokens/ci")).status == 404


@run_async
async def test_every_change_says_who_asked_and_from_where(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        world.client = ("192.0.2.7", 4711)
        await world.user("eva", Role.admin)
        session = (await world.login("eva")).json["token"]
        ci = (await world.post("/tokens", {"name": "ci"}, token=session)).json["token"]
        await world.post("/jobs", HELLO, token=ci)
        await world.post("/jobs/hello/runs", {}, token=session)
        found = set()
        for number in range(1, 40):
            found |= {(c.actor, c.source) for c in await world.node.store.reader.commits([number])}
        assert {("user:eva", "192.0.2.7"), ("token:ci", "192.0.2.7")} <= found
        row = await world.node.store.reader.entity((TOKEN, "ci"))
        assert row is not None
        versions = await world.node.store.reader.entity_versions((SESSION, "eva/00"))
        assert [v.facts for v in versions] == [b"login"]


@run_async
async def test_what_waits_and_what_streams_ends_when_its_credential_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.control.auth.WATCH_S", 3600.0)  # here nobody waits for the next look
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        text = (await world.post("/tokens", {"name": "ci"})).json["token"]
        calls = [
            asyncio.ensure_future(world.get(path, token=text, headers=headers))
            for path, headers in (
                (f"/runs/{run}?wait=60s", {}),
                (f"/runs/{run}/logs?wait=60s", {}),
                (f"/runs/{run}/logs?follow=true", {}),
                (f"/runs/{run}/logs?follow=true", {"accept": "text/plain"}),
            )
        ]
        done, waiting = await asyncio.wait(calls, timeout=0.3)
        assert not done
        await world.call("DELETE", "/api/v1/tokens/ci")
        answers = await asyncio.wait_for(asyncio.gather(*waiting), 5)
        assert [a.status for a in answers] == [401] * 4


@run_async
async def test_what_waits_ends_with_a_token_that_expires_or_was_revoked_elsewhere(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        one = (await world.post("/tokens", {"name": "one", "expires": "1h"})).json["token"]
        two = (await world.post("/tokens", {"name": "two"})).json["token"]
        calls = [asyncio.ensure_future(world.get(f"/runs/{run}?wait=60s", token=t)) for t in (one, two)]
        await asyncio.wait(calls, timeout=0.2)
        from headrace.control.changes.tokens import RevokeToken
        from headrace.model.changes import SYSTEM

        await world.node.ledger.change(RevokeToken("two"), SYSTEM)
        assert not any(c.done() for c in calls)
        pass_time(world, 3600 + RECHECK_US / 1e6)
        answers = await asyncio.wait_for(asyncio.gather(*calls), 5)
        assert [a.status for a in answers] == [401, 401]


def test_roles_are_nested() -> None:
    assert ROLES[Role.watcher] < ROLES[Role.operator] < ROLES[Role.admin] == frozenset(Permission)


def test_a_session_view_has_no_room_for_a_hash() -> None:
    from headrace.model.people import TokenView, UserView

    for view in (TokenView, UserView):
        names = {f.name for f in msgspec.structs.fields(view)}
        assert not names & {"digest", "hash", "password_hash"}


@run_async
async def test_logins_at_once_take_different_places(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")

        async def fits(_kept: str, _password: str) -> bool:
            return True

        world.services.passwords.fits = fits  # type: ignore[method-assign]  # all are let in at one moment
        found = await asyncio.gather(*[world.login("eva") for _ in range(4)])
        assert [a.status for a in found] == [200] * 4
        assert [(await world.get("/me", token=a.json["token"])).status for a in found] == [200] * 4


@run_async
async def test_what_streams_ends_when_its_credential_may_less_than_before(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva", Role.operator)
        session = (await world.login("eva")).json["token"]
        token = (await world.post("/tokens", {"name": "ci"}, token=session)).json["token"]
        caller = await world.services.auth.caller(f"Bearer {token}".encode())
        over = asyncio.ensure_future(world.services.auth.over(caller))
        await asyncio.wait([over], timeout=0.05)
        await world.call("PATCH", "/api/v1/users/eva", {"description": "nothing less"})
        await asyncio.wait([over], timeout=0.05)
        assert not over.done()
        await world.call("PATCH", "/api/v1/users/eva", {"role": "watcher"})
        await asyncio.wait_for(over, 5)


@run_async
async def test_a_password_changed_between_its_check_and_the_login_lets_nobody_in(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.user("eva")
        fits = world.services.passwords.fits

        async def meanwhile(kept: str, password: str) -> bool:
            found = await fits(kept, password)
            await world.user("eva", password="another good one")
            return found

        world.services.passwords.fits = meanwhile  # type: ignore[method-assign]
        assert (await world.login("eva")).status == 401
        assert await world.node.store.reader.entities(SESSION) == []
