"""Keypoint names in any script: their words, and matching the names of two lists."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# Matches one word in the classes of the characters of a name, see `_classes`. Separators ("j")
# are not part of any word.
_WORD = re.compile(r"(?:Um*)+(?=Um*l)|(?:Um*)?(?:lm*)+|(?:Um*)+|(?:om*)+|d+|[sm]")
_CLASSES = {"Lu": "U", "Lt": "U", "Ll": "l", "Lm": "o", "Lo": "o"}  # "o": letters without case
_CLASSES |= dict.fromkeys(("Mn", "Mc", "Me"), "m") | dict.fromkeys(("Nd", "Nl", "No"), "d")
_CLASSES |= dict.fromkeys(("Zs", "Zl", "Zp", "Cc", "Pc"), "j") | {"Pd": "h"}
_CLASSES |= dict.fromkeys("./\\:|,;", "j")
_FULL_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}


def plain_name(name: str) -> str:
    """A name in Unicode's NFC form, in which an accented letter is a single character."""
    return unicodedata.normalize("NFC", name)


def split_words(name: str) -> list[str]:
    """The words of a keypoint name as written. Each number and each sign is a word, too.

    Words are separated by spaces, `_`, `.`, `/` and similar characters, by a hyphen between
    letters, or by a capital letter. A hyphen elsewhere is a sign.

    >>> split_words("Left-frontPaw_2"), split_words("toe-"), split_words("左 手首")
    (['Left', 'front', 'Paw', '2'], ['toe', '-'], ['左', '手首'])
    """
    name = plain_name(name.translate(_FULL_WIDTH))
    name = "".join(c for c in name if unicodedata.category(c) != "Cf")  # such as a byte order mark
    return [name[slice(*match.span())] for match in _WORD.finditer(_classes(name))]


def _classes(name: str) -> str:
    """The class of each character: U upper case, l lower case, o letter without case, m mark,
    d digit, s sign, j separator.
    """
    classes = "".join(_CLASSES.get(c) or _CLASSES.get(unicodedata.category(c), "s") for c in name)

    def between(run: re.Match[str]) -> str:
        before, after = classes[: run.start()][-1:], classes[run.end() :][:1]
        joins = before and after and before in "Ulomd" and after in "Ulod"
        return run[0].replace("h", "j" if joins else "s")

    return re.sub("[jh]+", between, classes)


def name_words(name: str) -> tuple[str, ...]:
    """The words of a keypoint name in lower case, whatever separates them.

    >>> name_words("left_hip") == name_words("Left-Hip") == name_words("leftHip")
    True
    """
    words = [plain_name(word.casefold()) for word in split_words(name)]
    split: list[str] = []
    for word in words:  # "leftwrist" has no separator
        side = next((s for s in ("left", "right") if word.startswith(s) and word != s), None)
        split += [side, word[len(side) :]] if side else [word]
    return tuple(split)


def name_key(name: str) -> str:
    """A key that is equal for names that differ only in case and in what separates their words.

    Numbers stay separate: "p1_2" and "p12" have different keys.

    >>> name_key("left_hip") == name_key("Left-Hip") == name_key("lefthip")
    True
    """
    key = ""
    for word in name_words(name):
        key += "_" + word if key[-1:].isdigit() and word.isdigit() else word
    return key


def match_names(wanted: Sequence[str], given: Sequence[str]) -> tuple[int, ...]:
    """The index of the given name that matches each wanted name, -1 if none does.

    Names match if they are equal, or differ only in case and word separators, unless that makes
    several names of one list equal. Each given name matches at most one wanted name.

    >>> match_names(["left_hip", "toe+", "toe-"], ["toe+", "LeftHip", "toe"])
    (1, 0, -1)
    """
    exact = {plain_name(name): k for k, name in enumerate(given)}
    found = [exact.get(plain_name(name), -1) for name in wanted]
    keys, given_keys = [name_key(name) for name in wanted], [name_key(name) for name in given]
    several = {key for names in (keys, given_keys) for key, n in Counter(names).items() if n > 1}
    loose = {key: k for k, key in enumerate(given_keys) if key and key not in several}
    return tuple(k if k >= 0 else loose.get(key, -1) for k, key in zip(found, keys, strict=True))
