"""Writes the generated pages of the documentation. Called by ``make docs``; ``--check`` writes nothing and says which are old.

``--docs FOLDER`` looks at another copy of the documentation.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pages import bounds, cli, definition, environment, python, rest, roles, states

PAGES = {
    "reference/cli.md": cli.page,
    "reference/rest.md": rest.page,
    "reference/roles.md": roles.page,
    "reference/limits.md": bounds.page,
    "reference/definition.md": definition.page,
    "reference/environment.md": environment.page,
    "reference/python.md": python.page,
    "explanation/states.md": states.page,
}


def main() -> int:
    """Write or check; 1 when a page is old."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--check", action="store_true")
    words.add_argument("--docs", type=Path, default=Path(__file__).parents[1] / "docs")
    args = words.parse_args()
    old = []
    for name, make in PAGES.items():
        path, text = args.docs / name, make()
        if path.is_file() and path.read_text() == text:
            continue
        old.append(name)
        if not args.check:
            path.write_text(text)
    for name in old:
        print(f"{name} is old: make docs" if args.check else f"wrote {name}")
    return int(args.check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
