"""What a server's process leaves out it leaves out whole, and whoever needs it later has it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOUND = """
import sys
from headrace.cli.lean import import_lean
import_lean()
import headrace.{module}
libraries = open("/proc/self/maps").read()
print([name for name in ("ssl", "_hashlib", "typing_extensions", "bz2", "lzma") if name in sys.modules], "libcrypto" in libraries)
import ssl, bz2, lzma, typing_extensions
from headrace.codec.digests import sha256
from hashlib import sha256 as own
print(ssl.create_default_context() is not None, sha256(bytes(70_000)).digest() == own(bytes(70_000)).digest(), "_hashlib" in sys.modules)
"""


@pytest.mark.parametrize("module", ["agent.app", "cli.serving"])
def test_a_process_of_a_server_has_no_openssl_until_it_needs_it(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", FOUND.format(module=module)], capture_output=True, text=True, check=True
    )
    assert told.stdout.splitlines() == ["[] False", "True True True"]
