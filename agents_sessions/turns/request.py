"""What a caller wants of a session: send a prompt, resume a turn that awaits approval, or retry a failed one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.entries import Item, check_entries, item_entry

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

    from agents_sessions.turns.options import TurnSettings

Content: TypeAlias = "str | list[TResponseInputItem]"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The message of a turn."""

    content: Content
    """As the Runner gets it."""
    items: list[Item]
    """As it is stored."""

    @classmethod
    def of(cls, content: Content) -> Prompt:
        """Return what a caller has given as a prompt.

        Raises:
            InvalidValueError: It is neither a text nor a list, or is empty.
            InvalidItemError: An item cannot be stored as JSON without loss.
        """
        if not isinstance(content, str | list):
            raise InvalidValueError({"content": f"must be a text or a list of items, not a {type(content).__name__!r}"})
        message = [{"role": "user", "content": content}] if isinstance(content, str) else content
        if not message or any(map(_is_empty, message)):
            raise InvalidValueError({"content": "must not be empty"})
        items = cast("list[Item]", message)
        check_entries([item_entry(item) for item in items])
        return cls(content, items)

    @classmethod
    def of_stored(cls, items: list[Item]) -> Prompt:
        """Return what was stored as a prompt before."""
        return cls(cast("list[TResponseInputItem]", items), items)

    def behind(self, items: list[Item]) -> Prompt:
        """Return this prompt behind one that was sent before it."""
        return Prompt.of_stored([*items, *self.items]) if items else self


def _is_empty(item: object) -> bool:
    content = item.get("content") if isinstance(item, Mapping) and "role" in item else None
    return isinstance(content, str) and not content.strip()


@dataclass(frozen=True, slots=True)
class Decisions:
    """What someone decides about the calls of a turn that awaits approval."""

    approve: Iterable[str] | bool = ()
    """Call ids; True for all that are not rejected."""
    reject: Mapping[str, str | None] | Iterable[str] | bool = ()
    """Call ids, perhaps with reasons for the model; True for all others."""

    @property
    def are_about_all(self) -> bool:
        """True if calls are decided that are not named."""
        return self.approve is True or self.reject is True

    @property
    def approved(self) -> Iterable[str]:
        """The calls that are approved by name."""
        return _ids(self.approve)

    @property
    def rejected(self) -> Mapping[str, str | None]:
        """The calls that are rejected by name, with the reasons."""
        return self.reject if isinstance(self.reject, Mapping) else dict.fromkeys(_ids(self.reject))


def _ids(named: Iterable[str] | bool) -> Iterable[str]:
    """Return the ids that are named: a text is one id, not its letters."""
    if isinstance(named, bool):
        return ()
    return (named,) if isinstance(named, str) else named


REJECT_ALL = Decisions(reject=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What every request says."""

    session_id: str
    settings: TurnSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Send(Request):
    """Run a turn with a new message."""

    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Again(Request):
    """Take the last turn back and run one in its place, with another message or with the same."""

    prompt: Prompt | None = None
    """The message; None for that of the turn that is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(Request):
    """Go on with the turn that awaits approval."""

    decisions: Decisions
    seen: tuple[str, ...] | None = None
    """The calls that waited when the caller decided about all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Request):
    """Run the last turn again if it has failed, was cancelled or was interrupted.

    What the turn has stored, its message and the outputs of its tools, is not stored again: the model sees it as
    history.
    """
