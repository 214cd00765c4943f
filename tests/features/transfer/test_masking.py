"""What looks like a secret does not go out; and for a bug report, no text does."""

import asyncio
import json

import pytest
from sample_sessions import CALL, KEY, answer, contents, conversation, filled, info_of, transfer_of

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.transfer.masking import SecretMask, TextMask
from agents_sessions.features.transfer.values import ExportOptions
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.memory import MemoryStore

TAIL = "abcdEFGH0123456789abcdEFGH0123456789"
SECRETS = [
    (f"sk-proj-{TAIL}", "api key"),
    (f"sk-ant-api03-{TAIL}", "api key"),
    (f"ghp_{TAIL}", "api key"),
    (f"github_pat_{TAIL}{TAIL}", "api key"),
    (f"glpat-{TAIL}", "api key"),
    ("xoxb-123456789012-abcdef", "api key"),
    ("AKIAABCDEFGHIJKLMNOP", "api key"),
    (f"AIza{TAIL[:35]}", "api key"),
    (f"hf_{TAIL}", "api key"),
    ("sk_live_0123456789abcdef", "api key"),
    (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{TAIL}", "token"),
    (f"Authorization: Bearer {TAIL}", "bearer token"),
    ("Basic dXNlcjpwYXNzd29yZA==", "bearer token"),
    ("postgresql://user:hunter2@db.example/x", "password in a url"),
    ("redis://:hunter2@cache:6379/0", "password in a url"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nhunter2\n-----END RSA PRIVATE KEY-----", "private key"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\nhunter2 and its end is lost", "private key"),
    ("password=hunter2", "password"),
    ('{"password": "hunter2"}', "password"),
    ('{\\"api_key\\": \\"hunter2\\"}', "password"),
    ('{"client_secret": "hunter\\"2 and more"}', "password"),
    ("API_KEY='hunter2'", "password"),
    ("4111 1111 1111 1111", "card number"),
    ("4111-1111-1111-1111", "card number"),
    ("378282246310005", "card number"),
]
HARMLESS = [
    "the password is not said here",
    "order 1234567890123456 of today",
    "4111 1111 1111 1112",
    "0000 0000 0000 0000",
    "call 1-800-555-0199 or +49 30 1234567890",
    "3.14159265358979323846",
    "https://example.com/a:b@c",
    "2026-11-27T19:31:50.000Z",
    "7b0e9c51-5a1e-4a3b-9a64-1f0e4b0c2d11",
    "a bearer of news",
    "sk-short",
    "token",
]


@pytest.mark.parametrize(("text", "kind"), SECRETS, ids=[text[:24] for text, _ in SECRETS])
def test_a_secret_is_found_in_the_middle_of_a_text(text, kind):
    mask = SecretMask()
    shown = mask.text(f"it is {text} there")
    assert dict(mask.found) == {kind: 1}
    assert "hunter2" not in shown
    assert TAIL[8:] not in shown
    assert (shown[:6], shown[-6:]) == ("it is ", " there") or "its end is lost" in text


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    mask = SecretMask()
    assert (mask.text(text), dict(mask.found)) == (text, {})


def test_addresses_are_hidden_by_choice():
    text = "write to zoe.b+x@mail.example.co.uk, please"
    assert SecretMask().text(text) == text
    assert SecretMask(emails=True).text(text) == "write to [e-mail address], please"


def test_what_is_masked_twice_is_masked_once():
    mask = SecretMask()
    once = mask.text(" ".join(text for text, _ in SECRETS))
    counts = dict(mask.found)
    assert (mask.text(once), dict(mask.found)) == (once, counts)


def test_arguments_stay_json():
    mask = SecretMask()
    given = json.dumps({"query": "x", "password": 'hun"ter\\2', "url": "https://u:p@h/"})
    shown = json.loads(mask.text(given))
    assert shown == {"query": "x", "password": "[password]", "url": "https://u:[password]@h/"}


def test_the_text_under_a_key_that_says_secret_is_hidden_whatever_it_is():
    entry = item_entry({"type": "x", "auth": {"api_key": "short", "authorization": ["a", "b"], "monkey": "short"}})
    shown = SecretMask().entry(entry)["item"]["auth"]
    assert shown == {"api_key": "[password]", "authorization": ["[password]"] * 2, "monkey": "short"}


def test_a_card_number_that_is_a_number_is_hidden():
    assert SecretMask().entry(item_entry({"card": 4111111111111111}))["item"]["card"] == "[card number]"


@pytest.mark.parametrize(
    "part",
    [
        "-----BEGIN PRIVATE KEY-----",
        "a@",
        "1 ",
        "http://a:",
        'password":"',
        "bearer ",
        "\\",
        "a.",
        "eyJaaaaaaaa.",
        "sk-",
    ],
)
def test_no_text_takes_long(part):
    """A pattern that went back over the text again and again would not come to an end here."""
    SecretMask(emails=True).text(part * (300_000 // len(part)))


def test_every_place_that_holds_text_is_masked(tmp_path):
    async def work():
        secret = f"sk-proj-{TAIL}"
        entries = [
            item_entry({"role": "user", "content": secret}),
            item_entry({**CALL, "arguments": json.dumps({"key": secret})}),
            item_entry(
                {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": secret}]}
            ),
            item_entry(answer(f"`{secret}`")),
            item_entry({secret: 1}),
        ]
        facts = {
            "name": secret,
            "user_id": secret,
            "metadata": {"a": [secret]},
            "tags": (secret,),
            "working_dir": secret,
        }
        store = await filled(
            entries=entries, sidecars={"note": secret.encode(), "c/1": json.dumps([secret]).encode()}, **facts
        )
        options = ExportOptions(mask="secrets")
        for suffix in (".json", ".jsonl", ".md", ".yaml", ".html"):
            report = await transfer_of(store).export_to_file(KEY.session_id, tmp_path / f"x{suffix}", options=options)
            assert TAIL not in (tmp_path / f"x{suffix}").read_text()
            assert report.masked["api key"] >= 10
        assert await transfer_of(store).find_secrets(KEY.session_id) == {"api key": 12}

    asyncio.run(work())


def test_a_sidecar_that_cannot_be_looked_into_is_left_out_and_named(tmp_path):
    async def work():
        store = await filled(sidecars={"picture": b"\xff\xfe"})
        transfer, options = transfer_of(store), ExportOptions(mask="secrets")
        report = await transfer.export_to_file(KEY.session_id, tmp_path / "x.json", options=options)
        assert [dropped.what for dropped in report.dropped] == ["sidecar 'picture', which is no text to mask"]
        assert "sidecars" not in json.loads((tmp_path / "x.json").read_text())

    asyncio.run(work())


def test_a_masked_session_can_be_imported():
    async def work():
        to = MemoryStore()
        for mask in ("secrets", "all"):
            text = await transfer_of(await filled()).export(KEY.session_id, mask=mask)
            report = await transfer_of(to).import_session(text, on_conflict="rename")
            assert [dropped.what for dropped in report.dropped] == ["masked texts"]

    asyncio.run(work())


# --- every text ----------------------------------------------------------------------------------------------------


def test_no_text_is_left_and_the_structure_is():
    async def work():
        words = ["Zaunkönig", "hello", "4929", "Wo ist es?"]
        entries = conversation(question="hello Zaunkönig", reply="Wo ist es? 4929")
        facts = {
            "name": "hello",
            "user_id": "Zaunkönig",
            "metadata": {"card": 4929},
            "tags": ("hello",),
            "later": "hello",
        }
        store, to = await filled(entries=entries, sidecars={"c/1": b'"hello"', "n": b"hello"}, **facts), MemoryStore()
        text = await transfer_of(store).export(KEY.session_id, mask="all")
        assert not [word for word in words if word in text]
        await transfer_of(to).import_session(text)
        before, after = await contents(store), await contents(to)
        assert after[0].context == before[0].context
        for one, other in zip(before[1], after[1], strict=True):
            assert (one["seq"], one["at"], one.get("agent"), one.get("turn")) == (
                other["seq"],
                other["at"],
                other.get("agent"),
                other.get("turn"),
            )
        assert after[1][2]["item"] == {**CALL, "arguments": '{"order":"lore"}'}
        assert list(after[2]) == ["c/1"]

    asyncio.run(work())


def test_a_text_becomes_one_of_its_length_class():
    mask = TextMask()
    lengths = [
        len(mask.entry(item_entry({"role": "user", "content": "x" * n}))["item"]["content"])
        for n in (0, 1, 3, 100, 5000)
    ]
    assert lengths == [0, 1, 2, 64, 4096]
    assert mask.found == {"text": 4}


def test_the_message_of_an_item_that_failed_is_a_text():
    entry = item_entry({"type": "mcp_call", "name": "f", "error": "hello Zaunkönig"})
    assert "hello" not in str(TextMask().entry(entry))


def test_ids_stay_since_they_say_which_session_it_is():
    info = info_of(name="hello")
    masked = TextMask().facts(info)
    assert (masked.key, masked.name) == (info.key, "lore")


@pytest.mark.parametrize(
    "options", [{"mask": "some"}, {"mask": "all", "mask_emails": True}, {"mask_emails": True}], ids=repr
)
def test_a_mask_that_is_none_is_refused(options):
    with pytest.raises(InvalidValueError, match="mask"):
        ExportOptions(**options)
