"""Ctrl-C at any moment ends a command quietly, also while it is still being loaded."""

from __future__ import annotations

import subprocess
import sys

LATE = """
import importlib, sys
from headrace.cli import main
def pressed(name): raise KeyboardInterrupt
main.importlib = type("Loading", (), {"import_module": staticmethod(pressed)})
sys.exit(main.main(["runs"]))
"""


def test_ctrl_c_while_a_command_is_loaded_prints_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
