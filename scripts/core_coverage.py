"""Every branch of ``headrace.core`` is taken by its own rule-named tests; red below 100 %. A step of `make test`.

The random graphs stay out: what only a lucky seed reaches has no rule of its own. Takes about twenty seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOW = "tests/core/test_core_plain.py::test_on_random_graphs_the_short_ways_equal_the_long_ones"


def main() -> int:
    """Run the tests of core under coverage, print what is missing, and say whether nothing is."""
    coverage = [sys.executable, "-m", "coverage"]
    with tempfile.TemporaryDirectory(prefix="headrace-coverage-") as folder:
        data = f"--data-file={folder}/data"
        tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core", "--deselect", SLOW]
        steps = (
            [*coverage, "run", data, "--branch", "--source=headrace.core", *tests],
            [*coverage, "report", data, "--show-missing", "--skip-covered", "--fail-under=100", "--precision=2"],
        )
        for command in steps:
            code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode  # noqa: PLW1510 the code is the answer
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
