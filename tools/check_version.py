"""Check that the package, CHANGELOG.md, CITATION.cff and the tag of git state one version.

    python tools/check_version.py      prints the version, or what differs, and exits with 1

The version is `__version__` in src/tagwise/__init__.py. A commit that is released has the tag
vVERSION. A commit without a tag is not released yet, and no tag is checked.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stated(file: str, pattern: str, root: Path = ROOT) -> str:
    """The first group of a pattern in a file, "nothing" if it is not there."""
    found = re.search(pattern, (root / file).read_text(), re.MULTILINE)
    return found[1] if found else "nothing"


def tags(root: Path = ROOT) -> list[str]:
    """The versions that tags of the current commit name; none outside of git."""
    command = ["git", "-C", str(root), "tag", "--points-at", "HEAD", "v*"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return [line[1:] for line in ran.stdout.split()]


def differences(root: Path = ROOT) -> tuple[str, list[str]]:
    """The version of the package, and what states another one."""
    version = stated("src/tagwise/__init__.py", r'^__version__ = "(.+)"', root)
    others = {
        "CHANGELOG.md": stated("CHANGELOG.md", r"^## (\S+)", root),
        "CITATION.cff": stated("CITATION.cff", r"^version: (\S+)", root),
        **{f"the tag v{tag}": tag for tag in tags(root)},
    }
    return version, [f"{name} says {o}" for name, o in others.items() if o != version]


def main() -> int:
    version, wrong = differences()
    if wrong:
        print(f"src/tagwise/__init__.py says {version}, but {', '.join(wrong)}", file=sys.stderr)
        return 1
    print(f"version {version}" + ("" if tags() else ", not tagged"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
