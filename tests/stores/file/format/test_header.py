"""The first line of a file: what is a header, and what is not."""

import pytest

from agents_sessions.stores.file.format.header import Damage, NewerFormat, check_format, parse_header, salt_of

HEAD = b'{"format":"agents-sessions/1","salt":"5d0c91aa","history":[\n'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (HEAD[:-1], "not the header"),
        (HEAD + b"\n", "not the header"),
        (b"", "not the header"),
        (b"x" + HEAD, "its header is"),
        (HEAD.replace(b'"salt":"5d0c91aa"', b'"x":1'), "no salt"),
        (HEAD.replace(b"5d0c91aa", b"salt"), "no salt"),
        (HEAD.replace(b"agents-sessions/1", b"agents-sessions"), "no format agents-sessions/…"),
    ],
)
def test_a_line_that_is_no_header_tells_why(line, why):
    assert parse_header(HEAD)["salt"] == "5d0c91aa"
    with pytest.raises(Damage, match=why):
        parse_header(line)


@pytest.mark.parametrize("salt", ["0", "ffffffff", "5d0c91aa5d0c91aa", "-1", 12])
def test_any_salt_that_is_a_number_salts(salt):
    assert 0 <= salt_of({"salt": salt}) <= 0xFFFFFFFF
    assert salt_of({"salt": "5d0c91aa"}) == 0x5D0C91AA


@pytest.mark.parametrize("version", ["2", "10", "1000", "1001", "10000", "9" * 5000])
def test_the_name_of_a_newer_format_is_told_and_bounded(version):
    with pytest.raises(NewerFormat) as caught:
        check_format({"format": f"agents-sessions/{version}"})
    assert caught.value.args == (f"agents-sessions/{version}"[:40],)
