"""A conversation is forked, compared, and what a branch has said is brought home."""

import asyncio

import pytest
from agents import function_tool
from script import agent, calls, check_totals, echo, managed, opened

from agents_sessions.errors import (
    ApprovalPendingError,
    InvalidValueError,
    NothingToMergeError,
    PositionNotFoundError,
    SessionConflictError,
    SessionExistsError,
    SummariserError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry

KEY = SessionKey("support", "s")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


@function_tool
def look() -> str:
    return "seen"


def acts(store, act, *agents, messages=("one", "two", "three"), **settings):
    async def run():
        async with managed(store, *(agents or [echo()]), **settings) as manager:
            await opened(manager)
            for text in messages:
                await manager.send_message("s", text)
            return await act(manager)

    return asyncio.run(run())


async def seen(manager, session_id):
    items = await manager.session(session_id).get_items()
    return [item["content"] for item in items if item.get("role") == "user"]


async def forked(manager, **position):
    return (await manager.branches.fork("s", new_id="f", **position)).id


def test_a_fork_goes_its_own_way(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        await manager.send_message("s", "right")
        return await seen(manager, fork), await seen(manager, "s")

    begin = ["one", "two", "three"]
    assert acts(store, act) == ([*begin, "left"], [*begin, "right"])


def test_a_fork_ends_with_the_turn_of_its_position_and_says_if_it_was_moved(store):
    async def act(manager):
        first, second, _ = await manager.get_turns("s")
        by_turn = await manager.branches.fork("s", turn=first.id)
        inside = await manager.branches.fork("s", seq=second.first)
        at_end = await manager.branches.fork("s", seq=second.last)
        nothing = await manager.branches.fork("s", seq=0)
        points = [(fork.forked_at.seq, fork.forked_at.moved) for fork in (by_turn, inside, at_end, nothing)]
        found = [await seen(manager, fork.id) for fork in (by_turn, inside, at_end, nothing)]
        return first.last, second.last, points, found, [fork.parent_id for fork in (by_turn, nothing)]

    first, second, points, found, parents = acts(store, act)
    assert points == [(first, False), (second, True), (second, False), (0, False)]
    assert found == [["one"], ["one", "two"], ["one", "two"], []]
    assert parents == ["s", "s"]


def test_a_fork_has_the_totals_and_the_speaker_of_its_turns(store):
    async def act(manager):
        first, *_ = await manager.get_turns("s")
        fork = await manager.branches.fork("s", turn=first.id, new_id="f")
        return fork.context, (await manager.get_session("f")).context

    made, stored = acts(store, act)
    assert made == stored == check_totals(store, session_id="f")
    assert (stored.turns, stored.last_agent, stored.total_tokens) == (1, "support", 15)


@pytest.mark.parametrize(("metadata", "expected"), [("copy", {"a": 1}), ("fresh", {}), ({"b": 2}, {"b": 2})])
def test_the_facts_of_a_fork_are_those_of_its_parent_where_none_are_given(store, metadata, expected):
    async def act(manager):
        await manager.update_session("s", name="order", metadata={"a": 1}, status="paused")
        fork = await manager.branches.fork("s", metadata=metadata)
        return fork.metadata, fork.name, fork.status

    assert acts(store, act) == (expected, "order", "active")


def test_a_fork_of_what_was_taken_back_brings_it_to_light(store):
    async def act(manager):
        last = (await manager.get_turns("s"))[-1]
        await manager.undo("s")
        await manager.send_message("s", "four")
        fork = await manager.branches.fork("s", turn=last.id)
        return await seen(manager, fork.id), await seen(manager, (await manager.branches.fork("s")).id)

    assert acts(store, act) == (["one", "two", "three"], ["one", "two", "four"])


def test_what_was_removed_is_removed_in_a_fork_too(store):
    async def act(manager):
        first, *_ = await manager.get_turns("s")
        await manager.remove("s", first.first)
        fork = await manager.branches.fork("s", turn=(await manager.get_turns("s"))[1].id)
        return await seen(manager, fork.id)

    assert acts(store, act) == ["two"]


def test_a_fork_inside_a_summary_sees_the_originals_and_one_behind_it_the_summary(store):
    async def act(manager):
        turns = await manager.get_turns("s")
        await manager.summaries.compact("s", keep_turns=1)
        before = await manager.branches.fork("s", turn=turns[0].id)
        behind = await manager.branches.fork("s", turn=turns[1].id)
        return await seen(manager, before.id), await seen(manager, behind.id)

    before, behind = acts(store, act)
    assert before == ["one"]
    assert len(behind) == 1
    assert behind[0].startswith("[Summary of the conversation")


def test_a_running_turn_is_left_out_of_a_fork(store):
    async def act(manager):
        await store.append(KEY, [item_entry({"role": "user", "content": "runs"}, turn="t9")])
        with pytest.raises(PositionNotFoundError, match="has not ended"):
            await manager.branches.fork("s", turn="t9")
        return await seen(manager, await forked(manager))

    assert acts(store, act) == ["one", "two", "three"]


def test_a_fork_refuses_a_taken_id_and_two_positions(store):
    async def act(manager):
        with pytest.raises(SessionExistsError):
            await manager.branches.fork("s", new_id="s")
        with pytest.raises(InvalidValueError):
            await manager.branches.fork("s", seq=1, turn="t")
        with pytest.raises(InvalidValueError):
            await manager.branches.fork("s", metadata="some")

    acts(store, act)


def test_the_tree_is_the_whole_family_from_any_member(store):
    async def act(manager):
        child = await manager.branches.fork("s", new_id="child", name="a try")
        await manager.branches.fork(child.id, new_id="grandchild")
        await manager.branches.fork("s", new_id="other", seq=1)
        trees = [await manager.branches.tree(name) for name in ("s", "grandchild")]
        return trees[0], [[branch.id for branch in tree] for tree in trees], str(trees[1])

    tree, found, drawn = acts(store, act)
    assert found == [["s", "other", "child", "grandchild"]] * 2
    assert (tree.is_asked_for, tree.children[1].children[0].parent_id) == (True, "child")
    assert drawn.splitlines()[1].startswith("├─ other: 1 turn, forked at entry")
    assert drawn.splitlines()[2].startswith("└─ a try (child): 3 turns")
    assert drawn.splitlines()[3].startswith("   └─ a try (grandchild)")
    assert drawn.endswith("  <")


def test_a_family_is_found_after_a_member_has_moved_to_another_agent(store):
    async def act(manager):
        await manager.branches.fork("s", new_id="child")
        await manager.branches.fork("child", new_id="grandchild")
        await manager.move_session("child", agent_id="sales")
        return [[branch.id for branch in await manager.branches.tree(name)] for name in ("s", "child", "grandchild")]

    assert acts(store, act, echo(), agent("sales")) == [["s", "child", "grandchild"]] * 3


def test_a_tree_whose_root_is_gone_says_so(store):
    async def act(manager):
        await forked(manager)
        await manager.delete_session("s")
        return await manager.branches.tree("f")

    tree = acts(store, act)
    assert (tree.id, tree.parent_is_gone) == ("f", True)
    assert "of s, which is gone" in str(tree)


def test_a_diff_has_the_turns_beyond_the_common_part(store):
    async def act(manager):
        fork = await forked(manager)
        assert (await manager.branches.diff("s", fork)).are_equal
        await manager.send_message(fork, "left")
        await manager.undo("s")
        return await manager.branches.diff("s", fork)

    diff = acts(store, act)
    assert diff.common_turns == 2
    assert ([turn.text for turn in diff.only_in_a], [turn.text for turn in diff.only_in_b]) == ([], ["three", "left"])


def test_a_merge_brings_one_marked_message_and_is_on_record_in_both(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        before = (await manager.get_session("s")).context
        merged = await manager.branches.merge(fork, "s")
        after = (await manager.get_session("s")).context
        notes = [[e for e in await manager.get_history(name) if e.type == "merge"] for name in ("s", fork)]
        block = (await manager.get_history("s", after=merged.seq - 1, limit=1))[0]
        return before, after, notes, block, merged

    before, after, notes, block, merged = acts(store, act)
    assert notes[0][0].model_copy(update={"seq": 0, "at": None}) == notes[1][0].model_copy(
        update={"seq": 0, "at": None}
    )
    assert (notes[0][0].source, notes[0][0].range) == (("support", "f"), merged.range)
    assert block.text.startswith("[Merged from branch 'f', entries ")
    assert "Asked: left" in block.text
    assert (after.items, after.total_tokens, after.turns) == (before.items + 1, before.total_tokens, before.turns)


def test_a_second_merge_brings_what_came_since(store):
    async def act(manager):
        fork = await forked(manager)
        with pytest.raises(NothingToMergeError):
            await manager.branches.merge(fork, "s")
        await manager.send_message(fork, "left")
        await manager.branches.merge(fork, "s")
        with pytest.raises(NothingToMergeError):
            await manager.branches.merge(fork, "s")
        await manager.send_message(fork, "more")
        await manager.branches.merge(fork, "s", strategy="append")
        return (await seen(manager, "s"))[3:]

    texts = acts(store, act)
    assert len(texts) == 3
    assert texts[1].endswith("What it has said follows.")
    assert texts[2] == "more"


def test_a_merge_of_all_makes_the_ids_of_calls_unique(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "look")
        await manager.send_message("s", "look too")
        await manager.branches.merge(fork, "s", strategy="append")
        items = await manager.session("s").get_items()
        return [
            [item["call_id"] for item in items if item.get("type") == kind]
            for kind in ("function_call", "function_call_output")
        ]

    support = agent("support", "hello", calls("look"), "done", calls("look"), "done", tools=[look])
    made, answered = acts(store, act, support, messages=("one",))
    assert made == answered
    assert len(set(made)) == 2


def test_chosen_entries_come_with_their_partners(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "look")
        call = next(e for e in await manager.get_history(fork) if e.type == "item" and e.kind == "function_call")
        merged = await manager.branches.merge(fork, "s", strategy="select", select=[call.seq])
        items = await manager.session("s").get_items()
        return merged.items, [item.get("type", item.get("role")) for item in items[-2:]]

    support = agent("support", "hello", calls("look"), "done", tools=[look])
    assert acts(store, act, support, messages=("one",)) == (3, ["function_call", "function_call_output"])


def test_a_target_that_changed_meanwhile_is_left_alone(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        looked = (await manager.get_session("s")).seq

        async def slowly(_items):
            await manager.send_message("s", "right")
            return "late"

        with pytest.raises(SessionConflictError):
            await manager.branches.merge(fork, "s", summariser=slowly)
        with pytest.raises(SessionConflictError):
            await manager.branches.merge(fork, "s", expected_seq=looked)
        return await seen(manager, "s")

    assert acts(store, act)[-1] == "right"


def test_a_merge_refuses_what_it_cannot_do(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        for arguments in [{"strategy": "all"}, {"select": [1]}, {"strategy": "select"}, {"after": "burn"}]:
            with pytest.raises(InvalidValueError):
                await manager.branches.merge(fork, "s", **arguments)
        with pytest.raises(InvalidValueError):
            await manager.branches.merge("s", "s")
        with pytest.raises(PositionNotFoundError):
            await manager.branches.merge(fork, "s", strategy="select", select=[999])
        with pytest.raises(SummariserError):
            await manager.branches.merge(fork, "s", summariser=lambda items: "")
        return await seen(manager, "s")

    assert acts(store, act) == ["one", "two", "three"]


def test_a_merge_waits_for_no_approval(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        await manager.send_message("s", "pay")
        with pytest.raises(ApprovalPendingError):
            await manager.branches.merge(fork, "s")

    support = agent("support", "hello", "left", calls("pay"), tools=[pay])
    acts(store, act, support, messages=("one",))


def test_a_merge_that_died_before_its_note_is_finished_and_not_made_twice(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        merged = await manager.branches.merge(fork, "s")
        without = lambda h: h.with_entries(h.entries[:-1])  # noqa: E731
        await store.rewrite(SessionKey("support", fork), without)
        again = await manager.branches.merge(fork, "s")
        notes = [entry for entry in await manager.get_history(fork) if entry.type == "merge"]
        return merged == again, len(notes), len(await seen(manager, "s"))

    assert acts(store, act) == (True, 1, 4)


def test_a_merged_branch_can_be_closed(store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        await manager.branches.merge(fork, "s", after="close")
        return (await manager.get_session(fork)).status

    assert acts(store, act) == "closed"


def test_a_merged_branch_can_be_archived(file_store):
    async def act(manager):
        fork = await forked(manager)
        await manager.send_message(fork, "left")
        await manager.branches.merge(fork, "s", after="archive")
        return (await manager.branches.tree("s")).children[0].status

    assert acts(file_store, act) == "archived"
