"""What the commands print: as data, as text, and on screens of three widths."""

import json
import os
import re
from functools import partial
from pathlib import Path
from shlex import split

import pytest

from agents_sessions.cli import screen
from agents_sessions.cli.conversation import code_blocks
from agents_sessions.cli.main import run as run_command
from agents_sessions.cli.reading import short_ids
from agents_sessions.cli.screen import visible

SCREENS = Path(__file__).parent / "screens"


def data(answer):
    code, out, _ = answer
    assert code == 0
    return json.loads(out)


# --- text ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "␛[31m"),
        ("a\r\nb", "a\nb"),
        ("\x7f\x9b", "␡<U+009B>"),
        ("\u202e", "<U+202E>"),
        ("第 🎉\tü", "第 🎉\tü"),
    ],
    ids=["escape", "line ends", "C1", "direction", "letters"],
)
def test_text_cannot_steer_a_terminal(text, shown):
    assert visible(text) == shown


def test_a_pipe_that_nobody_reads_is_no_failure_of_the_screen():
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

        def isatty(self):
            return False

    with pytest.raises(BrokenPipeError):
        screen.Screen(Closed()).line("text")


def test_an_id_is_shortened_where_its_beginning_tells_it_apart():
    ids = ["11111111-aaaa-4bbb", "22222222-aaaa-4bbb", "22222222-cccc-4bbb", "order-42"]
    assert short_ids(ids) == ["11111111", ids[1], ids[2], "order-42"]


def test_code_blocks_come_without_their_fences():
    assert [*code_blocks("a\n```python\nx = 1\n```\nb\n```\ny\n```")] == ["x = 1", "y"]


# --- look ---


def test_a_list_is_rows_of_tabs_in_a_pipe(run):
    _, out, _ = run("list", "--user", "bob")
    assert out.split("\t")[:4] == ["order-0", "The late refund", "triage", "1"]


def test_all_sessions_come_one_object_a_line(run):
    _, out, _ = run("list", "--all", "--json")
    assert {json.loads(line)["id"] for line in out.splitlines()} == {"order-0", "order-1", "order-2"}


def test_show_escapes_what_would_steer(run):
    _, out, _ = run("show", "order-0")
    assert "␛[31m<U+202E>red␇" in out
    assert "\x1b" not in out


def entries(answer):
    return [json.loads(line) for line in answer[1].splitlines()]


def test_show_gives_only_what_is_asked_for(run):
    assert [each["seq"] for each in entries(run("show", "order-0", "--only", "user", "--json"))] == [1]


def test_show_gives_the_last_entries(run):
    assert [each["seq"] for each in entries(run("show", "order-0", "--last", "2", "--json"))] == [5, 6]


def test_show_code_prints_the_newest_block_alone(run):
    assert run("show", "order-0", "--code")[1] == "print(42)\n"


def test_show_leaves_out_what_was_taken_back(run):
    run("undo", "order-0")
    assert "refund 0" not in run("show", "order-0")[1]
    assert "refund 0" in run("show", "order-0", "--taken-back")[1]


def test_a_search_names_session_and_entry(run):
    (hit,) = data(run("search", '"my refund 1"', "--json"))
    assert (hit["session"]["id"], hit["seq"]) == ("order-1", 1)


def test_info_of_the_root_counts_sessions(run):
    found = data(run("info", "--json"))
    assert (found["sessions"], found["active"], found["bytes"] > 0) == (3, 3, True)


def test_stats_and_report_speak_of_tools(run):
    assert data(run("stats", "order-0", "--json"))["tools"][0]["name"] == "look_up"
    assert data(run("report", "--json"))["sessions"] == 3


# --- change ---

UNDONE = {
    "rename": ["rename", "order-0", "New"],
    "unname": ["rename", "order-0"],
    "tag": ["tag", "order-0", "a", "b"],
    "pin": ["pin", "order-0"],
    "pause": ["pause", "order-0"],
    "close": ["close", "order-0"],
    "undo": ["undo", "order-0"],
    "delete": ["delete", "order-0", "--yes"],
    "archive": ["archive", "add", "order-0"],
    "fork": ["fork", "order-0", "--new-id", "f1"],
    "retention": ["retention", "apply", "--keep-last", "2", "--yes"],
}


@pytest.mark.parametrize("words", UNDONE.values(), ids=UNDONE.keys())
def test_the_command_that_is_printed_undoes_it(run, words, capfd):
    def state():
        kept = ("id", "name", "tags", "pinned", "status")
        infos = [json.loads(line) for line in run("list", "--all", "--sort", "id", "--json")[1].splitlines()]
        shown = [run("show", info["id"], "--only", "user")[1] for info in infos if info["status"] != "archived"]
        return [{key: info.get(key) for key in kept} for info in infos], shown

    before = state()
    code, _, err = run(*words)
    assert code == 0
    assert state() != before
    (undo,) = [line.removeprefix("Undo: ") for line in err.splitlines() if line.startswith("Undo: ")]
    assert run_command([*split(undo)[1:], *(["--yes"] if " delete " in undo else [])]) == 0
    assert state() == before


@pytest.mark.parametrize(
    "words",
    [
        ["delete", "order-0"],
        ["delete", "--user", "ann", "--erase"],
        ["redact", "order-0", "--text", "refund"],
        ["retention", "apply", "--keep-last", "0"],
        ["trash", "purge", "--everything"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_dry_run_changes_nothing(run, root, words):
    before = {path: path.read_bytes() for path in root.rglob("*.json")}
    assert run(*words, "--dry-run")[0] == 0
    assert {path: path.read_bytes() for path in root.rglob("*.json")} == before


def test_where_nobody_can_be_asked_the_flag_is_named(run):
    code, _, err = run("delete", "order-0", "--no-input")
    assert (code, "--yes" in err) == (2, True)


def test_all_sessions_of_a_user_are_erased(run):
    assert run("delete", "--user", "ann", "--erase", "--yes")[0] == 0
    assert data(run("info", "--json"))["sessions"] == 1
    assert run("trash", "list")[1] == ""


def test_a_text_is_taken_out(run):
    run("redact", "order-0", "--text", "my refund", "--yes")
    assert "my refund" not in run("show", "order-0")[1]


def test_branches_are_compared_and_brought_home(run):
    run("fork", "order-0", "--new-id", "f1")
    run("undo", "f1")
    assert len(data(run("diff", "order-0", "f1", "--json"))["only_in_a"]) == 1
    assert run("merge", "order-1", "f1", "--strategy", "append")[0] == 0
    assert "refund 1" in run("show", "f1")[1]
    assert "f1" in run("tree", "order-0")[1]


def test_a_checkpoint_brings_a_history_back(run):
    _, out, _ = run("checkpoint", "save", "order-0", "--label", "before")
    (found,) = data(run("checkpoint", "list", "order-0", "--json"))
    assert (found["id"], found["label"]) == (out.strip(), "before")
    assert run("checkpoint", "restore", "order-0", out.strip())[0] == 0


def test_compact_says_how_much_the_model_no_longer_sees(run):
    assert "4 items" in run("compact", "order-0", "--keep-turns", "0")[2]


def test_giving_up_where_nothing_waits_fails(run):
    assert run("give-up", "order-0", "--yes")[0] == 1
    assert data(run("approvals", "list", "--json")) == []


# --- carry and repair ---


def test_an_export_is_imported_under_another_root(run, tmp_path):
    assert run("export", "order-0", "--output", str(tmp_path / "one.json"))[0] == 0
    assert run_command(["import", str(tmp_path / "one.json"), "--root", str(tmp_path / "new")]) == 0
    assert run_command(["show", "order-0", "--root", str(tmp_path / "new")]) == 0


def test_a_root_is_copied_whole(run, tmp_path):
    found = data(run("migrate", str(tmp_path / "copy"), "--json"))
    assert sorted(found["copied"]) == ["order-0", "order-1", "order-2"]


def test_the_doctor_says_what_a_repair_would_do_and_does_it(run, root):
    (file,) = root.rglob("order-0.json")
    file.chmod(0o644)
    (finding,) = json.loads(run("doctor", "--json")[1])
    assert finding["code"] == "exposed-file"
    assert run("doctor")[0] == 5
    assert run("doctor", "--repair", "--yes")[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600


# --- screens ---


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(
    "words", [["show", "order-0"], ["list"], ["search", "refund"], ["doctor"]], ids=lambda words: words[0]
)
def test_a_screen_looks_as_it_was_reviewed(root, words, width, monkeypatch, capfd):
    """The files in `screens` hold what a terminal shows, without colours. `UPDATE_SCREENS=1` writes them anew."""
    for file in root.rglob("order-2.json"):
        file.chmod(0o644)
    monkeypatch.setattr(screen, "Screen", partial(screen.Screen, width=width, terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    run_command([*words, "--root", str(root)])
    shown = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-01-01 12:00", capfd.readouterr()[0])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    file = SCREENS / f"{words[0]}-{width}.txt"
    if "UPDATE_SCREENS" in os.environ:
        file.write_text(shown)
    assert shown == file.read_text()
