"""The page in a real browser: no message runs, nothing is fetched, and the search finds.

Debian calls the browser `chromium`; where there is none, these tests are skipped.
"""

import asyncio
import re
import shutil
import socket
import subprocess
import threading

import pytest
from hostile_messages import ELSEWHERE, HOSTILE, MARK
from sample_sessions import KEY, conversation, filled, transfer_of

from agents_sessions.model.entries import item_entry

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium to look at the page with: apt-get install chromium"
)

CONTROL = f"<!doctype html><script>{MARK}</script><img src={ELSEWHERE}/pixel.png>"
"""A page that does what no message may do, so that the tests are known to see it."""


class Proxy:
    """Stands where the network would be, and remembers who asked for what."""

    def __init__(self):
        self.asked = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(4096).split(b"\r\n")[0].decode("latin-1"))
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self):
        self._socket.close()


def look(tmp_path, url):
    """Return the document as it is when its scripts have run, and what it has asked the network for."""
    proxy = Proxy()
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    command += ["--disable-component-update", "--disable-extensions", "--disable-sync", "--mute-audio"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--proxy-server=http://127.0.0.1:{proxy.port}"]
    command += ["--virtual-time-budget=3000", "--dump-dom", url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    finally:
        proxy.close()
    return done.stdout, [line for line in proxy.asked if "evil" in line]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A page full of hostile messages, opened by a link that searches for a word of one of them."""
    folder = tmp_path_factory.mktemp("browser")
    entries = [item_entry({"role": "user", "content": text}) for text in HOSTILE]
    entries += [
        item_entry({"type": "function_call_output", "call_id": text, "output": text}, agent=text, turn=text)
        for text in HOSTILE
    ]
    entries += conversation(reply="The parcel is in Zürich.")

    async def work():
        store = await filled(entries=entries, name=HOSTILE[0])
        await transfer_of(store).export_to_file(KEY.session_id, folder / "page.html")

    asyncio.run(work())
    return look(folder, f"{(folder / 'page.html').as_uri()}#q=z%C3%BCrich")


def test_the_browser_sees_what_a_script_does_and_what_a_page_fetches(tmp_path):
    (tmp_path / "control.html").write_text(CONTROL)
    page, asked = look(tmp_path, (tmp_path / "control.html").as_uri())
    assert 'data-ran="yes"' in page
    assert asked == [f"GET {ELSEWHERE}/pixel.png HTTP/1.1"]


def test_no_message_runs(seen):
    assert 'data-ran="yes"' not in seen[0]


def test_nothing_is_fetched(seen):
    assert seen[1] == []


def test_our_own_script_runs_and_finds_what_is_searched_for(seen):
    assert re.search(r'class="entry assistant c\d+" id="e\d+"', seen[0]), "the entry with the word is hidden"
    assert seen[0].count("unmatched") >= 2 * len(HOSTILE)


def test_the_bars_of_all_turns_are_of_one_scale(seen):
    assert 'viewBox="0 0 1000 1"' in seen[0]
