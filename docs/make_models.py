"""Write docs/models.md from the registry of public models.

python docs/make_models.py    # or: make docs
"""

from pathlib import Path

from tagwise.files import whole_file
from tagwise.published.registry import PublicModel, public_models, registry

PAGE = Path(__file__).parent / "models.md"

_HEAD = """\
# Public models by name

<!-- Written by `make docs` from src/tagwise/published/registry.toml; change that file instead. -->

`--weights NAME` takes any of these names, in every verb, in `tagwise.predict` and `Predictor`. The
file is fetched from its authors' server the first time that it is asked for, compared with its
checksum, converted and kept. `tagwise models` shows which ones are on this computer, and
`tagwise models NAME` everything that is known about one. [official.md](official.md#by-name)
explains the folder and its settings.

The AP are **published by the authors, not measured here**. The downloads themselves were not run
where tagwise is developed, because these hosts cannot be reached from there. Fetching was tested
with a local server, and the networks as [official.md](official.md) says.

"""


def page() -> str:
    """The text of docs/models.md."""
    models = list(public_models().values())
    rows = [_row(model) for model in models]
    parts = [
        _table(("name", "finds", "AP, %", "on", "test", "input", "MB", "licence"), rows),
        "All tests run at one scale. The test is what `--protocol published` runs, with the "
        "decoder of the family:\n",
        _table(("family", "decoder", "please cite"), sorted(_family(model) for model in models)),
        _notes(models),
        _unreadable(models),
        "The models that ship, which need no download, are "
        + ", ".join(f"`{name}`" for name in registry().shipped)
        + ".",
    ]
    return _HEAD + "\n".join(parts) + "\n"


def _row(model: PublicModel) -> tuple[str, ...]:
    return (
        f"`{model.name}`",
        model.finds,
        "" if model.ap is None else f"{model.ap:.1f}",
        "" if model.ap is None else model.set,
        model.test.partition(",")[0],
        "{} × {}".format(*model.input_size),
        "" if model.size is None else f"{model.size / 1e6:.1f}",
        model.licence,
    )


def _family(model: PublicModel) -> tuple[str, ...]:
    return model.about, f"`{model.decoder}`", model.citation


def _notes(models: list[PublicModel]) -> str:
    lines = ["Sources and notes:", ""]
    sources: dict[str, list[str]] = {}
    for model in models:
        sources.setdefault(model.source, []).append(f"`{model.name}`")
        if model.note:
            lines.append(f"- `{model.name}`: {model.note}.")
    lines += [f"- {', '.join(names)}: {source}." for source, names in sources.items()]
    return "\n".join([*lines, ""])


def _unreadable(models: list[PublicModel]) -> str:
    names = [f"`{model.name}`" for model in models if not model.is_readable]
    if not names:
        return ""
    return f"This version cannot read {', '.join(names)} yet, and says so.\n"


def _table(titles: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *dict.fromkeys(rows)]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), ""])


if __name__ == "__main__":
    with whole_file(PAGE) as file:
        file.write(page().encode())
