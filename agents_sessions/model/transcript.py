"""A conversation as text: for a summariser, and as a summary where no model is asked. Pure."""

from collections.abc import Sequence

from agents_sessions.model.calls import call_id_of
from agents_sessions.model.entries import Entry, Item, item_kind
from agents_sessions.model.history import text_of
from agents_sessions.model.lossless_json import encode_json
from agents_sessions.model.pairs import OUTPUTS
from agents_sessions.model.turn_list import spans

MAX_PART = 2000
"""How many characters of one item a transcript has. What is longer has its middle left out."""
MAX_SUMMARY = 4000
"""How many characters a composed summary has."""
_MAX_WORDS = 160
_LEFT_OUT = "(Turns in between are left out.)"


def transcript(entries: Sequence[Entry]) -> str:
    """Return what was said and done in some entries, a paragraph each."""
    said = [entry for entry in entries if "item" in entry]
    calls = [entry["item"] for entry in said if item_kind(entry["item"]) in OUTPUTS]
    names = {call_id_of(call): _name_of(call) for call in calls}
    return "\n\n".join(filter(None, (_paragraph(entry, names) for entry in said)))


def composed_summary(entries: Sequence[Entry], earlier: str = "") -> str:
    """Return what happened in some entries in a few lines, without a model: what was asked and answered in each turn.

    It goes on with an `earlier` one. If there is too much of it, the turns in the middle are left out, and it says so.
    """
    said = [line for line in earlier.split("\n") if line]
    lines = [line for line in said if line != _LEFT_OUT]
    lines += [line for span in spans(entries) if (line := _line_of(span.entries))]
    first, size = lines[:1], sum(len(line) + 1 for line in lines[:1])
    newest: list[str] = []
    for line in reversed(lines[1:]):
        size += len(line) + 1
        if size > MAX_SUMMARY:
            break
        newest.insert(0, line)
    is_cut = _LEFT_OUT in said or len(first) + len(newest) < len(lines)
    return "\n".join([*first, *([_LEFT_OUT] if is_cut else []), *newest])


def open_questions(entries: Sequence[Entry]) -> list[str]:
    """Return what users have asked since the last answer, in their first words."""
    asked: list[str] = []
    for entry in entries:
        kind = item_kind(entry["item"]) if "item" in entry else ""
        if kind == "assistant":
            asked = []
        elif kind == "user":
            asked.append(_shortened(text_of(entry["item"])))
    return list(filter(None, asked))


def _line_of(entries: Sequence[Entry]) -> str:
    items = [entry["item"] for entry in entries if "item" in entry]
    asked = [text for item in items if item_kind(item) == "user" and (text := _shortened(text_of(item)))]
    answers = [text for item in items if item_kind(item) == "assistant" and (text := _shortened(text_of(item)))]
    tools = sorted({name for item in items if str(item.get("type")) in OUTPUTS and (name := _name_of(item))})
    parts = [f"Asked: {' / '.join(asked)}" if asked else "", f"Tools: {', '.join(tools)}" if tools else ""]
    parts.append(f"Answered: {answers[-1]}" if answers else "")
    return "- " + " ".join(filter(None, parts)) if any(parts) else ""


def _paragraph(entry: Entry, names: dict[str, str]) -> str:
    item = entry["item"]
    kind = item_kind(item)
    if text := text_of(item):
        return f"{entry.get('agent', kind) if kind == 'assistant' else kind}: {_clipped(text)}"
    if kind in OUTPUTS:
        return f"{entry.get('agent', 'assistant')} calls {_name_of(item)} {_clipped(_arguments_of(item))}"
    if kind in OUTPUTS.values():
        return f"{names.get(call_id_of(item), 'the tool')} returns: {_clipped(_output_of(item))}"
    return ""


def _name_of(item: Item) -> str:
    name = item.get("name")
    return name if isinstance(name, str) else str(item.get("type", "")).removesuffix("_call")


def _arguments_of(item: Item) -> str:
    wanted = item.get("arguments", item.get("input", item.get("action", item.get("operation", ""))))
    return wanted if isinstance(wanted, str) else encode_json(wanted).decode()


def _output_of(item: Item) -> str:
    output = item.get("output", "")
    return output if isinstance(output, str) else encode_json(output).decode()


def _clipped(text: str) -> str:
    half = MAX_PART // 2
    return text if len(text) <= MAX_PART else f"{text[:half]} […] {text[-half:]}"


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 1] + "…"
