"""A file that is written whole."""

import json
import secrets

from session_bytes import AT, HEADER, appended, grown, new_file, said

from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.document import encode_document
from agents_sessions.stores.file.format.reading import decode_document


def test_an_empty_session_is_two_lines(monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda _: "5d0c91aa")
    zero = json.dumps(ContextStats().to_json(), separators=(",", ":"))
    header = (
        '{"format":"agents-sessions/1","id":"order-42","agent_id":"support","name":"Zoë",'
        '"salt":"5d0c91aa","history":[\n'
    )
    size = len(header.encode())
    tail = f'],"context":{zero},"updated_at":"{AT}","seal":{{"seq":0,"body":{size},"start":{size},"end":{size},"crc":"'
    written = new_file().decode()
    assert written.startswith(header + tail)
    assert written[len(header + tail) + 8 :] == '"}}\n'


def test_a_file_is_json_after_every_write():
    data = new_file([said("first")])
    for number in range(20):
        data = appended(data, [said(f"{number}-{place}" * number) for place in range(number % 3 + 1)])
        whole = json.loads(data)
        assert whole["history"][-1]["item"]["content"] == f"{number}-{number % 3}" * number
        assert whole["context"]["items"] == len(whole["history"])
        assert whole["seal"]["seq"] == len(whole["history"])


def test_a_written_file_numbers_no_entry_twice_on_its_line():
    data = grown([said("b"), said("c")], start=[said("a")])
    again = encode_document(decode_document(data))
    assert [again.count(name) for name in (b'"k":', b'"n":', b'"crc":', b'"seq":')] == [0, 0, 4, 4]


def test_two_files_have_two_salts():
    assert new_file([said("a")]) != new_file([said("a")])


def test_the_number_of_a_removed_entry_is_not_a_fact_of_the_session():
    assert decode_document(new_file([said("a")], seq=5)).header == HEADER
