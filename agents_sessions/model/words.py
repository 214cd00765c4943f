"""How a text is cut into words, and what a search finds in it: the same for all stores, indexed or not. Pure.

A word is a run of letters and digits, folded so that neither case nor accents matter. Chinese, Japanese and Korean, and
the scripts of South East Asia, put no blanks between words: there each character is a word of its own, and what was
typed in one piece is looked for as a phrase. So one character finds as well as ten do, and no dictionary can miss a
name.

An index takes `indexable(text)`, the same words with blanks between them. Its own tokenizer has nothing to decide but
to split at whatever is ASCII and neither letter nor digit.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

RULES = f"1/{unicodedata.unidata_version}"
"""Changes whenever the same text might give other words. An index of other rules is of no use."""

SNIPPET = 160
"""How many characters of a text are shown around the first place that was found, about."""

_BEFORE = 40
RANKED = 2000
"""So many characters of a text say how good it is."""

_USUAL = 300


class Word(NamedTuple):
    """One word of a text, folded, and where it stands."""

    text: str
    start: int
    end: int


class Mark(NamedTuple):
    """A stretch of a text that was found, from `start` up to but not including `end`."""

    start: int
    end: int


class Phrase(NamedTuple):
    """Words that must stand in a text one behind the other."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """Whether the last word may go on: someone is still typing it."""


class Snippet(NamedTuple):
    """A part of a text around what was found, on one line, with the places in it."""

    text: str
    marks: tuple[Mark, ...]


# --- characters ----------------------------------------------------------------------------------------------------


def _marks() -> str:
    """Return the combining marks, which belong to the letter before them, as ranges for a character class."""
    within = [(0x300, 0x1E00), (0x20D0, 0x2100), (0x302A, 0x3030), (0x3099, 0x309B), (0xA660, 0xAC00), (0xFB1E, 0xFE30)]
    ranges = ""
    for first, end in within:
        is_mark = [unicodedata.category(chr(point))[0] == "M" for point in range(first, end)]
        edges = [place for place, (one, two) in enumerate(pairwise([False, *is_mark, False])) if one != two]
        for begin, stop in zip(edges[::2], edges[1::2], strict=True):
            ranges += f"{chr(first + begin)}-{chr(first + stop - 1)}"
    return ranges + "\uff9e\uff9f"  # those of half-width kana, which are letters to Unicode


_ALONE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"  # Hangul
    "\u2e80-\u2fdf\u3005\u3007\u3040-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"  # Han, kana and bopomofo
)
"""The characters that are words of their own."""


class _Patterns(NamedTuple):
    """What only a text needs that is not ASCII. It takes 40 milliseconds to compile."""

    run: re.Pattern[str]
    has_alone: re.Pattern[str]
    piece: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    marks = _marks()
    syllable = "[\u1100-\u115f][\u1160-\u11a7]*[\u11a8-\u11ff]*"  # of Hangul in its parts, as some systems write it
    return _Patterns(
        re.compile(rf"[^\W_](?:[^\W_]|[{marks}])*"),
        re.compile(f"[{_ALONE}]"),
        re.compile(rf"{syllable}|[{_ALONE}][{marks}]*|[^{_ALONE}]+"),
    )


_ASCII_WORD = re.compile("[0-9A-Za-z]+")
_SPLIT = re.compile(r"[\x00-/:-@\[-`{-\x7f]+")
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670]")
_LETTERS = str.maketrans(
    {"ø": "o", "Ø": "o", "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "\u0131": "i", "æ": "ae", "Æ": "ae"}
)
"""Letters with something in them that Unicode does not take apart."""


def folded(text: str) -> str:
    """Return a text without case, accents and variants of form: `Ångström` and `ANGSTROM` are one."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.translate(_LETTERS)).casefold()
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", apart)))


def words(text: str) -> Iterator[Word]:
    """Yield the words of a text, in order."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield Word(found[0].lower(), found.start(), found.end())
        return
    for start, piece in _pieces(text):
        for part in _SPLIT.split(folded(piece)):  # one character can stand for several, such as ⑴ for (1)
            if part:
                yield Word(part, start, start + len(piece))


def indexable(text: str) -> str:
    """Return the words of a text for an index that splits where ASCII has no letter or digit."""
    if text.isascii():
        return text.lower()
    return folded(" ".join(piece for _, piece in _pieces(text)))


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    patterns = _patterns()
    is_mixed = patterns.has_alone.search(text) is not None
    for run in patterns.run.finditer(text):
        if is_mixed:
            for piece in patterns.piece.finditer(run[0]):
                yield run.start() + piece.start(), piece[0]
        else:
            yield run.start(), run[0]


# --- what is looked for --------------------------------------------------------------------------------------------

_TYPED = re.compile(r'"([^"]*)"|(\S+)')


def phrases_of(typed: str) -> tuple[Phrase, ...]:
    """Return what someone looks for who typed this: every phrase must be found, in any order.

    Blanks separate; what stands between quotes, or in one piece, is a phrase. The last piece may be the beginning of a
    word. Nothing else means anything: `NOT`, `*` or a quote that nothing closes are taken as they stand.
    """
    found: list[Phrase] = []
    end = len(typed.rstrip())
    for part in _TYPED.finditer(typed):
        is_quoted = part[1] is not None
        texts = tuple(word.text for word in words(part[1] if is_quoted else part[2]))
        if texts:
            found.append(Phrase(texts, is_prefix=not is_quoted and part.end() == end))
    return tuple(dict.fromkeys(found))


def places(text: str, phrases: Sequence[Phrase]) -> list[Mark] | None:
    """Return where phrases stand in a text, in order and apart from each other; None if one of them does not."""
    cut = list(words(text))
    texts = [word.text for word in cut]
    found: list[Mark] = []
    for phrase in phrases:
        begins = list(_begins(texts, phrase))
        if not begins:
            return None
        found += [Mark(cut[at].start, cut[at + len(phrase.words) - 1].end) for at in begins]
    return list(_merged(sorted(found))) if found else None


def _begins(texts: Sequence[str], phrase: Phrase) -> Iterator[int]:
    *first, last = phrase.words
    for at in range(len(texts) - len(first)):
        word = texts[at + len(first)]
        fits = word.startswith(last) if phrase.is_prefix else word == last
        if fits and texts[at : at + len(first)] == first:
            yield at


def _merged(marks: Iterable[Mark]) -> Iterator[Mark]:
    last: Mark | None = None
    for mark in marks:
        if last is None or mark.start > last.end:
            if last is not None:
                yield last
            last = mark
        else:
            last = Mark(last.start, max(last.end, mark.end))
    if last is not None:
        yield last


def relevance(text: str, phrases: Sequence[Phrase]) -> int:
    """Return how much a text is about what was found in it, from 0 to 1000 for each phrase.

    More is more, but each time less, and a short text counts more than a long one. It depends on the text alone and on
    no other, so that a hit keeps its place while sessions change: a cursor needs that. To be cheap, it counts letters,
    and looks at the first `RANKED` characters.
    """
    head = text[:RANKED].lower()
    length = 0.25 + 0.75 * len(head) / _USUAL
    score = 0.0
    for phrase in phrases:
        count = head.count(phrase.words[0]) or 1
        score += count / (count + length)
    return round(1000 * score)


def snippet(text: str, marks: Sequence[Mark]) -> Snippet:
    """Return the part of a text around the first mark, on one line; `…` stands where it was cut."""
    first = marks[0].start
    start = 0 if first <= _BEFORE else _after_blank(text, first - _BEFORE, first)
    end = min(len(text), max(start + SNIPPET, min(marks[0].end, start + 2 * SNIPPET)))
    opens, closes = "…" * (start > 0), "…" * (end < len(text))
    shown = opens + "".join(" " if char.isspace() else char for char in text[start:end]) + closes
    shift = len(opens) - start
    inside = (Mark(mark.start + shift, min(mark.end, end) + shift) for mark in marks if mark.start < end)
    return Snippet(shown, tuple(inside))


def _after_blank(text: str, first: int, end: int) -> int:
    """Return where a word begins between two places, or the first of them."""
    return next((place + 1 for place in range(first, end - 1) if text[place].isspace()), first)
