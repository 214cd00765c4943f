"""The deliberate mistakes, and what must catch each: see `mutants.py`."""

from typing import NamedTuple

from mutant_changes import Change, argument, called, condition, drop, instead, returned, swap

FILES = "tests/stores/file"
CRASH = "tests/trust/test_crash.py"
CONCURRENCY = "tests/trust/test_concurrency.py"
GROWTH = "tests/trust/test_growth.py"
LOCKS = "tests/concurrency/test_fair_locks.py"
APPROVALS = "tests/turns/test_approvals.py"
FAILURES = "tests/turns/test_failures.py"

IN_PLACE = """
fd = os.open(name, os.O_RDWR | os.O_TRUNC | os.O_CREAT, dir_fd=dir_fd)
write_all(fd, data, 0)
os.close(fd)
os.unlink(temporary, dir_fd=dir_fd)
"""
IN_TWO_CALLS = """
half = data.rfind(b"\\n,{") + 1
write_all(fd, data[:half], offset)
write_all(fd, data[half:], offset + half)
old = b""
"""
TRIED_AGAIN = """
try:
    {it}
except OSError:
    {it}
"""


class Mutant(NamedTuple):
    """One mistake."""

    name: str
    package: str
    """The module, or a package in which the function has a name of its own: it may move inside."""
    function: str
    """`function`, `Class.method`, or the last of these names."""
    change: Change
    tests: str
    """What catches it: arguments of pytest."""


MUTANTS = [
    # --- what is written ---
    Mutant(
        "an append is not synced",
        "stores.file.disk",
        "append",
        drop("sync"),
        f"{FILES}/test_costs.py -k one_write_and_one_sync",
    ),
    Mutant(
        "a failed sync is tried again",
        "stores.file.disk",
        "sync",
        instead("fdatasync", TRIED_AGAIN),
        f"{FILES}/test_failed_writes.py -k failed_sync",
    ),
    Mutant("a rewrite writes in place", "stores.file.disk", "replace", instead("replace", IN_PLACE), CRASH),
    Mutant(
        "a batch is written in two calls, and nothing is put back",
        "stores.file.disk",
        "append",
        instead("write_all", IN_TWO_CALLS),
        f"{FILES}/test_costs.py -k one_write",
    ),
    Mutant(
        "a failed append leaves what it wrote",
        "stores.file.disk",
        "append",
        drop("_put_back"),
        f"{FILES}/test_failed_writes.py -k puts_the_old_end_back",
    ),
    Mutant("temporaries are never swept", "stores.file.disk", "sweep_once", drop("sweep"), CRASH),
    Mutant(
        "a young temporary is swept",
        "stores.file.disk",
        "_sweep_one",
        condition("st_mtime", "False"),
        f"{FILES}/test_temporaries.py -k young",
    ),
    Mutant(
        "a repair does not keep the damaged bytes",
        "stores.file.disk",
        "keep_copy",
        drop("_link"),
        f"{FILES}/test_damaged_files.py -k its_bytes_are_kept",
    ),
    Mutant(
        "the folder of a first sidecar is not synced",
        "stores.file.sidecars",
        "write",
        drop("sync_directory"),
        f"{FILES}/test_costs.py -k folder_of_sidecars",
    ),
    Mutant(
        "a deletion takes the sidecars of a session that was made meanwhile",
        "stores.file",
        "remove_all",
        condition("session", "False"),
        f"{FILES}/test_deletes.py -k made_meanwhile",
    ),
    # --- locks ---
    Mutant(
        "a lock counts on a file that was replaced",
        "stores.file.disk",
        "open_locked_file",
        condition("size", "True"),
        f"{FILES}/disk/test_locks.py -k before_it_is_locked",
    ),
    Mutant(
        "the lock of a file is not taken",
        "stores.file.disk",
        "lock",
        swap("LOCK_EX", "LOCK_SH"),
        f"{CONCURRENCY} -k every_batch",
    ),
    Mutant(
        "a forked child keeps its parent's locks",
        "stores.file.disk",
        "_close_in_child",
        drop("locked_files"),
        f"{FILES}/test_forked_children.py -k killed_parent",
    ),
    Mutant(
        "turns do not exclude each other",
        "stores.file.turn_lock",
        "try_turn",
        argument("open_lock_file", 1, "{it} + os.urandom(4).hex()"),
        f"{CONCURRENCY} -k every_batch",
    ),
    Mutant(
        "a turn lock is not released",
        "stores.file.writer",
        "try_turn",
        drop("release"),
        f"{FILES}/test_file_store.py -k an_error_in_a_turn",
    ),
    Mutant(
        "a lock is not forgotten",
        "concurrency",
        "_call_first",
        drop("_queues"),
        f"{GROWTH} -k leave_no_lock",
    ),
    Mutant(
        "a lock lets the newest in first",
        "concurrency",
        "_handle",
        instead("append", "queue.insert(1, ticket)"),
        LOCKS,
    ),
    Mutant(
        "a cancelled write is not waited for",
        "concurrency",
        "settle",
        instead("done", "if not task.done():\n    raise cancelled"),
        LOCKS,
    ),
    Mutant(
        "the end of a loop cuts what must be settled",
        "concurrency",
        "hide_from_loop",
        drop("_unregister_task"),
        f"{CONCURRENCY} -k counted_once",
    ),
    # --- what is read ---
    Mutant("a part of a batch is kept", "stores.file.format", "whole_batches", condition("get", "batch"), CRASH),
    Mutant(
        "a line is believed without its checksum",
        "stores.file.format",
        "_verify_line",
        condition("written", "place < 0 or line[:1] != lead"),
        f"{FILES}/format/test_torn.py",
    ),
    Mutant(
        "the seal is believed without its checksum",
        "stores.file.format",
        "seal_holds",
        returned('closing.endswith(b"\\n") and sealed >= 0', nth=2),
        f"{FILES}/format/test_torn.py -k any_sectors",
    ),
    Mutant(
        "the seal does not cover the last batch",
        "stores.file.format",
        "seal_holds",
        argument("crc32", 1, "crc32(header)"),
        f"{FILES}/format/test_tail.py",
    ),
    Mutant(
        "a reader does not check the seal",
        "stores.file.format",
        "read_sealed",
        condition("seal_holds", "False"),
        f"{FILES}/format/test_torn.py -k 'any_sectors or cut_at_any_byte'",
    ),
    # --- totals and numbers ---
    Mutant(
        "the totals do not follow an append",
        "stores.transitions",
        "appended",
        called("fold", "standing.context"),
        CRASH,
    ),
    Mutant(
        "the totals are not counted again after a rewrite",
        "stores",
        "rewritten",
        called("_counted", "{'seq': before.info.seq, 'context': before.info.context}"),
        CRASH,
    ),
    Mutant(
        "a number is given again after a pop",
        "stores.transitions",
        "_counted",
        called("max", "newest"),
        "tests/stores/test_memory_store.py -k never_given_again",
    ),
    # --- turns ---
    Mutant(
        "a tool waits for its own turn",
        "turns",
        "check_reentry",
        condition("own", "False"),
        "tests/turns/test_lock.py -k one_who_holds_two_sessions",
    ),
    Mutant(
        "a turn that died stays open",
        "turns",
        "ready",
        returned("info"),
        CRASH,
    ),
    Mutant(
        "what a failed batch has cost is forgotten",
        "turns",
        "_survives_failure",
        returned("False"),
        f"{FAILURES} -k keeps_its_cost",
    ),
    Mutant(
        "a rollback forgets what a turn has cost",
        "turns",
        "_survives_rollback",
        returned('"record" in entry and entry["record"]["type"] == "turn"'),
        f"{FAILURES} -k rolled_back_keeps_its_cost",
    ),
    Mutant(
        "a turn that has not failed can be retried",
        "turns",
        "_retry",
        condition("last_status", "False"),
        f"{FAILURES} -k only_a_failed_turn",
    ),
    Mutant(
        "the requests of a turn are stored twice",
        "turns",
        "_enter_seen",
        instead("_nested_requests", "rows = [*self._requests, *self._nested_requests()]"),
        "tests/turns/test_recorder.py",
    ),
    Mutant(
        "a limit of the history cuts a turn in two",
        "turns",
        "_whole_turns",
        returned("items[-limit:]", nth=2),
        "tests/turns/test_options.py -k leaves_whole_turns",
    ),
    # --- approval ---
    Mutant(
        "usage before a pause is counted again on resume",
        "turns",
        "restore_ledger",
        argument("Ledger", "counted", "UsageMark()"),
        f"{APPROVALS} -k counts_what_it_spent",
    ),
    Mutant(
        "a decision is not stored before the tools run",
        "turns",
        "Turn.begin",
        drop("flush"),
        f"{APPROVALS} -k before_any_tool_runs",
    ),
    Mutant(
        "a call is left without an output",
        "turns",
        "Ledger.end",
        drop("lost_outputs"),
        "tests/turns/test_cancellation.py -k memory-resume",
    ),
    Mutant(
        "a tool that may have run is said not to have run",
        "turns",
        "lost_outputs",
        condition("not_run", "True"),
        "tests/turns/test_unanswered.py",
    ),
    Mutant(
        "a message is taken while calls wait for approval",
        "turns",
        "_send",
        condition("on_pending", "False"),
        f"{APPROVALS} -k a_message_meanwhile_is_refused",
    ),
    Mutant(
        "a message that comes with a decision is not stored with it",
        "turns",
        "_send",
        drop("message"),
        "tests/turns/test_message_while_awaiting.py",
    ),
    Mutant(
        "the context object of a paused turn is stored",
        "turns",
        "_without_contexts",
        condition("context_meta", "False"),
        f"{APPROVALS} -k the_context_object_is_not_stored",
    ),
]
