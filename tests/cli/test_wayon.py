"""Behind a refusal stands where the credential came from and which command gives a good one; the token itself never does."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from headrace.cli import wayon
from headrace.client import logins
from headrace.model.errors import Forbidden, HeadraceError, NotFound, Unauthorized

URL = "http://127.0.0.1:1"


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    for name in [name for name in os.environ if name.startswith("HEADRACE")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return argparse.Namespace(url=URL, token=None, data=str(tmp_path / "data"))


def said(error: HeadraceError, args: argparse.Namespace) -> str:
    return "\n".join(wayon.lines(error, args))


def test_a_refused_token_is_told_by_its_place_with_the_commands_that_give_a_good_one(
    args: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"no token was found for {URL}" in said(Unauthorized("no"), args)
    monkeypatch.setenv("HEADRACE_TOKEN", "hr_hidden")
    told = said(Unauthorized("no"), args)
    assert "the token came from HEADRACE_TOKEN" in told
    assert "headrace login NAME" in told
    assert "headrace token create" in told
    assert args.data in told
    assert "hidden" not in told


def test_a_session_that_has_ended_is_told_by_whose_it_was(args: argparse.Namespace) -> None:
    logins.keep(os.environ, URL, logins.Login("eva", "hrs_x"))
    assert "the session of eva was used: headrace login eva" in said(Unauthorized("no"), args)
    assert "headrace user role eva operator" in said(Forbidden("the role watcher has no permission x"), args)


def test_a_role_that_is_too_small_is_told_how_to_see_it_and_who_gives_more(args: argparse.Namespace) -> None:
    told = said(Forbidden("the role watcher has no permission runs:submit"), args)
    assert "headrace me" in told
    assert "headrace token create" in told
    assert said(NotFound("there is no run 3"), args) == ""
    assert said(Forbidden("the old password is wrong"), args) == ""
