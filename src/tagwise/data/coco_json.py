"""Reading and checking COCO's JSON, matching ids, and choosing categories."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from tagwise.data.label_formats import describe_other_format
from tagwise.errors import UserError, brief, unknown_name
from tagwise.files import read_json

_LISTS = ("images", "annotations", "categories")


def read_coco(source: str | Path | dict[str, Any]) -> dict[str, Any]:
    """Return the content of a COCO annotation file, given as a path or as the content itself.

    Raises UserError if it is not a COCO annotation file. The error says how to convert labels of
    other programs.
    """
    if isinstance(source, dict):
        check_coco(source, name_of(source))
        return source
    if not isinstance(source, str | PathLike):
        raise UserError(
            f"labels must be the path of a COCO JSON or its content, not {brief(source)}"
        )
    try:
        content = read_json(source)
        check_coco(content, source)
    except UserError:
        other = describe_other_format(source)
        if other is None:
            raise
        raise UserError(other) from None
    return content


def name_of(source: str | Path | dict[str, Any]) -> str:
    """The name of the labels in error messages: the path, or "the ground truth" for a dict."""
    return "the ground truth" if isinstance(source, dict) else str(source)


def check_coco(content: Any, path: str | Path) -> None:
    """Raise UserError, naming `path`, if the content is not that of a COCO annotation file."""
    if not isinstance(content, dict):
        found = type(content).__name__
        raise UserError(
            f"{path} is not a COCO annotation file: it contains a {found}, not an object"
        )
    missing = [key for key in _LISTS if not isinstance(content.get(key), list)]
    if missing:
        lists = " or ".join(missing)
        raise UserError(f"{path} is not a COCO annotation file: it has no list of {lists}")
    for key in _LISTS:
        if not all(isinstance(entry, dict) for entry in content[key]):
            raise UserError(
                f"{path} is not a COCO annotation file: an entry of {key} is not an object"
            )
    for key in ("images", "categories"):
        if not all(is_id(entry.get("id")) for entry in content[key]):
            raise UserError(f'{path} is not a COCO annotation file: an entry of {key} has no "id"')


def is_id(value: Any) -> bool:
    """Whether a value can be the id of an image or a category: a number or a string."""
    if type(value) in (int, str):
        return True
    return isinstance(value, float) and math.isfinite(value)


class Ids:
    """Finds ids even where one place writes them as numbers and another as strings.

    An exact match takes precedence. Otherwise 7, 7.0 and "7" are equal, provided that only one id
    matches.
    """

    def __init__(self, ids: Iterable[Any]) -> None:
        self._exact = set(ids)
        count = Counter(_plain(value) for value in self._exact)
        self._near = {_plain(v): v for v in self._exact if count[_plain(v)] == 1}

    def find(self, value: Any) -> Any:
        """Return the id that matches a value, or None."""
        if not is_id(value):
            return None
        if type(value) is not float and value in self._exact:
            return value
        return self._near.get(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


# ---------------------------------------------------------------------- categories


def pick_category(
    content: dict[str, Any], path: str | Path, name: str | None = None
) -> dict[str, Any]:
    """Choose one of the categories with keypoints.

    name: the name of the category; None takes the first one that has annotations, or the first
        one if none has. (Some programs put a category first that only groups the others.)
    Raises UserError if no category has keypoints, or none of those has the name.
    """
    known = [category for category in content["categories"] if category.get("keypoints")]
    if not known:
        raise UserError(f'{path}: no category has "keypoints"; give a file of keypoint labels')
    if name is not None:
        named = [category for category in known if category.get("name") == name]
        if not named:
            names = [str(category.get("name")) for category in known]
            raise unknown_name(f"category of {path} with keypoints:", name, names)
        return named[0]
    if len(known) == 1:
        return known[0]
    used = annotated_categories(content)
    return next((category for category in known if category["id"] in used), known[0])


def annotated_categories(content: dict[str, Any]) -> Counter[Any]:
    """The number of annotations of each category, by the category's id."""
    ids = Ids(category["id"] for category in content["categories"])
    found = (ids.find(annotation.get("category_id")) for annotation in content["annotations"])
    return Counter(number for number in found if number is not None)


def object_categories(content: dict[str, Any]) -> list[dict[str, Any]]:
    """All categories, except one that only groups the others and has no annotations.

    Roboflow writes such a category first; all others name it as their "supercategory".
    """
    used, categories = annotated_categories(content), content["categories"]
    for category in categories:
        others = [other for other in categories if other is not category]
        parents = {str(other.get("supercategory")) for other in others}
        if parents == {str(category.get("name"))} and not used[category["id"]]:
            return others
    return categories


def match_classes(
    names: Sequence[str], categories: Sequence[dict[str, Any]], path: str | Path
) -> list[Any]:
    """The category id of each class, by name and ignoring case; None for a class without category.

    Raises UserError if no class has a category.
    """
    ids = {str(category.get("name")).casefold(): category["id"] for category in categories}
    found = [ids.get(name.casefold()) for name in names]
    if names and all(number is None for number in found):
        known = ", ".join(str(category.get("name"))[:60] for category in categories[:50])
        raise UserError(f"{path} has no category {', '.join(names)}; it has {known}")
    return found
