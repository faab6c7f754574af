"""Backups over the API: made beside the work, listed, handed out whole, removed; a restore ends this life of control."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_world import HELLO, World, run_async

from headrace.control.auth import Role
from headrace.control.backup.process import work
from headrace.control.backup.service import ASKED, REFUSED, Backups
from headrace.control.backup.work import Work
from headrace.control.clock import SystemClock
from headrace.model.errors import Invalid


def serve(world: World, told: list[str]) -> Backups:
    backups = Backups(world.data, "", SystemClock())
    world.serve(backups=backups, begin_anew=told.append)
    return backups


@run_async
async def test_a_backup_is_made_listed_handed_out_and_removed(tmp_path: Path) -> None:
    async with World(tmp_path / "data") as world:
        serve(world, [])
        await world.put("/jobs/hello", HELLO)
        await world.post("/jobs/hello/runs", {})
        made = await world.post("/backup", {"name": "a.hrb"})
        assert made.status == 201
        assert made.headers["location"] == "/api/v1/backups/a.hrb"
        assert (made.json["rows"]["run"], made.json["store"], made.json["troubles"]) == (1, "sqlite", [])
        assert (await world.post("/backup", {"name": "a.hrb"})).status == 409
        assert (await world.post("/backup", {"name": "../a"})).status == 422
        second = (await world.post("/backup")).json["name"]
        listed = (await world.get("/backups")).json["items"]
        assert [item["name"] for item in listed] == ["a.hrb", second]
        got = await world.get("/backups/a.hrb")
        assert len(got.body) == made.json["size"] == listed[0]["size"]
        file = tmp_path / "got.hrb"
        file.write_bytes(got.body)
        assert work(Work(do="check", file=str(file))).size == made.json["size"]
        assert (await world.get("/backups/a.hrb?check=true")).json == made.json
        assert (await world.call("DELETE", "/api/v1/backups/a.hrb")).status == 204
        assert (await world.get("/backups/a.hrb")).status == 404
        for role in (Role.operator, Role.watcher):
            for answer in (await world.post("/backup", role=role), await world.get("/backups", role=role)):
                assert answer.status == 403


@run_async
async def test_what_is_half_made_is_swept_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".a.hrb.7.part").write_bytes(b"half")
    (folder / "b.hrb").write_bytes(b"whole")
    assert [kept.name for kept in Backups(tmp_path, "", SystemClock()).kept()] == ["b.hrb"]
    assert [path.name for path in folder.iterdir()] == ["b.hrb"]


@run_async
async def test_a_restore_is_made_by_the_next_start_and_sets_aside_what_is_there_only_when_told(tmp_path: Path) -> None:
    told: list[str] = []
    async with World(tmp_path / "data") as world:
        backups = serve(world, told)
        await world.put("/jobs/hello", HELLO)
        await world.post("/backup", {"name": "a.hrb"})
        await world.call("DELETE", "/api/v1/jobs/hello")
        assert (await world.post("/restore", {"name": "none.hrb", "force": True})).status == 404
        unknown = await world.post("/restore", {"name": "none.hrb"})
        assert (unknown.status, unknown.json["detail"]) == (404, "there is no backup none.hrb")
        assert (await world.post("/restore", {"name": "a.hrb"})).status == 409
        (backups.folder / "bad.hrb").write_bytes(b"bad")
        assert (await world.post("/restore", {"name": "bad.hrb", "force": True})).status == 422
        assert told == []
        assert (await world.post("/restore", {"name": "a.hrb", "force": True})).status == 202
        assert "a.hrb" in told[0]
    done = await Backups(tmp_path / "data", "", SystemClock()).restore_if_asked()
    assert done is not None
    assert done.restored is not None
    assert Path(done.restored.set_aside).is_dir()
    async with World(tmp_path / "data") as world:
        assert (await world.get("/jobs/hello")).status == 200
        assert world.node.store.identity.incarnation == done.restored.incarnation > 1
    assert await Backups(tmp_path / "data", "", SystemClock()).restore_if_asked() is None


@run_async
async def test_a_restore_that_is_refused_at_the_start_is_not_tried_again(tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "bad.hrb").write_bytes(b"bad")
    (tmp_path / ASKED).write_bytes(b'{"name":"bad.hrb"}')
    backups = Backups(tmp_path, "", SystemClock())
    with pytest.raises(Invalid, match="no backup"):
        await backups.restore_if_asked()
    assert "no backup" in (tmp_path / REFUSED).read_text()
    assert await backups.restore_if_asked() is None


@run_async
async def test_a_repeated_request_under_a_key_makes_no_second_backup_and_asks_for_no_second_restore(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    async with World(tmp_path / "data") as world:
        backups = serve(world, told)
        key = {"idempotency-key": "nightly"}
        first = await world.post("/backup", {}, headers=key)
        again = await world.post("/backup", {}, headers=key)
        assert (first.status, again.status) == (201, 201)
        assert again.json == first.json
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replay"] == "true"
        assert len(backups.kept()) == 1
        assert (await world.post("/backup", {"name": "b.hrb"}, headers=key)).status == 409
        body, key = {"name": first.json["name"], "force": True}, {"idempotency-key": "back"}
        assert (await world.post("/restore", body, headers=key)).status == 202
        (tmp_path / "data" / ASKED).unlink()
        assert (await world.post("/restore", body, headers=key)).status == 202
        assert not (tmp_path / "data" / ASKED).exists()
        assert len(told) == 1


@run_async
async def test_what_is_done_with_backups_is_written_down_and_seen_by_those_who_may(tmp_path: Path) -> None:
    async with World(tmp_path / "data") as world:
        serve(world, [])
        for name in ("a.hrb", "b.hrb"):
            await world.post("/backup", {"name": name})
        await world.call("DELETE", "/api/v1/backups/a.hrb")
        await world.post("/restore", {"name": "b.hrb", "force": True})
        events = (await world.get("/events?subject=backups")).json["items"]
        assert [(e["kind"], e["subject"], e["sequence"]) for e in events] == [
            ("backup.made", "backups/a.hrb", 1),
            ("backup.made", "backups/b.hrb", 1),
            ("backup.removed", "backups/a.hrb", 2),
            ("backup.restore_asked", "backups/b.hrb", 2),
        ]
        assert all(e["actor"].startswith("token:") for e in events)
        assert (await world.get("/events?subject=backups", role=Role.watcher)).json["items"] == []


@run_async
async def test_backups_are_listed_in_pages(tmp_path: Path) -> None:
    async with World(tmp_path / "data") as world:
        folder = serve(world, []).folder
        folder.mkdir()
        for name in "abc":
            (folder / f"{name}.hrb").write_bytes(b"x")
        page = (await world.get("/backups?limit=2")).json
        assert [item["name"] for item in page["items"]] == ["a.hrb", "b.hrb"]
        last = (await world.get(f"/backups?limit=2&cursor={page['next_cursor']}")).json
        assert ([item["name"] for item in last["items"]], last["next_cursor"]) == (["c.hrb"], None)


@run_async
async def test_bytes_are_given_whatever_is_accepted_and_what_is_in_them_is_negotiated(tmp_path: Path) -> None:
    async with World(tmp_path / "data") as world:
        serve(world, [])
        await world.post("/backup", {"name": "a.hrb"})
        for accept in ("text/csv", "application/octet-stream", "application/json"):
            answer = await world.get("/backups/a.hrb", headers={"accept": accept})
            assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
            assert answer.body.startswith((await world.get("/backups/a.hrb")).body[:100])
        for accept in ("application/json", "*/*", "application/edn"):
            answer = await world.get("/backups/a.hrb?check=true", headers={"accept": accept})
            wanted = "application/json" if accept == "*/*" else accept
            assert (answer.status, answer.headers["content-type"]) == (200, wanted)
        assert (await world.get("/backups/a.hrb?check=true", headers={"accept": "text/csv"})).status == 406


@run_async
async def test_a_backup_whose_note_was_never_written_is_listed_read_restored_and_removed(tmp_path: Path) -> None:
    told: list[str] = []
    async with World(tmp_path / "data") as world:
        await world.put("/jobs/hello", HELLO)
        await serve(world, told).save("a.hrb")  # and here the control that made it was killed
    async with World(tmp_path / "data") as world:
        serve(world, told)
        assert (await world.get("/events?subject=backups")).json["items"] == []
        (listed,) = (await world.get("/backups")).json["items"]
        assert (listed["name"], listed["size"]) == ("a.hrb", len((await world.get("/backups/a.hrb")).body))
        assert (await world.get("/backups/a.hrb?check=true")).json["rows"]["entity"] > 0
        assert (await world.post("/restore", {"name": "a.hrb", "force": True})).status == 202
        assert (await world.call("DELETE", "/api/v1/backups/a.hrb")).status == 204
        kinds = [e["kind"] for e in (await world.get("/events?subject=backups")).json["items"]]
        assert kinds == ["backup.restore_asked", "backup.removed"]
