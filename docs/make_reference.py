"""Write docs/cli.md, docs/python.md and docs/recipes.md from the help and docstrings of the code.

python docs/make_reference.py    # or: make docs
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union

sys.path.insert(0, str(Path(__file__).parent))

from _docstrings import default_text, described, markdown, signature
from tyro.conf import Positional

import tagwise
from tagwise import cli, grouping, losses, plot, scale
from tagwise.data.augment import Augment
from tagwise.files import whole_file
from tagwise.grouping.settings import CornerSettings, GroupingSettings, PixelSettings
from tagwise.tasks import CornerTask, PixelTask, PoseTask
from tagwise.training import recipe

DOCS = Path(__file__).parent
_WRITTEN = "<!-- Written by `make docs` from the source; change the docstrings instead. -->\n"

# ---------------------------------------------------------------------- the command line


def cli_page() -> str:
    """The text of docs/cli.md: every verb with its examples and options."""
    intro = (
        "# Every command\n\n" + _WRITTEN + "\nEvery command is `tagwise VERB ...`. "
        "`tagwise VERB --help` prints what is below. Three flags work with every verb: `--debug` "
        "shows the traceback of an error, `--offline` forbids downloads, and `--help` explains.\n\n"
        "| verb | what it does |\n| --- | --- |\n"
    )
    rows = [f"| [`{name}`](#{name}) | {_summary(verb)} |" for name, verb in cli.VERBS.items()]
    return intro + "\n".join(rows) + "\n\n" + "\n".join(map(_verb, cli.VERBS))


def _summary(value: Any) -> str:
    return inspect.cleandoc(value.__doc__ or "").partition("\n")[0]


def _verb(name: str) -> str:
    function = cli.VERBS[name]
    text, _, arguments = inspect.cleandoc(function.__doc__ or "").partition("\n\nArgs:\n")
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function, include_extras=True)
    meanings = described(arguments, parameters)
    rows = [_option(p, hints[p.name], meanings) for p in parameters.values()]
    body = "\n\n".join(_examples(block) for block in re.split(r"\n\s*\n", text))
    table = "| argument | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)
    return f"## {name}\n\n{body}\n\n{table}\n"


def _examples(block: str) -> str:
    """Lines that start with $ as a block of commands, with the words after them as comments."""
    if not block.startswith("$ "):
        return block
    lines = [re.split(r" {2,}", line[2:], maxsplit=1) for line in block.strip().split("\n")]
    commands = [f"{words[0]}    # {words[1]}" if len(words) > 1 else words[0] for words in lines]
    return "```\n" + "\n".join(commands) + "\n```"


def _option(parameter: inspect.Parameter, hint: Any, meanings: dict[str, str]) -> str:
    extra = getattr(hint, "__metadata__", ())
    plain = typing.get_args(hint)[0] if extra else hint
    metavar = next((m.metavar for m in extra if getattr(m, "metavar", None)), None)
    helped = next((m.help for m in extra if getattr(m, "help", None)), "")
    flag = "--" + parameter.name.replace("_", "-")
    if any(repr(mark) == repr(Positional) for mark in extra):
        shown = f"`{metavar or parameter.name.upper()}`"
    elif plain is bool:
        shown = f"`{flag}`, `--no-{flag[2:]}`"
    else:
        choices = (metavar or _type(plain)).split("|")
        words = ", ".join(f"`{choice}`" for choice in choices)
        shown = f"`{flag} {choices[0]}`" if len(choices) == 1 else f"`{flag}` {words}"
    default = "required" if parameter.default is parameter.empty else _default(parameter.default)
    meaning = meanings.get(parameter.name) or helped
    return f"| {_cell(shown)} | {_cell(default)} | {_cell(meaning)} |"


def _default(value: Any) -> str:
    if value is None or value == ():
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{shown}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type(hint: Any) -> str:
    """A type in the words of a command line: INT, FLOAT, {a,b}, ...."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "|".join(map(str, inner))
    if origin in (Union, UnionType):
        return "|".join(_type(one) for one in inner if one is not NoneType)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin in (tuple, list):
        return f"{_type(inner[0])} ..."
    return getattr(hint, "__name__", str(hint)).upper()


# ---------------------------------------------------------------------- Python


def python_page() -> str:
    """The text of docs/python.md: every public name with its docstring, and every result field."""
    values = {name: getattr(tagwise, name) for name in tagwise.__all__}
    groups = {
        "Results": ["Result", "Poses", "Boxes", "Masks"],
        "Functions, one per verb": [n for n, v in values.items() if inspect.isfunction(v)],
        "Classes": [n for n, v in values.items() if inspect.isclass(v)],
    }
    groups["Classes"] = [n for n in groups["Classes"] if n not in groups["Results"]]
    text = (
        "# Python reference\n\n" + _WRITTEN + "\nEverything here is `tagwise.NAME`, or "
        "`tagwise.losses.NAME`, `tagwise.grouping.NAME`, `tagwise.plot.NAME` and "
        "`tagwise.scale.NAME`. Shapes: N "
        "instances, K keypoint types, D components of a tag, H and W height and width in pixels.\n"
    )
    for title, names in groups.items():
        text += f"\n## {title}\n\n" + "\n".join(_entry(name, values[name]) for name in names)
    for module in (losses, grouping, plot, scale):
        name = module.__name__.rpartition(".")[2]
        public = {n: getattr(module, n) for n in module.__all__}
        public = {n: v for n, v in public.items() if inspect.isfunction(v) or inspect.isclass(v)}
        text += f"\n## tagwise.{name}\n\n{_summary(module)}\n\n"
        text += "\n".join(_entry(f"{name}.{n}", v) for n, v in public.items())
    return text


def _entry(name: str, value: Any) -> str:
    short = name.rpartition(".")[2]
    names = _names(value)
    text = f"### {name}\n\n```py\n{signature(value, short)}\n```\n\n"
    text += markdown(value.__doc__ or "", names) + "\n"
    if inspect.isclass(value):
        text += _members(value)
    return text


def _names(value: Any) -> list[str]:
    """The arguments of a function, or the fields and arguments of a class."""
    try:
        names = [*inspect.signature(value).parameters]
    except (TypeError, ValueError):
        names = []
    return [*names, *getattr(value, "__annotations__", {})]


def _members(value: type) -> str:
    """The properties and methods of a class, with those that it inherits."""
    text = ""
    for name in dir(value):
        found = inspect.getattr_static(value, name)
        function = found.fget if isinstance(found, property) else getattr(value, name)
        ours = getattr(function, "__module__", "") or ""
        written = inspect.getdoc(function)
        if name.startswith("_") or not ours.startswith("tagwise") or not written:
            continue
        if not isinstance(found, property) and not callable(function):
            continue
        call = name if isinstance(found, property) else signature(function, name)
        kind = " (property)" if isinstance(found, property) else ""
        names = [] if isinstance(found, property) else _names(function)
        block = f"```py\n{call}\n```\n\n" if "\n" in call else ""
        title = f"`{name}(...)`" if block else f"`{call}`"
        text += f"\n**{title}**{kind}\n\n{block}{markdown(written, names)}\n"
    return text


# ---------------------------------------------------------------------- recipes

_PARTS = (
    ("", recipe.Recipe, "The whole recipe"),
    ("data.", recipe.DataConfig, "data: the labelled photos"),
    ("data.train[].", recipe.SetConfig, "data.train and data.val: one set"),
    ("data.augment.", Augment, "data.augment: random changes of photos"),
    ("model.", recipe.ModelConfig, "model: the network"),
    ("optim.", recipe.OptimConfig, "optim: how it learns"),
    ("run.", recipe.RunConfig, "run: the run itself"),
    ("tuned.", recipe.TunedConfig, "tuned: values for one data set"),
    ("task_options.", PoseTask, "task_options of pose: keypoints"),
    ("task_options.grouping.", GroupingSettings, "task_options.grouping of pose"),
    ("task_options.", CornerTask, "task_options of corners: boxes"),
    ("task_options.pairing.", CornerSettings, "task_options.pairing of corners"),
    ("task_options.", PixelTask, "task_options of pixels: masks"),
    ("task_options.grouping.", PixelSettings, "task_options.grouping of pixels"),
)
_FROM_DATA = ("skeleton", "classes")  # fields of tasks that come from the labels


def recipes_page() -> str:
    """The text of docs/recipes.md: every key of a recipe with its default and meaning."""
    text = (
        "# Every key of a recipe\n\n" + _WRITTEN + "\nA recipe is a YAML file that says what a "
        "training run does. Only `data.train` is required: everything else has a default. "
        "`tagwise init` writes a recipe for your labels, and the folder of every run holds one "
        "with all values. On the command line, `--optim.lr 1e-3` replaces one value.\n\n"
        "[train.md](train.md) explains which values matter; this page lists them all.\n"
    )
    for prefix, kind, title in _PARTS:
        text += f"\n## {title}\n\n{_summary(kind)}\n\n| key | default | meaning |\n"
        text += "| --- | --- | --- |\n"
        for field in dataclasses.fields(kind):
            if field.name not in _FROM_DATA:
                meaning = _cell(key_meanings(kind).get(field.name, ""))
                key, default = f"`{prefix}{field.name}`", _field_default(field)
                text += f"| {key} | {default} | {meaning[:1].upper()}{meaning[1:]} |\n"
    return text


def key_meanings(kind: type) -> dict[str, str]:
    """What each key of a class of settings means, from its docstring."""
    return described(kind.__doc__ or "", [field.name for field in dataclasses.fields(kind)])


def recipe_parts() -> tuple[type, ...]:
    """The classes of settings that make up a recipe."""
    return tuple(kind for _, kind, _ in _PARTS)


def _field_default(field: dataclasses.Field) -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "required"
    if dataclasses.is_dataclass(value):
        return "see below"
    plain = list(value) if isinstance(value, tuple) else value
    words = {None: "null", True: "true", False: "false"}
    shown = words[plain] if plain is None or isinstance(plain, bool) else default_text(plain)
    return f"`{_cell(shown.strip(chr(34)))}`"


PAGES = {"cli.md": cli_page, "python.md": python_page, "recipes.md": recipes_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        with whole_file(DOCS / name) as file:
            file.write(make().encode())
