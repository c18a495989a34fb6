"""Left and right in keypoint names: which types a mirrored image swaps.

Every name is read in several ways, the most reliable first: a word for a side ("left_hip", "linke
Hand"), a single letter ("hip_l"), a word for a side within another word ("hipleft"), and a letter
at either end of a word ("lhip", "LF"). A reading consists of a side and the rest of the name. Two
names form a pair if they have the same rest and different sides, and no third name has that rest.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from tagwise.skeletons.names import split_words

# Words for left and right, one language per row. After a star, a word may have any ending.
_WORDS = (
    ("left lft lt", "right rgt rt"),
    ("link* li", "recht* re"),  # German, Dutch
    ("gauch*", "droit*"),  # French
    ("izquierd* izq", "derech* der"),  # Spanish
    ("esquerd* esq", "direit* dir"),  # Portuguese
    ("sinistr* sin sx", "destr* des dx"),  # Italian
    ("vanster* vanstra* venstr*", "hoger* hogra* højr* høyr*"),  # Swedish, Danish, Norwegian
    ("vasen* vasem*", "oike*"),  # Finnish
    ("lew* lev*", "praw* prav*"),  # Polish, Czech, Slovak
    ("лев* лів* ляв*", "прав* десн* дясн*"),  # Russian, Ukrainian, Bulgarian
    ("αριστερ*", "δεξι*"),  # Greek
    ("sol", "sag"),  # Turkish
    ("bal", "jobb"),  # Hungarian
    ("stang*", "drept* dreapt*"),  # Romanian
    ("kiri", "kanan"),  # Indonesian, Malay
    ("trai", "phai"),  # Vietnamese
)
# The same for scripts without case, which do not mark the ends of words.
_SYLLABLES = (
    *(("左", "右"), ("ひだり", "みぎ"), ("ヒダリ", "ミギ"), ("왼", "오른")),
    *(("يسر", "يمن"), ("يسار", "يمين"), ("چپ", "راست"), ("שמאל", "ימין")),
    *(("ซ้าย", "ขวา"), ("बाय", "दाय"), ("बाए", "दाए")),
)
_SHORT = ("좌", "우")  # also Korean, but these are parts of other words too
_LETTERS = {"l": ("l", 0), "r": ("l", 1), "л": ("л", 0), "п": ("л", 1)}
_ALPHABET = 6  # with this many other letters in the same position, l and r are not sides
_ENDING = 3  # maximum number of letters of an ending
_INSIDE = 4  # minimum number of letters of a side that is also searched for within words
_PLACES = frozenset("fhbmtur")  # front, hind, back, middle, top, upper, rear: "FL", "hr", "flpaw"
_VOWELS = frozenset("aeiouy")
# Word parts that begin or end with a vowel. Next to other vowels, an l or r is part of the word.
_BEGIN = ("abdom", "acromi", "ankle", "antenna", "arm", "axilla", "ear", "elbow", "eye", "ili")
_BEGIN += ("inner", "iris", "orbit", "outer", "ulna", "under", "upper")
_END = ("ankle", "antenna", "base", "bone", "eye", "fibula", "knee", "mandible", "maxilla", "nose")
_END += ("scapula", "side", "tibia", "toe", "ulna")
_ENOUGH = 2  # number of certain pairs of a spelling for which doubtful pairs are accepted


def _tables() -> tuple[dict, dict]:
    """Tables {word: (language, side)} of complete words, and of stems with endings."""
    whole: dict[str, tuple] = {}
    stems: dict[str, tuple] = {}
    for language, row in enumerate((*_WORDS, *_SYLLABLES)):
        for side, words in enumerate(row):
            for word in words.split():
                table = stems if word.endswith("*") else whole
                table[word.rstrip("*")] = (language, side)
    return whole, stems


_WHOLE, _STEMS = _tables()
_PARTS = {word: mark for word, mark in (_WHOLE | _STEMS).items() if len(word) >= _INSIDE}
_PARTS |= {word: ("좌", side) for side, word in enumerate(_SHORT)}
_PART = re.compile("|".join(sorted(_PARTS, key=len, reverse=True)))
_SYLLABLE = re.compile(f"({'|'.join(word for row in _SYLLABLES for word in row)})")


@dataclass(frozen=True)
class _Reading:
    """One way to read a name.

    rest: the name without its side. side: 0 for left, 1 for right.
    spelling: how the side is written, if it is a letter at an end of a word.
    doubtful: whether that letter may belong to the word, as in "lip" and "rip". Such pairs are
        accepted only in skeletons with certain pairs of the same spelling.
    """

    rest: tuple
    side: int
    spelling: str = ""
    doubtful: bool = False


_Way = Callable[[tuple[str, ...]], Iterator[_Reading]]


def mirror_types(keypoints: Sequence[str]) -> tuple[int, ...]:
    """For each keypoint type, the type that it becomes in a mirrored image, derived from the names.

    A type without a unique counterpart stays the same.

    >>> mirror_types(["nose", "left_eye", "right_eye"])
    (0, 2, 1)
    >>> mirror_types(["lhip", "rhip", "lip", "rip"])
    (1, 0, 2, 3)
    """
    names = [_words(name) for name in keypoints]
    flip = list(range(len(names)))
    for way in _ways(names):
        free = (k for k in range(len(names)) if flip[k] == k)
        for a, b in _pairs({k: list(way(names[k])) for k in free}):
            flip[a], flip[b] = b, a
    return tuple(flip)


def sided_types(keypoints: Sequence[str]) -> tuple[int, ...]:
    """Indices of the keypoint types whose names contain a side, with or without a counterpart.

    >>> sided_types(["nose", "left_eye", "Rwrist"])
    (1, 2)
    """
    names = [_words(name) for name in keypoints]
    ways = _ways(names)

    def sided(reading: _Reading) -> bool:
        # Many words end in l or r: without a counterpart it is not a side.
        return not reading.doubtful and not reading.spelling.startswith("end")

    readings = [[reading for way in ways for reading in way(words)] for words in names]
    return tuple(k for k, found in enumerate(readings) if any(map(sided, found)))


def type_sides(keypoints: Sequence[str], flip: Sequence[int]) -> tuple[int, ...]:
    """The side of each keypoint type: 0 for the middle, 1 for left, 2 for right.

    flip: the counterpart of each type. Only types with a counterpart have a side. If the names of a
    pair do not tell which is left, the first of the two is.

    >>> type_sides(["nose", "right_eye", "left_eye"], (0, 2, 1))
    (0, 2, 1)
    """
    names = [_words(name) for name in keypoints]
    ways = _ways(names)
    sides = [0] * len(names)
    for a, b in ((a, b) for a, b in enumerate(flip) if a < b):
        readings = (product(way(names[a]), way(names[b])) for way in ways)
        pairs = (pair for of_way in readings for pair in of_way)
        told = (one.side for one, two in pairs if one.rest == two.rest and one.side != two.side)
        first = next(told, 0)
        sides[a], sides[b] = 1 + first, 2 - first
    return tuple(sides)


def _words(name: str) -> tuple[str, ...]:
    """The words of a name as written; in scripts without case, a side is a separate word."""
    return tuple(part for word in split_words(name) for part in _SYLLABLE.split(word) if part)


def _plain(word: str) -> str:
    """A word in lower case and without accents, which are often omitted."""
    letters = unicodedata.normalize("NFD", word.casefold())
    return "".join(c for c in letters if unicodedata.category(c) != "Mn")


def _ways(names: Sequence[tuple[str, ...]]) -> list[_Way]:
    """The ways to read a name, the most reliable first."""
    letters = _side_letters(names)

    def letter(words: tuple[str, ...], k: int) -> tuple | None:
        return _LETTERS[words[k].casefold()] if (words, k) in letters else None

    return [
        partial(_all_sides, find=lambda words, k: _word(words, k) or letter(words, k)),
        partial(_all_sides, find=_word),
        partial(_all_sides, find=letter),
        partial(_all_sides, find=_part),
        _letters_at_ends,
    ]


def _pairs(readings: dict[int, list[_Reading]]) -> list[tuple[int, int]]:
    """Pairs (left, right) of types that have exactly one counterpart each."""
    holders: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
    for k, found in readings.items():
        for reading in found:
            holders[reading.rest][reading.side].append((k, reading))
    both = [(*left, *right) for left, right in holders.values() if len(left) == len(right) == 1]
    sure = Counter(left.spelling for (_, left), _ in both if not left.doubtful)
    pairs = {
        (a, b) for (a, left), (b, _) in both if not left.doubtful or sure[left.spelling] >= _ENOUGH
    }
    partners = Counter(k for pair in pairs for k in pair)
    return [(a, b) for a, b in sorted(pairs) if partners[a] == partners[b] == 1]


def _all_sides(
    words: tuple[str, ...], find: Callable[[tuple[str, ...], int], tuple | None]
) -> Iterator[_Reading]:
    """The reading of a name that may contain several sides; the first is the side of the name.

    The counterpart of "left_eye_right_corner" is "right_eye_left_corner".
    """
    found = [find(words, k) for k in range(len(words))]
    first = next((mark[-1] for mark in found if mark), None)
    if first is not None:
        cut = (mark and (*mark[:-1], mark[-1] == first) for mark in found)
        yield _Reading(tuple(c or w.casefold() for c, w in zip(cut, words, strict=True)), first)


def _word(words: tuple[str, ...], k: int) -> tuple | None:
    """The (language, side) of a word for a side; None for other words."""
    word = _plain(words[k])
    if word in _WHOLE:
        return _WHOLE[word]
    if words[k] in _WHOLE:  # in some scripts, marks are vowels and not accents
        return _WHOLE[words[k]]
    ends = range(max(1, len(word) - _ENDING), len(word) + 1)
    return next((_STEMS[word[:end]] for end in ends if word[:end] in _STEMS), None)


def _part(words: tuple[str, ...], k: int) -> tuple | None:
    """(before, language, after, side) of a word that contains a word for a side; otherwise None."""
    word = _plain(words[k])
    part = _PART.search(word) or _PART.search(words[k])
    if not part:
        return None
    language, side = _PARTS[part[0]]
    return part.string[: part.start()], language, part.string[part.end() :], side


def _side_letters(names: Sequence[tuple[str, ...]]) -> set[tuple[tuple[str, ...], int]]:
    """The (name, k) of the single letters l and r that can be sides.

    They are not sides among many letters (point_a to point_z), nor with different numbers: ribs R1
    to R12, but lumbar vertebrae L1 to L5.
    """
    lone = [(name, k) for name in names for k, word in enumerate(name) if len(word) == 1]
    letters: dict[tuple, set[str]] = defaultdict(set)
    numbers: dict[tuple, set[str]] = defaultdict(set)
    for name, k in lone:
        letter, around, uncounted, number = _around(name, k)
        letters[around].add(letter)
        numbers[uncounted, letter].add(number)

    def is_side(name: tuple[str, ...], k: int) -> bool:
        letter, around, uncounted, number = _around(name, k)
        others = [each for each in letters[around] if each.isalpha() and each not in _LETTERS]
        script = [each for each in _LETTERS if _LETTERS[each][0] == _LETTERS[letter][0]]
        left, right = (numbers[uncounted, each] for each in script)
        return len(others) < _ALPHABET and (not number or left == right)

    return {(name, k) for name, k in lone if name[k].casefold() in _LETTERS and is_side(name, k)}


def _around(name: tuple[str, ...], k: int) -> tuple[str, tuple, tuple, str]:
    """A word, the other words, these without a number that follows the word, and that number."""
    words = tuple(word.casefold() for word in name)
    number = words[k + 1] if words[k + 1 : k + 2] and words[k + 1].isdigit() else ""
    after = words[k + 2 :] if number else words[k + 1 :]
    return words[k], (words[:k], words[k + 1 :]), (words[:k], bool(number), after), number


def _letters_at_ends(words: tuple[str, ...]) -> Iterator[_Reading]:
    """Readings in which the first, second or last letter of a word, an l or r, is the side."""
    for k, word in enumerate(words):
        plain = _plain(word)
        if len(plain) < 2 or not plain.isalpha() or (len(plain) >= _INSIDE and _word(words, k)):
            continue
        shape = "upper" if word.isupper() else "title" if word[0].isupper() else "lower"
        around = tuple(w.casefold() for w in (*words[:k], "", *words[k + 1 :]))
        for spelling, before, letter, after in (
            ("begin", "", plain[0], plain[1:]),
            ("end", plain[:-1], plain[-1], ""),
            ("second", plain[0], plain[1], plain[2:]),
        ):
            if letter in "lr" and (spelling != "second" or (before in _PLACES and after)):
                yield _Reading(
                    (around, k, before, after),
                    "lr".index(letter),
                    f"{spelling} {shape}",
                    not _is_separate(spelling, before, after, shape),
                )


def _is_separate(spelling: str, before: str, after: str, shape: str) -> bool:
    """Whether a letter between two parts of a word is unlikely to belong to the word itself."""
    rest = before if spelling == "end" else after
    if len(rest) == 1 and (shape == "upper" or rest in _PLACES):
        return True
    if spelling == "end":
        return rest[-1] not in _VOWELS or rest.endswith(_END)
    return rest[0] not in _VOWELS or rest.startswith(_BEGIN)
