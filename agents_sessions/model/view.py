"""What of a history is still seen. Pure.

Nothing is taken out of a history to undo a turn or to shorten what the model reads. A `view` record is added, and it
states the whole view: the ranges of numbers that were taken back, and up to which number a summary stands for the
originals. **The newest view record holds**; what the older ones said is how things stood then. So the view is a fold of
one step, undoing it is one more record, and a fork that ends before a record has the view of that time.

Two readers see different things:

* The *model* sees what is `shown`: the summary, if there is one, and then every item behind it that was not taken back.
* A *person* sees what was `kept`: all that was not taken back. A summary hides nothing from people.

A view record stands behind all that it hides. So the end of a history, however short, says all about itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agents_sessions.model.entries import Entry, ViewReason, ViewRecord
from agents_sessions.model.lossless_json import JsonObject

ABOUT_THE_HISTORY = frozenset({"view", "checkpoint", "merge", "redaction"})
"""Records that speak of the history and are no part of what was said in it: nothing takes them back."""


@dataclass(frozen=True, slots=True)
class View:
    """What of a history is seen."""

    hidden: tuple[tuple[int, int], ...] = ()
    """What was taken back: first and last number of each range, in order, apart from each other."""
    compacted: int = 0
    """The model does not see the items up to this number, but a summary of them."""
    summary: int = 0
    """The number of the record that holds the summary; 0 if that was taken away, and the model sees nothing instead."""

    @classmethod
    def of(cls, record: ViewRecord, seq: int) -> "View":
        """Return what a record with this number says.

        Raises:
            KeyError, TypeError, ValueError: It is not a whole view record.
        """
        summary = seq if "summary" in record else record.get("summary_at", 0)
        hidden = tuple((first, last) for first, last in record["hidden"])
        view = cls(hidden, record.get("compacted", 0), summary)
        numbers = [number for each in view.hidden for number in each]
        if any(type(number) is not int for number in (*numbers, view.compacted, view.summary)):
            raise TypeError("a view has a number that is none")
        return view

    @classmethod
    def from_json(cls, data: Any) -> "View":
        """Return a view that `to_json` made.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        return cls.of(cast("ViewRecord", data), 0)

    def to_json(self) -> JsonObject:
        """Return the view as JSON data, as a view record has it too."""
        data: JsonObject = {"hidden": [list(each) for each in self.hidden]}
        if self.compacted:
            data["compacted"] = self.compacted
        if self.summary:
            data["summary_at"] = self.summary
        return data

    def record(self, why: ViewReason, takes: tuple[int, int] | None = None) -> ViewRecord:
        """Return the record that makes this the view, and says why; perhaps which range it has taken or given back."""
        record = cast("ViewRecord", {"type": "view", "why": why, **self.to_json()})
        if takes is not None:
            record["takes"] = list(takes)
        return record

    def is_taken_back(self, seq: int) -> bool:
        """Tell whether what has this number was taken back."""
        return any(first <= seq <= last for first, last in self.hidden)

    def shows(self, seq: int) -> bool:
        """Tell whether the model sees the item of this number."""
        return seq > self.compacted and not self.is_taken_back(seq)

    def without(self, first: int, last: int) -> "View":
        """Return the view once a range was taken back too."""
        return View(_joined([*self.hidden, (first, last)]), self.compacted, self.summary)

    def uncompacted(self) -> "View":
        """Return the view with the originals in the place of the summary."""
        return View(self.hidden)

    def until(self, seq: int) -> "View":
        """Return what this view says of a history that ends with this number."""
        hidden = tuple((first, min(last, seq)) for first, last in self.hidden if first <= seq)
        return View(hidden, self.compacted, self.summary) if self.compacted <= seq else View(hidden)

    def windows(self, newest: int) -> Iterator[tuple[int, int]]:
        """Yield what the model sees as ranges of numbers, the newest first: first and last of each."""
        end = newest
        for first, last in reversed(self.hidden):
            if last < end and end > self.compacted:
                yield max(last, self.compacted) + 1, end
            end = min(end, first - 1)
        if end > self.compacted:
            yield self.compacted + 1, end


NOTHING_HIDDEN = View()


def view_of(entries: Sequence[Entry]) -> View:
    """Return the view that holds at the end of some entries, which are the newest of their session."""
    for entry in reversed(entries):
        if "record" in entry and entry["record"]["type"] == "view":
            return View.of(entry["record"], entry["seq"])
    return NOTHING_HIDDEN


def shown(entries: Sequence[Entry]) -> list[Entry]:
    """Return what the model sees of a whole history: entries with an item.

    A summary comes first, as an entry with the number of its record. If that record was removed, the originals are
    shown again.
    """
    view = view_of(entries)
    summary = summary_entry(entries, view)
    if view.summary and summary is None:
        view = view.uncompacted()
    seen = [entry for entry in entries if "item" in entry and view.shows(entry["seq"])]
    return seen if summary is None else [summary, *seen]


def shown_items(entries: Sequence[Entry]) -> list[Any]:
    """Return the items that the model sees of a whole history."""
    return [entry["item"] for entry in shown(entries)]


def summary_entry(entries: Iterable[Entry], view: View) -> Entry | None:
    """Return the summary of a view as an entry, if its record is among some entries."""
    if not view.summary:
        return None
    for entry in entries:
        record = entry.get("record")
        if entry["seq"] == view.summary and record is not None and record["type"] == "view" and "summary" in record:
            return {"seq": entry["seq"], "at": entry["at"], "item": record["summary"]}
    return None


def kept(entries: Sequence[Entry], view: View | None = None) -> list[Entry]:
    """Return the newest entries of a session, without what was taken back."""
    seen = view_of(entries) if view is None else view
    if not seen.hidden:
        return list(entries)
    return [entry for entry in entries if is_about_the_history(entry) or not seen.is_taken_back(entry["seq"])]


def is_about_the_history(entry: Entry) -> bool:
    """Tell whether an entry speaks of the history, and is no part of what was said in it."""
    return "record" in entry and entry["record"]["type"] in ABOUT_THE_HISTORY


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges in order; those that overlap or touch become one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return tuple(joined)
