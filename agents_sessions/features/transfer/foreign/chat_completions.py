"""Lists of Chat Completions messages become Responses items. Pure.

A message of the assistant becomes its text and one `function_call` per tool call; a message of a tool becomes the
output of its call. What Responses items have no place for is counted, and nothing else is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from agents_sessions.errors import ImportRefusedError

if TYPE_CHECKING:
    from agents_sessions.model.entries import Item

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_TAKEN = frozenset({"role", "content", "tool_calls", "tool_call_id", "function_call", "refusal"})
_EMPTY: tuple[object, ...] = (None, [], "", {})


def is_chat(values: Sequence[Any]) -> bool:
    """Tell whether a list holds what only Chat Completions messages have."""
    return any(
        (
            isinstance(value, dict)
            and (value.get("role") in ("tool", "function") or value.get("tool_calls") or value.get("function_call"))
        )
        or any(isinstance(part, dict) and part.get("type") in _PARTS for part in _parts(value))
        for value in values
    )


def _parts(value: Any) -> list[Any]:
    content = value.get("content") if isinstance(value, dict) else None
    return content if isinstance(content, list) else []


class Conversion:
    """Turns messages into items. `dropped` says what had no place, and how often."""

    def __init__(self, source: str) -> None:
        self.dropped: Counter[str] = Counter()
        self._source = source
        self._unanswered: list[str] = []
        self._custom: set[str] = set()

    def items_of(self, messages: Sequence[Any]) -> list[Item]:
        """Return the items of some messages.

        Raises:
            ImportRefusedError: One is no message of Chat Completions.
        """
        return [item for number, message in enumerate(messages, 1) for item in self._items(message, number)]

    def _items(self, message: Any, number: int) -> list[Item]:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            known = ", ".join(sorted(ROLES))
            raise ImportRefusedError(self._source, f"message {number} must have one of these: {known}", field="role")
        for name in message.keys() - _TAKEN:
            if message[name] not in _EMPTY and not (name == "name" and message["role"] == "function"):
                self.dropped[f"`{name}` of a message"] += 1
        role = cast("str", message["role"])
        if role in ("tool", "function"):
            return [self._output(message, number)]
        said = self._message(role, message, number)
        return [*said, *self._calls(message, number)]

    def _message(self, role: str, message: dict[str, Any], number: int) -> list[Item]:
        content = message.get("content")
        if role == "assistant":
            return self._answer(message, content, number)
        if isinstance(content, str):
            return [{"role": role, "content": content}]
        if isinstance(content, list):
            return [{"role": role, "content": [part for one in content if (part := self._part(one, number))]}]
        raise ImportRefusedError(self._source, f"message {number} has neither a text nor parts", field="content")

    def _answer(self, message: dict[str, Any], content: object, number: int) -> list[Item]:
        texts = [content] if isinstance(content, str) and content else []
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and isinstance(text := part.get("text", part.get("refusal")), str):
                texts.append(text)
            else:
                self.dropped["part of an answer that is no text"] += 1
        if isinstance(message.get("refusal"), str):
            texts.append(message["refusal"])
        elif content not in _EMPTY and not isinstance(content, (str, list)):
            raise ImportRefusedError(self._source, f"message {number} has neither a text nor parts", field="content")
        return [{"role": "assistant", "content": "\n".join(texts)}] if texts else []

    def _part(self, part: Any, number: int) -> Item | None:
        """Return a part of a message as the Responses API takes it; None for one that it does not know."""
        if isinstance(part, str):
            return {"type": "input_text", "text": part}
        if not isinstance(part, dict):
            raise ImportRefusedError(self._source, f"message {number} has a part that is no object", field="content")
        convert = _PARTS.get(str(part.get("type")))
        found = None if convert is None else convert(part)
        if found is None:
            self.dropped[f"part of type {str(part.get('type'))[:40]!r}"] += 1
        return found

    def _calls(self, message: dict[str, Any], number: int) -> list[Item]:
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise ImportRefusedError(self._source, f"message {number} has no list of calls", field="tool_calls")
        found = [self._call(call, number) for call in calls]
        if legacy := message.get("function_call"):
            found.append(self._call({"id": f"call_{number}", "function": legacy}, number))
            self._unanswered.append(f"call_{number}")
        return found

    def _call(self, call: Any, number: int) -> Item:
        call = call if isinstance(call, dict) else {}
        function, custom = call.get("function"), call.get("custom")
        call_id = call.get("id")
        if isinstance(call_id, str) and isinstance(custom, dict) and isinstance(custom.get("name"), str):
            text = str(custom.get("input", ""))
            self._custom.add(call_id)
            return {"type": "custom_tool_call", "call_id": call_id, "name": custom["name"], "input": text}
        if not isinstance(call_id, str) or not isinstance(function, dict) or not isinstance(function.get("name"), str):
            reason = f"message {number} has a call without an id or a name"
            raise ImportRefusedError(self._source, reason, field="tool_calls")
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else "{}"
        return {"type": "function_call", "call_id": call_id, "name": function["name"], "arguments": text}

    def _output(self, message: dict[str, Any], number: int) -> Item:
        call_id = message.get("tool_call_id")
        if message["role"] == "function" and self._unanswered:  # of before there were ids: the call in front of it
            call_id = self._unanswered.pop()
        if not isinstance(call_id, str):
            raise ImportRefusedError(self._source, f"message {number} answers no call", field="tool_call_id")
        content = message.get("content")
        parts = [part.get("text", "") for part in _parts(message) if isinstance(part, dict)]
        output = content if isinstance(content, str) else "".join(map(str, parts))
        kind = "custom_tool_call_output" if call_id in self._custom else "function_call_output"
        return {"type": kind, "call_id": call_id, "output": output}


def _text(part: dict[str, Any]) -> Item | None:
    text = part.get("text")
    return {"type": "input_text", "text": text} if isinstance(text, str) else None


def _image(part: dict[str, Any]) -> Item | None:
    given = part.get("image_url")
    given = {"url": given} if isinstance(given, str) else given
    if not isinstance(given, dict) or not isinstance(given.get("url"), str):
        return None
    return {"type": "input_image", "image_url": given["url"], "detail": given.get("detail") or "auto"}


def _audio(part: dict[str, Any]) -> Item | None:
    given = part.get("input_audio")
    return {"type": "input_audio", "input_audio": given} if isinstance(given, dict) else None


def _file(part: dict[str, Any]) -> Item | None:
    given = part.get("file")
    return {"type": "input_file", **given} if isinstance(given, dict) else None


_PARTS = {"text": _text, "image_url": _image, "input_audio": _audio, "file": _file}
"""The parts of a message. `refusal` is one of an answer."""
