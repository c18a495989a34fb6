"""The step of the build that pyproject.toml cannot state: recipes go into the package."""

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


setup(cmdclass={"build_py": BuildWithRecipes})
