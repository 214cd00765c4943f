"""Hide secrets, or every text, in what goes out. Pure.

`SecretMask` replaces what looks like a secret by a word for its kind, such as `[api key]`, wherever a text stands:
in messages, titles, arguments, outputs, metadata, paths, keys. It finds what has a known form; a password in a plain
sentence has none. `TextMask` replaces every text by filler of about its length, and leaves what a bug report needs:
types, ids of calls, names of agents and tools, times, numbers of tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from agents_sessions.model.lossless_json import decode_json, encode_json

if TYPE_CHECKING:
    from agents_sessions.features.transfer.values import ExportOptions
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo


class Masking(Protocol):
    """Hides something in a session, and counts what it has hidden."""

    found: Counter[str]

    def facts(self, info: SessionInfo) -> SessionInfo:
        """Return the facts of a session as they may be seen."""

    def entry(self, entry: Entry) -> Entry:
        """Return an entry as it may be seen."""

    def sidecar(self, data: bytes) -> bytes | None:
        """Return a sidecar as it may be seen, or None if that cannot be told."""


def masking_of(options: ExportOptions) -> Masking | None:
    """Return what hides, as the options ask for it."""
    if options.mask is None:
        return None
    return SecretMask(emails=options.mask_emails) if options.mask == "secrets" else TextMask()


# --- secrets ---------------------------------------------------------------------------------------------------

# Every pattern is one run over the text: bounded where a repetition stands beside another, so that no text is slow.
_SECRETS = {
    "private key": r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:(?!-----BEGIN)[\s\S]){0,20000}?"
    r"(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)",
    "bearer token": r"(?i:\bbearer|\bbasic)[ \t]{1,4}[A-Za-z0-9+/_.~-]{8,4096}={0,2}",
    "token": r"\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,8192}\.[A-Za-z0-9_-]{4,4096}",
    "api key": r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_-]{16,256}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,128}"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{40,255}|glpat-[A-Za-z0-9_-]{20,64}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,1024}"
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}"
    r"|SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{40,46}|gsk_[A-Za-z0-9]{40,64}|whsec_[A-Za-z0-9+/=]{24,64})"
    r"(?![A-Za-z0-9])",
    "password in a url": r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@\"'<>]{0,256}:(?P<urlsecret>[^\s/@\"'<>]{1,256})@",
    "password": r"(?i:(?<![a-z])(?:pass(?:word|wd|phrase)|secret|api[_-]?key"
    r"|(?:access|auth|refresh|session|id)[_-]?token|client[_-]?secret|private[_-]?key|credentials?))(?:\\?[\"'])?\s{0,3}[:=]\s{0,3}"
    r"(?:\\[\"'](?P<inner>(?:[^\"'\\\r\n]|\\[^\"'\r\n]){1,8192})|\"(?P<quoted>(?:[^\"\\\r\n]|\\.){1,8192})"
    r"|'(?P<single>(?:[^'\\\r\n]|\\.){1,8192})|(?P<bare>[^\s\"',;&}{\[\]()\\]{3,512}))",
    "card number": r"(?<![\d.-])(?:\d[ -]?){12,18}\d(?![\d.-]?\d)",
}
_EMAIL = r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"
_PARTS = {"password in a url": ("urlsecret",), "password": ("inner", "quoted", "single", "bare")}
"""The groups that hold the secret itself, where what stands around it says what it is and may stay."""

_SECRET_KEY = re.compile(
    r"(?i)^(?:.*[_-])?(?:pass(?:word|wd|phrase)?|secret|api[_-]?key|access[_-]?key|token|authorization|cookie|"
    r"credentials?|private[_-]?key)$|^(?:access|auth|api)(?:token|key)$"
)
"""Keys of JSON objects whose text is a secret, whatever it looks like."""

_PLACEHOLDER = re.compile(r"^\[[a-z -]{1,30}\]$")


class SecretMask:
    """Hides what looks like a secret."""

    def __init__(self, *, emails: bool = False) -> None:
        self.found: Counter[str] = Counter()
        kinds = {**_SECRETS, "e-mail address": _EMAIL} if emails else _SECRETS
        self._names = {f"k{number}": kind for number, kind in enumerate(kinds)}
        self._patterns = re.compile("|".join(f"(?P<k{number}>{text})" for number, text in enumerate(kinds.values())))

    def facts(self, info: SessionInfo) -> SessionInfo:
        """Return the facts of a session without secrets. Its id and its agent's stay: they name it."""
        return _with_facts(info, self._value)

    def entry(self, entry: Entry) -> Entry:
        """Return an entry without secrets."""
        return cast("Entry", {name: self._value(value, name) for name, value in entry.items()})

    def sidecar(self, data: bytes) -> bytes | None:
        """Return a sidecar without secrets; None if it is no text."""
        try:
            return encode_json(self._value(decode_json(data), ""))
        except ValueError:
            pass
        try:
            return self.text(data.decode()).encode()
        except UnicodeDecodeError:
            return None

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        return self._patterns.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        kind = self._kind(match)
        if kind == "card number" and not _is_card_number(match[0]):
            return match[0]
        whole, begin = match[0], match.start()
        spans = [match.span(part) for part in _PARTS.get(kind, ()) if match[part] is not None] or [match.span()]
        for start, end in spans:
            if _PLACEHOLDER.match(whole[start - begin : end - begin]):
                return whole
            self.found[kind] += 1
            return f"{whole[: start - begin]}[{kind.removesuffix(' in a url')}]{whole[end - begin :]}"
        return whole

    def _kind(self, match: re.Match[str]) -> str:
        return next(kind for group, kind in self._names.items() if match[group] is not None)

    def _value(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return self._named_text(value, name)
        if isinstance(value, dict):
            return {self.text(key): self._value(inner, key) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._value(inner, name) for inner in value)
        if isinstance(value, int) and not isinstance(value, bool) and _is_card_number(str(value)):
            self.found["card number"] += 1
            return "[card number]"
        return value

    def _named_text(self, text: str, name: str) -> str:
        if text and _SECRET_KEY.match(name) and not _PLACEHOLDER.match(text):
            self.found["password"] += 1
            return "[password]"
        return self.text(text)


def _is_card_number(text: str) -> bool:
    digits = [int(character) for character in text if character.isdecimal()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


# --- every text ------------------------------------------------------------------------------------------------

_OF_ITEMS = frozenset({
    "type", "role", "status", "id", "call_id", "name", "item_id", "approval_request_id", "model", "phase", "detail",
    "namespace", "server_label", "approved", "rejected", "asked",
})  # fmt: skip
_OF_RECORDS = _OF_ITEMS | {
    "from", "to", "tool", "agent", "last_agent", "last_status", "error", "response_id", "turn", "why", "start",
    "strategy", "source", "target",
}  # fmt: skip
"""Keys whose texts are structure, and stay."""

_KEPT_FACTS = frozenset({"id", "agent_id", "status", "session_type", "mode", "parent_id"})

_FILLER = "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore "


class TextMask:
    """Hides every text, and every number that is not structure."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def facts(self, info: SessionInfo) -> SessionInfo:
        """Return the facts of a session with its ids, status and numbers alone."""
        return _with_facts(info, lambda value, name: self._data(value) if name not in _KEPT_FACTS else value)

    def entry(self, entry: Entry) -> Entry:
        """Return an entry without its texts."""
        if "item" in entry:
            return cast("Entry", {**entry, "item": self._structure(entry["item"], _OF_ITEMS)})
        return cast("Entry", {**entry, "record": self._structure(entry["record"], _OF_RECORDS)})

    def sidecar(self, data: bytes) -> bytes | None:
        """Return a sidecar without its texts; None if it is no JSON."""
        try:
            return encode_json(self._data(decode_json(data)))
        except ValueError:
            return None

    def _structure(self, value: Any, kept: frozenset[str], name: str = "") -> Any:
        """Return a part of an item or a record: its own keys say what stays."""
        if name == "data":  # of the application, at a checkpoint
            return self._data(value)
        if isinstance(value, dict):
            return {key: self._structure(inner, kept, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._structure(inner, kept, name) for inner in value]
        if name in kept or not isinstance(value, str):
            return value
        return self._arguments(value) if name == "arguments" else self._filler(value)

    def _arguments(self, text: str) -> str:
        """Return arguments of the same shape, which are JSON in a text."""
        try:
            return encode_json(self._data(decode_json(text.encode("utf-8", "surrogatepass")))).decode()
        except ValueError:
            return self._filler(text)

    def _data(self, value: Any) -> Any:
        """Return JSON data of the application: its keys stay, and nothing else."""
        if isinstance(value, dict):
            return {key: self._data(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._data(inner) for inner in value)
        if isinstance(value, str):
            return self._filler(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return type(value)(0)
        return value

    def _filler(self, text: str) -> str:
        if not text:
            return text
        self.found["text"] += 1
        length = 1 << (len(text).bit_length() - 1)  # the power of two below: a class of lengths, and not the length
        return (_FILLER * (length // len(_FILLER) + 1))[:length]


def _with_facts(info: SessionInfo, masked: Callable[[Any, str], Any]) -> SessionInfo:
    """Return a session with other texts in its facts. What is no text or JSON data stays."""
    facts = {name: value for name, value in info if name not in ("id", "agent_id", "seq", "context")}
    changed = {
        name: masked(value, name) for name, value in facts.items() if isinstance(value, (str, dict, list, tuple))
    }
    return info.model_copy(update=changed)
