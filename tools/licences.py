"""List the licences of the packages that tagwise needs, and fail if one is not acceptable.

    python tools/licences.py              what is installed, as constraints.txt pins it
    python tools/licences.py --core       only what `pip install tagwise` brings

A package counts by its licence expression, else by its classifiers, else by its field License.
Some wheels also hold programs and libraries under the GPL, which their metadata does not state;
these are found by the names of their files. Exits with 1 for a GPL or AGPL licence, for a package
that states no licence, and for a wheel with such files that `WITH_GPL_FILES` does not name.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_REFUSED = re.compile(r"(?<!L)\bA?GPL|(?<!Lesser )(?:Affero )?General Public", re.IGNORECASE)

_GPL_FILES = re.compile(r"(?:^|/)(?:lib)?(?:x264|x265|xvidcore)[-.]|/ffmpeg-[^/]*$")
WITH_GPL_FILES = {
    "av": "the extras video and viz",
    "imageio-ffmpeg": "sleap-io of the extra labels",
}
"""Wheels with programs or libraries under the GPL, and what needs them; no core package may."""


def licence_of(about: metadata.PackageMetadata) -> str:
    """The licence that the metadata of a package states, "" if none."""
    expression = about.get("License-Expression")
    if expression:
        return expression
    classifiers = about.get_all("Classifier") or []
    named = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: OSI")]
    lines = [line.strip(" =") for line in (about.get("License") or "").splitlines()]
    first = next((line for line in lines if line), "")
    return " AND ".join(named) or first[:80]


def is_acceptable(licence: str) -> bool:
    """Whether a licence is stated, and one part of each of its alternatives is not GPL or AGPL.

    >>> [is_acceptable(l) for l in ("MIT", "GPL-3.0-only", "MIT OR GPL-2.0", "LGPL-3.0", "")]
    [True, False, True, True, False]
    """
    return any(part and not _REFUSED.search(part) for part in re.split(r"\s+OR\s+", licence))


def gpl_files(name: str) -> list[str]:
    """The files of an installed package that are known to be under the GPL."""
    files = metadata.files(name) or []
    return [path.name for path in files if _GPL_FILES.search(path.as_posix())]


def core_packages() -> set[str]:
    """The names of tagwise's own requirements and of all that these require."""
    found: set[str] = set()
    queue = ["tagwise"]
    while queue:
        for requirement in metadata.requires(queue.pop()) or []:
            name, _, marker = requirement.partition(";")
            name = _normal(re.match(r"[\w.-]+", name)[0])
            if "extra ==" not in marker and name not in found and _is_installed(name):
                found.add(name)
                queue.append(name)
    return found


def pinned_packages() -> set[str]:
    """The names in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {_normal(line.partition("==")[0]) for line in lines if "==" in line}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _is_installed(name: str) -> bool:
    try:
        metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", action="store_true", help="only what pip install tagwise brings")
    names = core_packages() if parser.parse_args().core else pinned_packages()
    missing = sorted(name for name in names if not _is_installed(name))
    licences = {n: licence_of(metadata.metadata(n)) for n in sorted(names - set(missing))}
    for name, licence in licences.items():
        print(f"{name:32} {metadata.version(name):14} {licence or 'states none'}")
    problems = [
        f"{name}: {licence or 'states no licence'}"
        for name, licence in licences.items()
        if not is_acceptable(licence)
    ]
    for name, files in ((name, gpl_files(name)) for name in licences):
        if files and name in WITH_GPL_FILES:
            print(f"note: {name}, for {WITH_GPL_FILES[name]}, holds {', '.join(files)}: GPL")
        elif files:
            problems.append(f"{name}: holds {', '.join(files)}, which are under the GPL")
    print(f"{len(licences)} packages, {len(problems)} refused")
    if missing:
        print(f"not installed, and not checked: {', '.join(missing)}")
    for problem in problems:
        print(f"refused: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
