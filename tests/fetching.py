"""A prediction with a public model, and what tests of fetching it look at."""

from tagwise import cli

PREDICT = ("predict", "photo.png", "--weights", "tiny-hrnet", "--out", "found")


def names(folder):
    """Names in a folder, without locks."""
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def told(capsys, *arguments):
    """Run a command that must fail, and return its one line."""
    assert cli.main(list(arguments or PREDICT)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tagwise: ")
    assert said.err.count("\n") == 1
    return said.err
