"""Settings files: what nobody knows is an error, whatever it looks like, with its line and the nearest known key."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.main import main
from headrace.client.config import settings
from headrace.model.errors import Invalid, NotAvailable


def read(folder: Path, text: str, name: str = "headrace.toml") -> dict[str, object]:
    """The settings that a file of this text gives."""
    (folder / name).write_text(text)
    found = settings({}, {"XDG_CONFIG_HOME": str(folder / "none")}, folder)
    return {s.name: s.value for s in found.values() if s.value is not None}


def refused(folder: Path, text: str, name: str = "headrace.toml") -> list[tuple[str, int | None, str]]:
    """What is said of a file: path, line and words of each problem."""
    with pytest.raises(Invalid) as caught:
        read(folder, text, name)
    assert name in caught.value.message
    return [(p.path, p.line, p.message) for p in caught.value.problems]


def test_a_table_is_no_setting(tmp_path: Path) -> None:
    [(path, line, words)] = refused(tmp_path, "# ours\nport = 1\n\n[server]\nport = 3\n")
    assert (path, line) == ("server", 4)
    assert "without a table" in words


def test_a_list_is_no_text(tmp_path: Path) -> None:
    [(path, line, words)] = refused(tmp_path, 'workers = 2\nhosts = ["a", "b"]\n')
    assert (path, line) == ("hosts", 2)
    assert "text" in words
    assert "commas" in words


def test_the_nearest_key_is_named_and_every_problem_told(tmp_path: Path) -> None:
    found = refused(tmp_path, 'prot = 1\n"stroe" = "x"\nworkers = "many"\nserver.x = 1\n[hosst]\na = 1\n')
    assert [(path, line) for path, line, _ in found] == [
        ("prot", 1),
        ("stroe", 2),
        ("workers", 3),
        ("server", 4),
        ("hosst", 5),
    ]
    assert "'port'" in found[0][2]
    assert "'store'" in found[1][2]
    assert "'host'" in found[4][2]


def test_rules_for_logs_are_not_available_yet(tmp_path: Path) -> None:
    with pytest.raises(NotAvailable, match=r"not available yet: \[\[logs\]\] .*headrace\.toml, line 2"):
        read(tmp_path, 'port = 1\n[[logs]]\njob = "nightly"\n')
    found = refused(tmp_path, "[[logs]]\n[nonsense]\n")
    assert [path for path, _, _ in found] == ["logs", "nonsense"]
    assert "not available yet" in found[0][2]


def test_pyproject_is_read_by_its_own_table_only(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\nprot = 1\n[tool.headrace]\nport = 5\n[tool.other.server]\nport = 3\n'
    assert read(tmp_path, text, "pyproject.toml") == {"port": 5}
    wrong = "[tool.x]\nprot = 2\n[tool.headrace]\nport = 5\nprot = 1\n[tool.headrace.server]\nport = 3\n"
    found = refused(tmp_path, wrong, "pyproject.toml")
    assert [(path, line) for path, line, _ in found] == [("prot", 5), ("server", 6)]
    with pytest.raises(Invalid, match=r"tool\.headrace"):
        read(tmp_path, "[tool]\nheadrace = 5\n", "pyproject.toml")


def test_the_command_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    (tmp_path / "headrace.toml").write_text("[server]\nport = 3\n")
    assert main(["config"]) == 2
    assert "(line 1)" in capsys.readouterr().err
    (tmp_path / "headrace.toml").write_text("[[logs]]\n")
    assert main(["config"]) == 3
    assert "not available yet" in capsys.readouterr().err
