"""What pyproject.toml cannot state: recipes in the package, and links of the README to the web."""

import re
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies recipes/ into the package, where `tagwise train NAME.yaml --copy` finds them.

    An editable install reads them where they are.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for recipe in self._recipes():
            copy = Path(self.build_lib, "tagwise", recipe)
            self.mkpath(str(copy.parent))
            self.copy_file(str(recipe), str(copy))

    def get_source_files(self) -> list[str]:
        return [*super().get_source_files(), *map(str, self._recipes())]

    def _recipes(self) -> list[Path]:
        return sorted(Path("recipes").rglob("*.yaml"))


def readme() -> str:
    """The README for the page of the package, where links to files of the source lead nowhere.

    With an address of the source in pyproject.toml, under project.urls as "Source", links are
    absolute: those to pictures name the file itself, and all others its page.
    """
    text = Path("README.md").read_text(encoding="utf-8")
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project.get("urls", {}).get("Source")
    return absolute_links(text, source) if source else text


def absolute_links(text: str, source: str) -> str:
    """Make the relative links of a Markdown text absolute, on a server laid out as GitHub is."""

    def link(match: re.Match[str]) -> str:
        mark, words, target = match.groups()
        kind = "raw" if mark else "blob"
        return f"{mark}[{words}]({source.rstrip('/')}/{kind}/main/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)", link, text)


setup(
    cmdclass={"build_py": BuildWithRecipes},
    long_description=readme(),
    long_description_content_type="text/markdown",
)
