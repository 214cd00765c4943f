"""A session as YAML, for people and for tools that read it. Pure.

It holds what the lossless document holds. libyaml writes it where it can; it refuses half characters, and PyYAML's own
writer, which takes them when all is ASCII, loses U+0085 when it is not. So each entry that libyaml refuses goes through
the other one, as ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import MissingExtraError
from agents_sessions.features.transfer.document import header_of

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo

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
        self._fast = getattr(yaml, "CSafeDumper", None)
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

    def end(self) -> bytes:  # noqa: D102
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
        found: bytes = self._yaml.dump(
            value,
            Dumper=dumper,
            allow_unicode=allow_unicode,
            sort_keys=False,
            encoding="utf-8",
            width=_WIDTH,
            default_flow_style=False,
        )
        return found
