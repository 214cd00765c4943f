"""What a store shows of a history whose view has changed, copies of it, and takes out of it for good."""

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, item_entry, record_entry
from agents_sessions.model.redaction import Redaction
from agents_sessions.model.totals import ContextStats
from agents_sessions.model.view import View
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts

FORK = SessionKey("support", "fork")
SUMMARY = {"role": "user", "content": "short"}


def viewed(view: View, *, summary: bool = False) -> Entry:
    """Return a new view record, perhaps with a summary."""
    record = view.record("undo")
    if summary:
        record["summary"] = dict(SUMMARY)
    return record_entry(record)


class ViewContract(ContractPart):
    """What a store shows of a history whose view has changed, copies of it, and takes out of it for good."""

    async def grown(self, store: SessionStore, *records: Entry, count: int = 9) -> None:
        """Make a session of some messages, each named by its number, with records behind the fifth and at the end."""
        await store.create(info_of(), [said(str(number)) for number in range(1, 6)])
        for record in records[:-1]:
            await store.append(KEY, [record])
        for number in range(6, count):
            await store.append(KEY, [said(str(number)), item_entry({"role": "assistant", "content": f"to {number}"})])
        await store.append(KEY, list(records[-1:]))

    async def shown(self, store: SessionStore, limit: int | None = None) -> list[object]:
        """Return what the model sees, as texts."""
        return [item["content"] for item in await store.items(KEY, limit=limit)]

    @pytest.mark.parametrize(
        "view",
        [
            View(((2, 3),)),
            View(((1, 5),)),
            View(((2, 3), (5, 5), (8, 9))),
            View(((9, 12),)),
            View(((1, 99),)),
            View((), 4, 0),
            View(((3, 6),), 4, 0),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("rewritten", [False, True])
    async def test_items_are_those_that_a_view_shows(self, store: SessionStore, view: View, rewritten: bool) -> None:
        await self.grown(store, viewed(View(((1, 2),))), viewed(view))
        if rewritten:
            await store.rewrite(KEY, lambda history: history.with_facts(name="again"))
        entries = [entry for entry in await store.entries(KEY) if "item" in entry and view.shows(entry["seq"])]
        expected = [entry["item"]["content"] for entry in entries]
        assert await self.shown(store) == expected
        for limit in range(len(expected) + 2):
            assert await self.shown(store, limit) == expected[max(0, len(expected) - limit) :]

    async def test_a_summary_is_the_oldest_item_of_a_view(self, store: SessionStore) -> None:
        await self.grown(store, viewed(View((), 4), summary=True), viewed(View(((6, 9),), 4, 6)), count=8)
        everything = ["short", "5", "to 7"]
        assert await self.shown(store) == everything
        assert [await self.shown(store, limit) for limit in (1, 2, 3, 4)] == [
            everything[-1:],
            everything[-2:],
            everything,
            everything,
        ]

    async def test_a_summary_whose_record_is_gone_lets_the_originals_be_seen(self, store: SessionStore) -> None:
        await self.grown(store, viewed(View((), 4), summary=True), viewed(View((), 4, 6)), count=7)
        await store.rewrite(KEY, lambda h: h.with_entries([entry for entry in h.entries if entry["seq"] != 6]))
        assert await self.shown(store) == ["1", "2", "3", "4", "5", "6", "to 6"]

    async def test_people_see_what_was_not_taken_back(self, store: SessionStore) -> None:
        await self.grown(store, viewed(View((), 4), summary=True), viewed(View(((2, 2), (7, 7)), 4, 6)), count=7)
        assert [message.text for message in await store.messages(KEY, limit=9)] == ["1", "3", "4", "5", "to 6"]
        assert [message.text for message in await store.messages(KEY, limit=2)] == ["5", "to 6"]

    async def test_totals_say_what_the_view_is(self, store: SessionStore) -> None:
        view = View(((2, 3),))
        await self.grown(store, viewed(view))
        context = (await store.existing(KEY)).context
        assert (context.view, context.items) == (view, 11)
        await store.append(KEY, [viewed(View())])
        assert (await store.existing(KEY)).context.view is None

    async def test_what_follows_a_copy_is_made_of_its_totals(self, store: SessionStore) -> None:
        heard: list[int] = []

        def behind(context: ContextStats) -> list[Entry]:
            heard.append(context.items)
            return [said("behind"), viewed(View(((1, 1),)))]

        await self.grown(store, viewed(View()))
        copied = await store.copy(KEY, info_of(FORK), before=4, behind=behind)
        assert heard[-1] == 3
        assert [item["content"] for item in await store.items(FORK)] == ["2", "3", "behind"]
        assert (copied.seq, copied.context.items) == (5, 4)
        assert await store.load(FORK) == copied
        await store.append(FORK, [said("next")])
        assert [entry["seq"] for entry in await store.entries(FORK)] == [1, 2, 3, 4, 5, 6]

    async def test_a_copy_may_end_inside_a_batch_and_hold_any_text(self, store: SessionStore) -> None:
        batch = [said("ä\ud800\u2028"), said("b"), said("c")]
        await store.create(info_of(), [said("a")])
        await store.append(KEY, batch)
        await store.copy(KEY, info_of(FORK), before=3)
        assert await store.items(FORK) == [said("a")["item"], batch[0]["item"]]
        await store.append(FORK, [said("d")])
        await store.rewrite(FORK, lambda history: history.with_facts(name="again"))
        assert texts(await store.entries(FORK)) == ["a", "ä\ud800\u2028", "d"]

    async def test_a_redaction_takes_a_text_out_of_all_that_the_store_has(self, store: SessionStore) -> None:
        await store.create(info_of(name="of Nobody"), [said("I am Nobody"), said("b")])
        await store.write_sidecar(KEY, "notes.json", b'{"who":"Nobody"}')
        redaction = Redaction.of_text("Nobody", "X")
        listed = await store.redact(KEY, redaction, dry_run=True)
        assert texts(await store.entries(KEY)) == ["I am Nobody", "b"]
        assert await store.redact(KEY, redaction) == listed
        assert {found.kind for found in listed} == {"sidecar", "history", "facts"}
        entries = await store.entries(KEY)
        assert texts(entries[:2]) == ["I am X", "b"]
        assert entries[2]["record"] == {"type": "redaction", "entries": [1]}
        assert (await store.existing(KEY)).name == "of X"
        assert await store.read_sidecar(KEY, "notes.json") == b'{"who":"X"}'
        assert await store.redact(KEY, redaction) == []

    async def test_a_session_that_is_not_there_cannot_be_redacted(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.redact(KEY, Redaction.of_text("a", "b"))
