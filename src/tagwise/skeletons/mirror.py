"""Which keypoint types change places in a mirror, as far as their names tell.

Every name is read in several ways, from the surest to the least sure: a word for a side among its
words ("left_hip", "linke Hand"), a letter among its words ("hip_l"), a word for a side inside a
word ("hipleft"), a letter at either end of a word ("lhip", "LF"). A reading is the name with its
side cut out, and which side that was. Two names are a pair if they leave the same when cut, one
of each side, and no third name does.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from tagwise.skeletons.names import split_words

# Words for left and right, of one language a row. A word with a star may have an ending.
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
# The same in scripts without case, where nothing marks the ends of a word.
_SYLLABLES = (
    *(("左", "右"), ("ひだり", "みぎ"), ("ヒダリ", "ミギ"), ("왼", "오른")),
    *(("يسر", "يمن"), ("يسار", "يمين"), ("چپ", "راست"), ("שמאל", "ימין")),
    *(("ซ้าย", "ขวา"), ("बाय", "दाय"), ("बाए", "दाए")),
)
_SHORT = ("좌", "우")  # Korean too, but also parts of other words
_LETTERS = {"l": ("l", 0), "r": ("l", 1), "л": ("л", 0), "п": ("л", 1)}
_ALPHABET = 6  # other letters in the place of l and r that make them two of many
_ENDING = 3  # letters that an ending has at most
_INSIDE = 4  # letters of a word that is also looked for inside others
_PLACES = frozenset("fhbmtur")  # front, hind, back, middle, top, upper, rear: "FL", "hr", "flpaw"
_VOWELS = frozenset("aeiouy")
# Parts that begin or end with a vowel, where an l or r before or after them could be their own.
_BEGIN = ("abdom", "acromi", "ankle", "antenna", "arm", "axilla", "ear", "elbow", "eye", "ili")
_BEGIN += ("inner", "iris", "orbit", "outer", "ulna", "under", "upper")
_END = ("ankle", "antenna", "base", "bone", "eye", "fibula", "knee", "mandible", "maxilla", "nose")
_END += ("scapula", "side", "tibia", "toe", "ulna")
_ENOUGH = 2  # sure pairs of a spelling that make the doubtful ones of it sure


def _tables() -> tuple[dict, dict]:
    """{word or stem: (what it is in the rest of a name, side)}, of whole words and of stems."""
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
    """What a name leaves without its side, and the side, 0 for left and 1 for right.

    spelling: how the side is written, where that is a letter at the end of a word.
    doubtful: that letter may be one of the word, as in "lip" and "rip". Such pairs count only in
    skeletons with others of the same spelling.
    """

    rest: tuple
    side: int
    spelling: str = ""
    doubtful: bool = False


_Way = Callable[[tuple[str, ...]], Iterator[_Reading]]


def mirror_types(keypoints: Sequence[str]) -> tuple[int, ...]:
    """For every keypoint type the type that it becomes in a mirror, from left and right in names.

    A type whose counterpart is missing or not clear stays itself.

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
    """The keypoint types whose names look like one side of something, with a counterpart or not.

    >>> sided_types(["nose", "left_eye", "Rwrist"])
    (1, 2)
    """
    names = [_words(name) for name in keypoints]
    ways = _ways(names)

    def sided(reading: _Reading) -> bool:
        # An l or r that ends a word means little without its counterpart.
        return not reading.doubtful and not reading.spelling.startswith("end")

    readings = [[reading for way in ways for reading in way(words)] for words in names]
    return tuple(k for k, found in enumerate(readings) if any(map(sided, found)))


def _words(name: str) -> tuple[str, ...]:
    """The words of a name as written, with the sides of scripts without case apart."""
    return tuple(part for word in split_words(name) for part in _SYLLABLE.split(word) if part)


def _plain(word: str) -> str:
    """In lower case and without accents, which many leave out."""
    letters = unicodedata.normalize("NFD", word.casefold())
    return "".join(c for c in letters if unicodedata.category(c) != "Mn")


def _ways(names: Sequence[tuple[str, ...]]) -> list[_Way]:
    """The ways to read a name, surest first."""
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
    """Pairs (left, right) of types that have one counterpart and no second."""
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
    """The name with all its sides cut out; the first is that of the name.

    The counterpart of "left_eye_right_corner" is "right_eye_left_corner".
    """
    found = [find(words, k) for k in range(len(words))]
    first = next((mark[-1] for mark in found if mark), None)
    if first is not None:
        cut = (mark and (*mark[:-1], mark[-1] == first) for mark in found)
        yield _Reading(tuple(c or w.casefold() for c, w in zip(cut, words, strict=True)), first)


def _word(words: tuple[str, ...], k: int) -> tuple | None:
    """(language, side) of a word for a side."""
    word = _plain(words[k])
    if word in _WHOLE:
        return _WHOLE[word]
    if words[k] in _WHOLE:  # marks are no accents in every script
        return _WHOLE[words[k]]
    ends = range(max(1, len(word) - _ENDING), len(word) + 1)
    return next((_STEMS[word[:end]] for end in ends if word[:end] in _STEMS), None)


def _part(words: tuple[str, ...], k: int) -> tuple | None:
    """(before, language, after, side) of a word with one for a side in it."""
    word = _plain(words[k])
    part = _PART.search(word) or _PART.search(words[k])
    if not part:
        return None
    language, side = _PARTS[part[0]]
    return part.string[: part.start()], language, part.string[part.end() :], side


def _side_letters(names: Sequence[tuple[str, ...]]) -> set[tuple[tuple[str, ...], int]]:
    """(name, k) of those letters l and r on their own that can be sides.

    Not where they are two of an alphabet (point_a to point_z), nor where they count different
    things: ribs R1 to R12, but lumbar vertebrae L1 to L5.
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
    """A word, those around it, the same without a number that follows it, and that number."""
    words = tuple(word.casefold() for word in name)
    number = words[k + 1] if words[k + 1 : k + 2] and words[k + 1].isdigit() else ""
    after = words[k + 2 :] if number else words[k + 1 :]
    return words[k], (words[:k], words[k + 1 :]), (words[:k], bool(number), after), number


def _letters_at_ends(words: tuple[str, ...]) -> Iterator[_Reading]:
    """The name without an l or r that begins or ends a word, or is the second letter of one."""
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
                    not _stands_apart(spelling, before, after, shape),
                )


def _stands_apart(spelling: str, before: str, after: str, shape: str) -> bool:
    """Whether a letter between the two parts of a word can hardly be one of the word itself."""
    rest = before if spelling == "end" else after
    if len(rest) == 1 and (shape == "upper" or rest in _PLACES):
        return True
    if spelling == "end":
        return rest[-1] not in _VOWELS or rest.endswith(_END)
    return rest[0] not in _VOWELS or rest.startswith(_BEGIN)
