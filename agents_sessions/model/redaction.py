"""Take text out of what is stored, for good. Pure.

A text may stand in other texts in another form: the arguments of a call are JSON in a string, and a saved run state has
such strings in strings. So every form is looked for, up to two levels of JSON.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from agents_sessions.model.entries import Entry
from agents_sessions.model.lossless_json import Json, decode_json, encode_json

STRUCTURE = frozenset(
    {"type", "role", "id", "call_id", "approval_request_id", "status", "turn", "seq", "at", "why", "strategy", "asked"}
)
"""Names whose values hold the history together. They are never changed."""

LONG = 20
"""From so many characters on, a text of a redacted item is also looked for inside longer texts."""

_LEVELS = 2
_MEDIA = ("input_image", "input_file", "input_audio")


class FoundText(NamedTuple):
    """Where text was found."""

    kind: str
    """`history`, `facts`, `sidecar`, `set aside`, `torn copy`, or what a place of another package calls itself."""
    name: str
    """The entry, the fact, or the file."""
    times: int
    """How often it was found there."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is to be taken out, and what stands in its place."""

    replacement: str
    inside: tuple[str, ...] = ()
    """Texts that go wherever they stand."""
    whole: frozenset[str] = frozenset()
    """Texts that go where they stand alone."""
    numbers: frozenset[int] = frozenset()
    """The entries that go, but for what holds the history together."""

    @classmethod
    def of_text(cls, text: str, replacement: str) -> "Redaction":
        """Return the redaction of one text."""
        return cls(replacement, inside=(text,))

    @classmethod
    def of_entries(cls, entries: Sequence[Entry], replacement: str) -> "Redaction":
        """Return the redaction of whole entries, and of what they say wherever else it stands."""
        texts = frozenset(text for entry in entries for text in _texts_of(_body(entry)) if text.strip())
        return cls(
            replacement,
            inside=tuple(sorted((text for text in texts if len(text) >= LONG), key=len, reverse=True)),
            whole=texts,
            numbers=frozenset(entry["seq"] for entry in entries),
        )

    def entry(self, entry: Entry) -> tuple[Entry, int]:
        """Return an entry without the text, and how often it stood there."""
        name = "item" if "item" in entry else "record"
        body = _body(entry)
        after, count = self._emptied(body) if entry["seq"] in self.numbers else self.value(body)
        if entry["seq"] in self.numbers and after == body:
            count = 0  # it was emptied before
        return (cast("Entry", {**entry, name: after}) if count else entry), count

    def value(self, value: Json) -> tuple[Any, int]:
        """Return JSON data without the text, and how often it stood there."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            found = [self.value(each) for each in value]
            return [each for each, _ in found], sum(count for _, count in found)
        if isinstance(value, dict):
            return self._object(value)
        return value, 0

    def data(self, data: bytes) -> tuple[bytes, int]:
        """Return a document without the text, and how often it stood there: JSON, or whatever else it is."""
        try:
            after, count = self.value(decode_json(data))
        except ValueError:
            return self.raw(data)
        return (encode_json(after) if count else data), count

    def raw(self, data: bytes) -> tuple[bytes, int]:
        """Return bytes that are no JSON, such as those of a damaged file, without the text."""
        total = 0
        for text in sorted({*self.inside, *self.whole}, key=len, reverse=True):
            for form, instead in _forms(text, self.replacement):
                needle = form.encode("utf-8", "surrogatepass")
                if text not in self.inside:  # it stands alone: between quotation marks
                    needle, instead = b'"%s"' % needle, f'"{instead}"'
                total += data.count(needle)
                data = data.replace(needle, instead.encode("utf-8", "surrogatepass"))
        return data, total

    def _object(self, value: dict[str, Json]) -> tuple[dict[str, Any], int]:
        after: dict[str, Any] = {}
        total = 0
        for name, each in value.items():
            name_after, in_name = (name, 0) if name in STRUCTURE else self._text(name)
            each_after, inside = (each, 0) if name in STRUCTURE and isinstance(each, str) else self.value(each)
            after[name_after] = each_after
            total += in_name + inside
        return after, total

    def _text(self, text: str) -> tuple[str, int]:
        if text in self.whole:
            return self.replacement, 1
        total = 0
        for wanted in self.inside:
            for form, instead in _forms(wanted, self.replacement):
                if count := text.count(form):
                    text = text.replace(form, instead)
                    total += count
        return text, total

    def _emptied(self, value: Any, name: str = "") -> tuple[Any, int]:
        """Return a part of an entry of which nothing is left but what holds the history together."""
        if isinstance(value, str):
            if name in STRUCTURE or name == "name" or value == self.replacement:
                return value, 0
            # The arguments of a call must be JSON for whoever reads them.
            return (json.dumps({"removed": self.replacement}) if name == "arguments" else self.replacement), 1
        if isinstance(value, list):
            found = [self._emptied(each, name) for each in value]
            return [each for each, _ in found], sum(count for _, count in found)
        if isinstance(value, dict):
            return self._emptied_object(value)
        return value, 0

    def _emptied_object(self, value: dict[str, Any]) -> tuple[dict[str, Any], int]:
        if value.get("type") in _MEDIA:  # a service would refuse the replacement in the place of a picture
            return {"type": "input_text", "text": self.replacement}, 1
        found = {name: self._emptied(each, name) for name, each in value.items() if name != "encrypted_content"}
        dropped = "encrypted_content" in value
        return {name: each for name, (each, _) in found.items()}, dropped + sum(count for _, count in found.values())


def _body(entry: Entry) -> Any:
    return entry["item"] if "item" in entry else entry["record"]


def _texts_of(value: Any, name: str = "") -> Iterable[str]:
    if isinstance(value, str):
        if name not in STRUCTURE and name != "name":
            yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _texts_of(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_of(each, name)


def _forms(text: str, replacement: str) -> list[tuple[str, str]]:
    """Return a text in all forms in which it can stand in a string, each with the replacement in the same form."""
    forms = {text: replacement}
    level = [(text, replacement)]
    for _ in range(_LEVELS):
        level = [
            (json.dumps(form, ensure_ascii=ascii_only)[1:-1], json.dumps(instead, ensure_ascii=ascii_only)[1:-1])
            for form, instead in level
            for ascii_only in (True, False)
        ]
        forms.update({form: instead for form, instead in level if form not in forms})
    return sorted(forms.items(), key=lambda pair: len(pair[0]), reverse=True)
