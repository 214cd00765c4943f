"""A session as YAML, for people and for tools that read it. Pure.

It holds what the lossless document holds. libyaml writes it where it can; it refuses half characters, and PyYAML's own
writer, which takes them when all is ASCII, loses U+0085 when it is not. So each entry that libyaml refuses goes through
the other one, as ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import MissingExtraError
from agents_sessions.features.transfer.document import header_of

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo

_STR, _MAP, _SEQ = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_NO_BLOCK = re.compile(r"^[ \n\t]|[^\t\n\x20-\x7e\xa0-\u1fff\u2030-\ud7ff]|[ \t](?:\n|$)")
_WIDTH = 1 << 16  # a text is folded nowhere: a reader of YAML would unfold it, and a reader of `diff` would not


class YamlWriter:
    """Writes a session as YAML.

    Raises:
        MissingExtraError: PyYAML is not installed.
    """

    def __init__(self) -> None:
        try:
            import yaml
        except ImportError:
            raise MissingExtraError("export to YAML", "yaml") from None
        self._yaml = yaml
        self._fast = _quick(yaml) if hasattr(yaml, "CSafeDumper") else None
        self._represented = yaml.representer.SafeRepresenter()
        self._is_empty = True

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:  # noqa: D102
        return self._dump(header_of(info, sidecars, left_out)) + b"history:"

    def page(self, entries: list[Entry]) -> bytes:  # noqa: D102
        opens = b"\n" if self._is_empty else b""
        self._is_empty = False
        try:
            return opens + self._quickly(entries)
        except (UnicodeEncodeError, AttributeError):
            return opens + b"".join(self._dump([entry]) for entry in entries)

    def end(self, money: str = "") -> bytes:  # noqa: D102
        return b" []\n" if self._is_empty else b""

    def _quickly(self, value: object) -> bytes:
        if self._fast is None:
            raise AttributeError("libyaml")
        return self._encoded(value, self._fast, allow_unicode=True)

    def _dump(self, value: object) -> bytes:
        try:
            return self._quickly(value)
        except (UnicodeEncodeError, AttributeError):
            return self._encoded(value, self._yaml.SafeDumper, allow_unicode=False)

    def _encoded(self, value: object, dumper: Any, *, allow_unicode: bool) -> bytes:
        # PyYAML's own way from values to nodes looks for shared ones and for types that JSON does not have.
        found: bytes = self._yaml.serialize(
            self._node(value), Dumper=dumper, allow_unicode=allow_unicode, encoding="utf-8", width=_WIDTH
        )
        return found

    def _node(self, value: Any) -> Any:
        nodes, kind = self._yaml.nodes, type(value)
        if kind is str:
            return nodes.ScalarNode(_STR, value, style="|" if _reads_as_block(value) else None)
        if kind is dict:
            pairs = [(nodes.ScalarNode(_STR, key), self._node(inner)) for key, inner in value.items()]
            return nodes.MappingNode(_MAP, pairs, flow_style=not pairs)
        if isinstance(value, (list, tuple)):
            return nodes.SequenceNode(_SEQ, [self._node(inner) for inner in value], flow_style=not value)
        return self._represented.represent_data(value)


def _quick(yaml: Any) -> Any:
    """Return libyaml's dumper with a shorter way to what a plain scalar is read as, which it asks twice of each."""

    class QuickDumper(yaml.CSafeDumper):  # type: ignore[misc]
        def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
            if kind is not yaml.nodes.ScalarNode:
                return _SEQ if kind is yaml.nodes.SequenceNode else _MAP
            if implicit[0]:
                for tag, pattern in self.yaml_implicit_resolvers.get(value[:1], ()):
                    if pattern.match(value):
                        return str(tag)
            return _STR

        def descend_resolver(self, *_: object) -> None:
            pass

        ascend_resolver = descend_resolver

    return QuickDumper


def _reads_as_block(text: str) -> bool:
    """Tell whether a text of several lines comes back as it is from a block of lines, which is pleasant to read."""
    return "\n" in text and _NO_BLOCK.search(text) is None
